//! Levels of rights that users have.

use std::path::PathBuf;

use crate::limited::{Limited, role_of_readme};
use crate::scenario::Scenario;

/// How much a user may do. The embedded cluster knows only the first: there every token may do everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Everything.
    ClusterAdmin,
    /// What Kubernetes' ClusterRole `admin` permits in the namespace.
    Admin,
    /// What Kubernetes' ClusterRole `edit` permits in the namespace.
    Edit,
    /// The Role that README prints.
    Smallest,
}

/// A user of a level, as long as this lives.
#[derive(Debug)]
pub struct User {
    kubeconfig: PathBuf,
    _limited: Option<Limited>,
}

impl Level {
    /// As it is told, as in `cluster-admin`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ClusterAdmin => "cluster-admin",
            Self::Admin => "admin",
            Self::Edit => "edit",
            Self::Smallest => "smallest",
        }
    }

    /// Makes a user of this level in the scenario's namespace, whose objects are from now on part of what was there.
    ///
    /// # Panics
    /// When the cluster refuses it.
    pub async fn user(self, at: &Scenario) -> User {
        let (cluster, namespace) = (at.cluster(), at.namespace());
        let limited = match self {
            Self::ClusterAdmin => None,
            Self::Admin | Self::Edit => {
                Some(Limited::bound(cluster, namespace, "user", ("ClusterRole", self.name())).await)
            }
            Self::Smallest => Some(Limited::create(cluster, namespace, "user", &role_of_readme()).await),
        };
        at.baseline().await;
        let kubeconfig =
            limited.as_ref().map_or_else(|| cluster.kubeconfig(), Limited::kubeconfig).to_owned();
        User { kubeconfig, _limited: limited }
    }
}

impl User {
    /// The user's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> &std::path::Path {
        &self.kubeconfig
    }
}
