//! What others do to a user's Service, by the requests that their tools make.

use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::scenario::Scenario;

/// Where `kubectl apply` keeps what it applied last.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

impl Scenario {
    /// A Service without what the cluster keeps about it.
    ///
    /// # Panics
    /// When it is not there.
    pub async fn service(&self, name: &str) -> Service {
        let found = self.namespace().api::<Service>().get(name).await;
        found.unwrap_or_else(|error| panic!("service {name}: {error}"))
    }

    /// As `kubectl apply -f` does, which merges the manifest into what is there.
    ///
    /// # Panics
    /// When the cluster refuses it.
    pub async fn kubectl_apply(&self, manifest: &Value) {
        let mut patch = manifest.clone();
        patch["metadata"]["annotations"][LAST_APPLIED] = manifest.to_string().into();
        self.merge_as("kubectl-client-side-apply", patch).await;
    }

    /// As `helm upgrade` does, which merges its three-way difference into what is there.
    ///
    /// # Panics
    /// When the cluster refuses it.
    pub async fn helm_upgrade(&self, manifest: &Value) {
        self.merge_as("helm", manifest.clone()).await;
    }

    /// As `kubectl apply --server-side` and most operators do, by a field manager of their own; `force` takes fields
    /// from those who hold them.
    ///
    /// # Errors
    /// The cluster's refusal.
    pub async fn server_side_apply(&self, manifest: &Value, manager: &str, force: bool) -> kube::Result<()> {
        let params = PatchParams { field_manager: Some(manager.to_owned()), force, ..PatchParams::default() };
        let name = manifest["metadata"]["name"].as_str().unwrap_or_default();
        self.namespace().api::<Service>().patch(name, &params, &Patch::Apply(manifest)).await.map(drop)
    }

    /// A strategic merge: maps and lists with keys are merged, and the lists' order is the manifest's.
    async fn merge_as(&self, manager: &str, mut patch: Value) {
        let ports = patch["spec"]["ports"].as_array().cloned().unwrap_or_default();
        let order: Vec<Value> = ports.iter().map(|port| json!({ "port": port["port"] })).collect();
        patch["spec"]["$setElementOrder/ports"] = order.into();
        let name = patch["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let params = PatchParams { field_manager: Some(manager.to_owned()), ..PatchParams::default() };
        let patched = self.namespace().api::<Service>().patch(&name, &params, &Patch::Strategic(patch)).await;
        patched.unwrap_or_else(|error| panic!("service {name}: {error}"));
    }
}

/// Who has written to an object, by the record that the cluster keeps of each field.
#[must_use]
pub fn managers(service: &Service) -> Vec<String> {
    service.managed_fields().iter().filter_map(|entry| entry.manager.clone()).collect()
}
