//! One promise, shown in a namespace of its own.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use k8s_openapi::api::core::v1::Service;
use kube::api::{Patch, PatchParams};
use kubetether::{Config, Session};
use serde_json::{Value, json};

use crate::app::{self, App};
use crate::client::Client;
use crate::cluster::Cluster;
use crate::diagnosis;
use crate::namespace::{Namespace, Security};
use crate::outcome::Outcome;
use crate::snapshot::{Snapshot, nothing_of_ours};
use crate::wait::{SHORT, eventually};

/// No scenario takes this long; one that does hangs.
const LIMIT: Duration = Duration::from_secs(180);

/// What a scenario has at hand.
#[derive(Debug)]
pub struct Scenario {
    cluster: Cluster,
    namespace: Namespace,
    before: Mutex<Option<Snapshot>>,
}

/// Runs a scenario in a fresh namespace. After its body nothing of kubetether may be there, and the user's
/// objects must be as [`Scenario::shop`] or [`Scenario::baseline`] saw them last.
///
/// # Panics
/// When the body does, or what must hold after it does not.
pub fn scenario(name: &str, body: impl AsyncFnOnce(&Scenario)) {
    scenario_in(Security::Privileged, name, body);
}

/// As [`scenario`], in a namespace under PodSecurity.
///
/// # Panics
/// As [`scenario`].
pub fn scenario_in(security: Security, name: &str, body: impl AsyncFnOnce(&Scenario)) {
    scenario_within(LIMIT, security, name, body);
}

/// As [`scenario_in`], for one that may take longer than scenarios do.
///
/// # Panics
/// As [`scenario`].
pub fn scenario_within(limit: Duration, security: Security, name: &str, body: impl AsyncFnOnce(&Scenario)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.unwrap_or_else(|error| panic!("runtime: {error}"));
    runtime.block_on(Box::pin(async {
        let at = Scenario::create(name, security).await;
        let namespace = at.namespace.clone();
        let whole = async {
            let done = tokio::time::timeout(limit, body(&at)).await;
            assert!(done.is_ok(), "the scenario hangs: not over after {limit:?}");
            at.assert_clean().await;
        };
        let outcome = AssertUnwindSafe(whole).catch_unwind().await;
        if outcome.is_err() {
            diagnosis::print(&namespace).await;
        }
        namespace.delete().await;
        if let Err(panic) = outcome {
            resume_unwind(panic);
        }
    }));
}

impl Scenario {
    /// One that its maker ends.
    pub(crate) async fn create(name: &str, security: Security) -> Self {
        let cluster = Cluster::connect().await;
        let namespace = Namespace::create(cluster.client().clone(), name, security).await;
        Self { cluster, namespace, before: Mutex::new(None) }
    }

    /// The cluster.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Settings of a session in the namespace, with all rights.
    #[must_use]
    pub fn config(&self) -> Config {
        Config::new().kubeconfig(self.cluster.kubeconfig()).namespace(self.namespace.name())
    }

    /// A session in the namespace, with all rights.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn session(&self) -> Session {
        Session::start(self.config()).await.good()
    }

    /// Deploys the application and a client pod, waits until the one answers the other, and remembers how
    /// things are.
    ///
    /// # Panics
    /// When that does not come.
    pub async fn shop(&self, app: &App) -> Client {
        let ((), client) = tokio::join!(app.deploy(&self.namespace), app::client_pod(&self.namespace));
        if let Some(address) = app.first_address() {
            let connects = async || {
                let steps = client.talk(&address, &["fin"]).await?;
                if steps.first().is_some_and(|line| line == "connected") {
                    Ok(())
                } else {
                    Err(steps.join(", "))
                }
            };
            eventually(format!("{address} from the client pod"), SHORT, connects).await;
        }
        self.baseline().await;
        client
    }

    /// Remembers how things are: from now on this is "as it was".
    pub async fn baseline(&self) {
        let now = Snapshot::take(self.cluster.client(), self.namespace.name()).await;
        *self.before.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// Demands that nothing of kubetether is there and the user's objects are as they were.
    ///
    /// # Panics
    /// When it is not so.
    pub async fn assert_clean(&self) {
        self.left().await.unwrap_or_else(|left| panic!("{left}"));
    }

    /// What of kubetether is there and what of the user's objects is not as it was, if anything.
    ///
    /// # Errors
    /// All of it, told.
    ///
    /// # Panics
    /// When the cluster does not answer.
    pub async fn left(&self) -> Result<(), String> {
        let (client, namespace) = (self.cluster.client(), self.namespace.name());
        nothing_of_ours(client, namespace).await?;
        let before = self.before.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match before {
            Some(before) => before.same(&Snapshot::take(client, namespace).await),
            None => Ok(()),
        }
    }

    /// Waits until nothing of kubetether is there.
    ///
    /// # Panics
    /// When that does not come in time.
    pub async fn cleaned_up(&self, limit: Duration) {
        let (client, namespace) = (self.cluster.client(), self.namespace.name());
        eventually("a namespace without anything of ours", limit, async || {
            nothing_of_ours(client, namespace).await
        })
        .await;
    }

    /// Merges fields into a Service's spec as somebody else, whose field manager is `impatient-operator`.
    ///
    /// # Panics
    /// When the cluster refuses it.
    pub async fn edit_service(&self, name: &str, spec: Value) {
        let params =
            PatchParams { field_manager: Some("impatient-operator".to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(json!({ "spec": spec }));
        let edited = self.namespace.api::<Service>().patch(name, &params, &patch).await;
        edited.unwrap_or_else(|error| panic!("service {name}: {error}"));
    }

    /// Waits until a Service leads to an interceptor.
    ///
    /// # Panics
    /// When that does not come.
    pub async fn taken_again(&self, name: &str) {
        let services = self.namespace.api::<Service>();
        eventually(format!("{name} leads to an interceptor again"), SHORT, async || {
            let service = services.get(name).await.map_err(|error| error.to_string())?;
            let selector = service.spec.and_then(|spec| spec.selector).unwrap_or_default();
            let ours = selector.values().all(|value| value.starts_with("kt-"));
            if ours { Ok(()) } else { Err(format!("it selects {selector:?}")) }
        })
        .await;
    }
}
