//! What a failed scenario leaves to read: the namespace as it was then.

#![allow(clippy::print_stdout, reason = "a test's output is shown when it fails")]

use k8s_openapi::api::core::v1::{Event, Pod, Service};
use kube::ResourceExt;
use kube::api::{ListParams, LogParams};

use crate::namespace::Namespace;

/// Prints pods, their logs when they are kubetether's, Services and warnings.
pub(crate) async fn print(namespace: &Namespace) {
    println!("--- namespace {}", namespace.name());
    let everything = ListParams::default();
    let pods = namespace.api::<Pod>();
    for pod in pods.list(&everything).await.map(|list| list.items).unwrap_or_default() {
        let name = pod.name_any();
        let status = pod.status.clone().unwrap_or_default();
        let leaving = if pod.metadata.deletion_timestamp.is_some() { ", being deleted" } else { "" };
        println!("pod {name}: {}{leaving}", status.phase.unwrap_or_default());
        for container in status.container_statuses.unwrap_or_default() {
            let state = serde_json::to_string(&container.state).unwrap_or_default();
            println!(
                "  {} ready={} restarts={} {state}",
                container.name, container.ready, container.restart_count
            );
        }
        if pod.labels().get("app.kubernetes.io/managed-by").is_some_and(|by| by == "kubetether") {
            let tail = LogParams { tail_lines: Some(40), ..LogParams::default() };
            for line in pods.logs(&name, &tail).await.unwrap_or_else(|error| error.to_string()).lines() {
                println!("  | {line}");
            }
        }
    }
    for service in
        namespace.api::<Service>().list(&everything).await.map(|list| list.items).unwrap_or_default()
    {
        let spec = serde_json::to_string(&service.spec).unwrap_or_default();
        println!("service {} {:?} {spec}", service.name_any(), service.annotations());
    }
    for event in namespace.api::<Event>().list(&everything).await.map(|list| list.items).unwrap_or_default() {
        if event.type_.as_deref() == Some("Warning") {
            let object = event.involved_object;
            let (kind, name) = (object.kind.unwrap_or_default(), object.name.unwrap_or_default());
            println!(
                "warning {kind}/{name}: {}: {}",
                event.reason.unwrap_or_default(),
                event.message.unwrap_or_default()
            );
        }
    }
    println!("---");
}
