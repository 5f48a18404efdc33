//! Users with few rights: a ServiceAccount, a role, and a kubeconfig that is nobody else's.

use std::path::{Path, PathBuf};

use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding};
use kube::api::PostParams;
use kube::config::Kubeconfig;
use serde_json::json;
use tempfile::TempDir;

use crate::app::object;
use crate::cluster::{Cluster, root};
use crate::namespace::Namespace;

/// The Role that README prints as enough.
///
/// # Panics
/// When README has none.
#[must_use]
pub fn role_of_readme() -> Vec<PolicyRule> {
    let file = root().join("README.md");
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let blocks = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let role = blocks.into_iter().find(|block| block.contains("kind: Role\n"));
    let role = role.unwrap_or_else(|| panic!("{}: no Role in a yaml block", file.display()));
    let role: Role =
        serde_saphyr::from_str(role).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    role.rules.unwrap_or_default()
}

/// A user of the cluster with exactly the rights of a Role in one namespace.
#[derive(Debug)]
pub struct Limited {
    kubeconfig: PathBuf,
    // Removed with the file when this is dropped.
    _folder: TempDir,
}

impl Limited {
    /// Makes the user `name`, bound to a Role of these rules.
    ///
    /// # Panics
    /// When the cluster refuses it.
    pub async fn create(cluster: &Cluster, namespace: &Namespace, name: &str, rules: &[PolicyRule]) -> Self {
        let role = object(json!({ "metadata": { "name": name }, "rules": rules }));
        namespace.create_object::<Role>(&role).await;
        Self::bound(cluster, namespace, name, ("Role", name)).await
    }

    /// Makes the user `name`, bound in this namespace to a role that is there: its kind and name.
    ///
    /// # Panics
    /// When the cluster refuses it.
    pub async fn bound(
        cluster: &Cluster,
        namespace: &Namespace,
        name: &str,
        (kind, role): (&str, &str),
    ) -> Self {
        let meta = json!({ "name": name });
        namespace.create_object::<ServiceAccount>(&object(json!({ "metadata": meta }))).await;
        let binding = json!({
            "metadata": meta,
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role },
            "subjects": [{ "kind": "ServiceAccount", "name": name, "namespace": namespace.name() }],
        });
        namespace.create_object::<RoleBinding>(&object(binding)).await;

        let request: TokenRequest = object(json!({ "spec": { "audiences": [], "expirationSeconds": 3600 } }));
        let accounts = namespace.api::<ServiceAccount>();
        let answer = accounts.create_token_request(name, &PostParams::default(), &request).await;
        let answer = answer.unwrap_or_else(|error| panic!("token of {name}: {error}"));
        let token = answer.status.map(|status| status.token).unwrap_or_default();

        let folder = TempDir::new().unwrap_or_else(|error| panic!("folder for a kubeconfig: {error}"));
        let kubeconfig = folder.path().join("kubeconfig");
        let written = std::fs::write(&kubeconfig, Self::text(cluster, &token));
        written.unwrap_or_else(|error| panic!("{}: {error}", kubeconfig.display()));
        Self { kubeconfig, _folder: folder }
    }

    /// The file.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The cluster's own kubeconfig with the token as its only user; JSON is YAML too.
    fn text(cluster: &Cluster, token: &str) -> String {
        let read = Kubeconfig::read_from(cluster.kubeconfig());
        let read = read.unwrap_or_else(|error| panic!("{}: {error}", cluster.kubeconfig().display()));
        let mut value = serde_json::to_value(&read).unwrap_or_default();
        value["users"] = json!([{ "name": "limited", "user": { "token": token } }]);
        for context in value["contexts"].as_array_mut().into_iter().flatten() {
            context["context"]["user"] = json!("limited");
        }
        value.to_string()
    }
}
