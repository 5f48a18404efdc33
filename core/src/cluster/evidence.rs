//! What the cluster says of a pod that does not do its work, gathered for an error.

use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod};
use kube::api::{ListParams, LogParams};

use super::Cluster;
use super::agent_pod::CONTAINER;
use crate::Deadline;

/// Lines of log and events that an error quotes.
const LINES: i64 = 5;

/// Conditions, container states, events and last log lines of the pods of one instance, as far as
/// they can be had; never an error of its own.
pub(crate) async fn of_instance(cluster: &Cluster, selector: &str, deadline: Deadline) -> Vec<String> {
    let mut lines = Vec::new();
    let pods = cluster.list::<Pod>(selector, deadline).await.unwrap_or_default();
    for pod in pods.iter().take(2) {
        let name = pod.metadata.name.clone().unwrap_or_default();
        lines.extend(conditions(&name, pod));
        lines.extend(of_object(cluster, "Pod", &name, deadline).await);
        lines.extend(log(cluster, &name, deadline).await);
    }
    lines
}

/// The last events of one object.
pub(crate) async fn of_object(cluster: &Cluster, kind: &str, name: &str, deadline: Deadline) -> Vec<String> {
    let params =
        ListParams::default().fields(&format!("involvedObject.kind={kind},involvedObject.name={name}"));
    let api = cluster.api::<Event>();
    let listed = cluster.request("list", "events", deadline, api.list(&params)).await;
    let mut events = listed.map(|list| list.items).unwrap_or_default();
    events.sort_by_key(|event| event.last_timestamp.clone().map(|time| time.0));
    let skipped = events.len().saturating_sub(LINES as usize);
    events
        .into_iter()
        .skip(skipped)
        .map(|event| {
            let reason = event.reason.unwrap_or_default();
            format!("event of {kind} {name}: {reason}: {}", event.message.unwrap_or_default().trim())
        })
        .collect()
}

/// Why a container of the pod waits or ended, in the kubelet's words; `None` while it does well.
pub(crate) fn container_trouble(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let all =
        status.container_statuses.iter().flatten().chain(status.init_container_statuses.iter().flatten());
    all.filter_map(trouble).next()
}

fn trouble(container: &ContainerStatus) -> Option<String> {
    // Reasons that pass by themselves within moments of a healthy start.
    const PASSING: [&str; 2] = ["ContainerCreating", "PodInitializing"];
    let state = container.state.as_ref()?;
    if let Some(waiting) = &state.waiting {
        let reason = waiting.reason.clone().unwrap_or_default();
        if reason.is_empty() || PASSING.contains(&reason.as_str()) {
            return None;
        }
        return Some(join(&reason, waiting.message.as_deref()));
    }
    let ended = state.terminated.as_ref()?;
    let reason =
        format!("ended with code {} ({})", ended.exit_code, ended.reason.as_deref().unwrap_or("no reason"));
    Some(join(&reason, ended.message.as_deref()))
}

fn conditions(name: &str, pod: &Pod) -> Vec<String> {
    let status = pod.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let mut lines: Vec<String> = conditions
        .iter()
        .filter(|condition| condition.status != "True")
        .filter_map(|condition| {
            let reason = condition.reason.as_deref()?;
            Some(format!(
                "pod {name}: not {}: {}",
                condition.type_,
                join(reason, condition.message.as_deref())
            ))
        })
        .collect();
    lines.extend(container_trouble(pod).map(|trouble| format!("pod {name}: container: {trouble}")));
    lines
}

async fn log(cluster: &Cluster, pod: &str, deadline: Deadline) -> Vec<String> {
    let params =
        LogParams { container: Some(CONTAINER.into()), tail_lines: Some(LINES), ..LogParams::default() };
    let api = cluster.api::<Pod>();
    let text = cluster.request("get", &format!("pods/{pod}/log"), deadline, api.logs(pod, &params)).await;
    text.unwrap_or_default().lines().map(|line| format!("log of {pod}: {line}")).collect()
}

fn join(reason: &str, message: Option<&str>) -> String {
    match message.map(str::trim).filter(|message| !message.is_empty()) {
        Some(message) => format!("{reason}: {message}"),
        None => reason.to_owned(),
    }
}
