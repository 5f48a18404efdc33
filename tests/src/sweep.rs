//! Takes away by hand what a scenario has left on purpose, as an administrator would.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PropagationPolicy};
use serde_json::{Value, json};

use crate::scenario::Scenario;
use crate::wait::LONG;

/// Puts Services back by their own annotation, deletes kubetether's objects by their label, and waits until
/// they are gone.
///
/// # Panics
/// When the cluster refuses it, or an annotation does not hold what a Service was.
pub async fn sweep(at: &Scenario) {
    let namespace = at.namespace();
    let services = namespace.api::<Service>();
    let all = services.list(&ListParams::default()).await.unwrap_or_else(|error| panic!("services: {error}"));
    for service in all {
        let Some(note) = service.annotations().get("kubetether.dev/exchange") else { continue };
        let note: Value =
            serde_json::from_str(note).unwrap_or_else(|error| panic!("the annotation: {error}: {note}"));
        let mut ports =
            serde_json::to_value(service.spec.as_ref().map(|spec| &spec.ports)).unwrap_or_default();
        for port in ports.as_array_mut().into_iter().flatten() {
            let key = format!("{}/{}", port["port"], port["protocol"].as_str().unwrap_or("TCP"));
            port["targetPort"] = note["original"]["targetPorts"][&key].clone();
        }
        let patch = json!([
            { "op": "replace", "path": "/spec/selector", "value": note["original"]["selector"] },
            { "op": "replace", "path": "/spec/ports", "value": ports },
            { "op": "remove", "path": "/metadata/annotations/kubetether.dev~1exchange" },
        ]);
        let patch: json_patch::Patch =
            serde_json::from_value(patch).unwrap_or_else(|error| panic!("{error}"));
        let name = service.name_any();
        let patched = services.patch(&name, &PatchParams::default(), &Patch::Json::<()>(patch)).await;
        patched.unwrap_or_else(|error| panic!("service {name}: {error}"));
    }

    let ours = ListParams::default().labels("app.kubernetes.io/managed-by=kubetether");
    let whole =
        DeleteParams { propagation_policy: Some(PropagationPolicy::Foreground), ..DeleteParams::default() };
    macro_rules! delete {
        ($($kind:ty),*) => {$(
            let deleted = namespace.api::<$kind>().delete_collection(&whole, &ours).await;
            deleted.unwrap_or_else(|error| panic!("{}: {error}", stringify!($kind)));
        )*};
    }
    delete!(Deployment, Job, ConfigMap, Lease);
    for service in services.list(&ours).await.unwrap_or_else(|error| panic!("services: {error}")) {
        match services.delete(&service.name_any(), &whole).await {
            Ok(_) => {}
            // It went with the Deployment that owns it.
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => panic!("service: {error}"),
        }
    }
    at.cleaned_up(LONG).await;
}
