//! Waiting for the pod of an agent: running soon, or a reason why it will not be.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::runtime::watcher;

use super::evidence::{self, container_trouble};
use super::watch::{self, Told};
use super::{Cluster, names};
use crate::{Deadline, Error, ErrorCode, Result};

/// Between two looks at the events of a controller that has made no pod yet.
const LOOK: Duration = Duration::from_millis(400);
/// A container may fail this long before the start is given up: a replacement may do better.
const TROUBLE: Duration = Duration::from_secs(3);

/// The controller that makes the pod.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Controller<'a> {
    /// Kind as events name it, of the object that creates the pods.
    pub(crate) kind: &'a str,
    /// The instance name, on every object as [`names::INSTANCE`].
    pub(crate) instance: &'a str,
}

/// The running pod of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AgentPod {
    pub(crate) name: String,
}

/// The label selector of the pods of one instance.
pub(crate) fn selector(instance: &str) -> String {
    format!("{}={instance}", names::INSTANCE)
}

/// Whether Kubernetes counts the pod as ready.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|one| one.type_ == "Ready" && one.status == "True")
}

/// Returns when a pod of the controller runs and is not about to leave.
pub(crate) async fn running(
    cluster: &Cluster,
    controller: Controller<'_>,
    deadline: Deadline,
) -> Result<AgentPod> {
    let config = watcher::Config::default().labels(&selector(controller.instance));
    let mut pods = watch::watch::<Pod>(cluster, config);
    let mut look = tokio::time::interval(LOOK);
    let mut seen_pod = false;
    let mut refusals = Refusals::default();
    let mut trouble: Option<(String, tokio::time::Instant)> = None;
    let failed = loop {
        tokio::select! {
            () = tokio::time::sleep_until(deadline.instant()) => break None,
            told = pods.next() => match told {
                Some(Told::Event(watcher::Event::Apply(pod) | watcher::Event::InitApply(pod))) => {
                    seen_pod = true;
                    if let Some(found) = usable(&pod) {
                        return Ok(found);
                    }
                    trouble = container_trouble(&pod)
                        .map(|text| (text, trouble.as_ref().map_or_else(tokio::time::Instant::now, |(_, since)| *since)));
                }
                Some(Told::Event(_)) => {}
                Some(Told::Denied(error)) => return Err(error),
                None => break Some("the watch of its pods ended".to_owned()),
            },
            _ = look.tick() => {
                if let Some((text, since)) = &trouble && since.elapsed() > TROUBLE {
                    break Some(text.clone());
                }
                if !seen_pod && let Some(reason) = refusals.fresh(cluster, controller, deadline).await {
                    break Some(reason);
                }
            }
        }
    };
    Err(explain(cluster, controller, failed).await)
}

fn usable(pod: &Pod) -> Option<AgentPod> {
    let name = pod.metadata.name.clone()?;
    let running = pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
    let container = pod.status.as_ref()?.container_statuses.as_ref()?.first()?;
    let started = container.state.as_ref().is_some_and(|state| state.running.is_some());
    let leaving = pod.metadata.deletion_timestamp.is_some();
    if !running || !started || leaving {
        return None;
    }
    Some(AgentPod { name })
}

/// Waits until the pod counts as ready.
pub(crate) async fn ready(cluster: &Cluster, name: &str, deadline: Deadline) -> Result<()> {
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut pods = watch::watch::<Pod>(cluster, config);
    let waiting = async {
        loop {
            match pods.next().await {
                Some(Told::Event(watcher::Event::Apply(pod) | watcher::Event::InitApply(pod)))
                    if is_ready(&pod) =>
                {
                    return Ok(());
                }
                Some(Told::Event(watcher::Event::Delete(_))) | None => {
                    let text = format!("pods/{name} went away before it was ready");
                    return Err(Error::new(ErrorCode::AgentStart, text).on(format!("pods/{name}")));
                }
                Some(Told::Event(_)) => {}
                Some(Told::Denied(error)) => return Err(error),
            }
        }
    };
    tokio::time::timeout_at(deadline.instant(), waiting)
        .await
        .unwrap_or_else(|_| Err(Error::deadline(format_args!("waiting until pods/{name} is ready"))))
}

/// The controller's own word that it may not create the pod: quota, PodSecurity, LimitRange, a webhook.
#[derive(Default)]
struct Refusals {
    /// How often each event had happened when it was first seen; events outlive their cause by an hour.
    known: Option<HashMap<String, i32>>,
}

impl Refusals {
    /// What was refused since the first look, and again since.
    async fn fresh(
        &mut self,
        cluster: &Cluster,
        controller: Controller<'_>,
        deadline: Deadline,
    ) -> Option<String> {
        let params = kube::api::ListParams::default()
            .fields(&format!("involvedObject.kind={},reason=FailedCreate", controller.kind));
        let api = cluster.api::<Event>();
        let events = cluster.request("list", "events", deadline, api.list(&params)).await.ok()?.items;
        // A Deployment's pods are made by its ReplicaSet, whose name begins with the Deployment's.
        let of_ours = |event: &Event| {
            event.involved_object.name.as_deref().is_some_and(|name| name.starts_with(controller.instance))
        };
        let counts =
            |event: &Event| (event.metadata.uid.clone().unwrap_or_default(), event.count.unwrap_or(1));
        let ours: Vec<Event> = events.into_iter().filter(of_ours).collect();
        let Some(known) = &self.known else {
            self.known = Some(ours.iter().map(counts).collect());
            return None;
        };
        let fresh = ours.into_iter().find(|event| {
            let (uid, count) = counts(event);
            known.get(&uid).is_none_or(|before| count > *before)
        });
        fresh.map(|event| event.message.unwrap_or_default())
    }
}

async fn explain(cluster: &Cluster, controller: Controller<'_>, failed: Option<String>) -> Error {
    // Evidence is worth a moment even when the deadline has passed.
    let moment = Deadline::secs(3);
    let evidence = evidence::of_instance(cluster, &selector(controller.instance), moment).await;
    let place = format!("the agent {} in namespace {}", controller.instance, cluster.namespace());
    let error = match failed {
        Some(reason) => Error::new(ErrorCode::AgentStart, format!("{place} could not be started: {reason}")),
        None => Error::new(ErrorCode::Deadline, format!("{place} was not running by the deadline")),
    };
    error.on(format!("pods of {}", controller.instance)).with_evidence(evidence)
}
