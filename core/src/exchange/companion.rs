//! The second interceptor: the net where the nodes cannot be told to fall back, or something other than the nodes leads
//! callers to the Service.
//!
//! A Deployment of its own beside the first one's, on another node where there is one, and a PodDisruptionBudget over
//! both. It is made when the exchange is proven, since a proof wants every connection at one place, and goes with the
//! exchange. The exchange holds a link to each.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{PodTemplateSpec, TopologySpreadConstraint};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::PropagationPolicy;
use kubetether_link::GoodbyeCode;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::inbound::InboundSlot;
use super::interceptor::deployment;
use super::nets::pass_refusal;
use super::patience::Unclaimed;
use super::safe::Safe;
use crate::backoff::{Backoff, Pace};
use crate::cluster::agent_link::AgentLink;
use crate::cluster::pod_wait::{self, Controller};
use crate::cluster::{api, calls, gone, names};
use crate::session::Shared;
use crate::{Deadline, Error, ErrorCode, Result};

/// One attempt to reach it, or to make or take away its objects.
const ATTEMPT: Duration = Duration::from_secs(45);
const PACE: Pace = Pace { first: Duration::from_millis(500), last: Duration::from_secs(10) };

/// How the second interceptor of an exchange is made.
pub(super) struct Wanted {
    pub(super) shared: Arc<Shared>,
    /// What the first one owns has this metadata.
    pub(super) base: ObjectMeta,
    /// The first one's pod.
    pub(super) template: PodTemplateSpec,
    /// What the exchanged Service selects by.
    pub(super) selected: BTreeMap<String, String>,
    /// The ports that come here.
    pub(super) exposed: Vec<u16>,
    pub(super) inbound: InboundSlot,
    pub(super) safe: Safe,
}

/// The second interceptor, from the wish for it to its end; a cheap handle.
#[derive(Clone, Debug)]
pub(crate) struct Companion(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    first: String,
    /// Ends the search for its pod.
    ending: CancellationToken,
    /// Whether nothing more is made.
    still: watch::Sender<bool>,
    link: Mutex<Option<AgentLink>>,
    /// Whether its objects are gone: what bears their names from then on is the next exchange's.
    removed: tokio::sync::Mutex<bool>,
}

impl Companion {
    /// Makes it in the background.
    pub(super) fn start(wanted: Wanted) -> Self {
        let companion = Self(Arc::new(Inner {
            first: wanted.base.name.clone().unwrap_or_default(),
            ending: CancellationToken::new(),
            still: watch::Sender::new(false),
            link: Mutex::default(),
            removed: tokio::sync::Mutex::default(),
        }));
        let tasks = wanted.shared.tasks.clone();
        tasks.spawn("second interceptor", companion.clone().keep(wanted));
        companion
    }

    /// Whether callers that reach it come here.
    pub(super) fn is_up(&self) -> bool {
        self.link().as_ref().is_some_and(|link| link.is_usable() && *link.carriers().borrow() > 0)
    }

    /// Nothing goes through it to this machine any more.
    pub(super) async fn disarm(&self, deadline: Deadline) {
        self.0.ending.cancel();
        let _ =
            tokio::time::timeout_at(deadline.instant(), self.0.still.subscribe().wait_for(|still| *still))
                .await;
        let link = self.link().clone();
        if let Some(link) = link.filter(|link| *link.carriers().borrow() > 0) {
            let _ = calls::disarm(&link, deadline).await;
        }
    }

    /// Takes it away in the background, after `linger`; the Service leads elsewhere.
    pub(super) fn retire(&self, shared: &Arc<Shared>, linger: Duration) {
        let (companion, shared) = (self.clone(), shared.clone());
        shared.tasks.clone().spawn("end of the second interceptor", async move {
            tokio::time::sleep(linger).await;
            if let Err(error) = companion.remove(&shared, Deadline::after(ATTEMPT)).await {
                tracing::warn!(error = error.report(), "the second interceptor is left behind for now");
            }
        });
    }

    /// Takes its objects away, once, and waits until they are gone.
    pub(super) async fn remove(&self, shared: &Shared, deadline: Deadline) -> Result<()> {
        let removed = tokio::time::timeout_at(deadline.instant(), self.0.removed.lock()).await;
        let Ok(mut removed) = removed else {
            return Err(Error::deadline("the end of the second interceptor"));
        };
        if *removed {
            return Ok(());
        }
        self.disarm(deadline).await;
        let link = self.link().take();
        if let Some(link) = link.as_ref().filter(|link| *link.carriers().borrow() > 0) {
            let _ = calls::drain(link, deadline).await;
        }
        remove(shared, &self.0.first, deadline).await?;
        *removed = true;
        if let Some(link) = link {
            link.close(GoodbyeCode::Closed, "the exchange has ended");
        }
        Ok(())
    }

    /// Makes it, and makes it again when somebody takes it away; holds a link to it.
    async fn keep(self, wanted: Wanted) {
        let mut backoff = Backoff::new(PACE);
        while !self.0.ending.is_cancelled() {
            // Not cut off half-way: what is made must be known to be there.
            let pause = match make(&wanted).await {
                Ok(()) => {
                    tokio::select! {
                        () = self.0.ending.cancelled() => break,
                        () = self.hold(&wanted) => backoff.reset(),
                    }
                    PACE.first
                }
                Err(error) => {
                    tracing::debug!(error = error.report(), "no second interceptor");
                    if !may_come(&error) {
                        break;
                    }
                    backoff.after(&error)
                }
            };
            tokio::select! {
                () = self.0.ending.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        self.0.still.send_replace(true);
    }

    /// Holds a link to its pod, whichever that is, until there is no Deployment of it any more.
    async fn hold(&self, wanted: &Wanted) {
        let mut backoff = Backoff::new(PACE);
        let name = names::second(&self.0.first);
        loop {
            let link = match reach(wanted, &name).await {
                Ok(link) => link,
                Err(error) => {
                    tracing::debug!(error = error.report(), "the second interceptor is not there yet");
                    let found =
                        wanted.shared.cluster.find::<Deployment>(&name, Deadline::after(ATTEMPT)).await;
                    if matches!(found, Ok(None)) {
                        return;
                    }
                    tokio::time::sleep_until(Instant::now() + backoff.after(&error)).await;
                    continue;
                }
            };
            backoff.reset();
            let link = link.hand_over();
            let serving = wanted.inbound.clone().serve((*link).clone(), wanted.shared.tasks.clone());
            wanted.shared.tasks.spawn("inbound connections", serving);
            *self.link() = Some(link.clone());
            wanted.safe.change(|nets| nets.second = true);
            let why = link.leaving().await;
            tracing::debug!(why, "the second interceptor's pod is gone");
            wanted.safe.change(|nets| nets.second = false);
            *self.link() = None;
        }
    }

    fn link(&self) -> std::sync::MutexGuard<'_, Option<AgentLink>> {
        self.0.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether what was refused may be had later.
fn may_come(error: &Error) -> bool {
    // Neither a right nor a kind that the cluster does not have comes by itself.
    !matches!(
        error.code(),
        ErrorCode::Forbidden | ErrorCode::NoSuchTarget | ErrorCode::NoSuchNamespace | ErrorCode::Unsupported
    )
}

/// Links to its pod, ready to take callers, and arms it.
async fn reach(wanted: &Wanted, name: &str) -> Result<Unclaimed> {
    let (shared, deadline) = (&wanted.shared, Deadline::after(ATTEMPT));
    let controller = Controller { kind: "ReplicaSet", instance: name };
    let pod = pod_wait::running(&shared.cluster, controller, deadline).await?;
    let link = Unclaimed::new(shared.links.connect(&shared.cluster, &pod, deadline).await?);
    calls::arm(link.get(), wanted.exposed.clone(), &shared.who, deadline).await?;
    pod_wait::ready(&shared.cluster, &pod.name, deadline).await?;
    Ok(link)
}

/// The budget first: where that is refused, nothing is made.
async fn make(wanted: &Wanted) -> Result<()> {
    let (cluster, deadline) = (&wanted.shared.cluster, Deadline::after(ATTEMPT));
    let budget = PodDisruptionBudget {
        metadata: wanted.base.clone(),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(matching(&wanted.selected)),
            // One that is not ready serves nobody, and must not keep a node from being drained.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".into()),
            ..Default::default()
        }),
        status: None,
    };
    there(cluster.create(&budget, deadline).await)?;
    let first = wanted.base.name.clone().unwrap_or_default();
    let name = names::second(&first);
    let metadata = ObjectMeta { name: Some(name.clone()), ..wanted.base.clone() };
    let template = beside(&wanted.template, &name, &wanted.selected);
    let second = deployment(metadata, &name, template);
    there(cluster.create::<Deployment>(&second, deadline).await)
}

/// What an earlier try has made is there.
fn there<K>(created: Result<K>) -> Result<()> {
    match created {
        Err(error) if api::is_already_there(&error) => Ok(()),
        created => created.map(|_| ()),
    }
}

/// The first one's pod, for another node where there is one.
fn beside(template: &PodTemplateSpec, name: &str, selected: &BTreeMap<String, String>) -> PodTemplateSpec {
    let mut template = template.clone();
    if let Some(labels) = template.metadata.as_mut().and_then(|metadata| metadata.labels.as_mut()) {
        labels.insert(names::INSTANCE.into(), name.into());
    }
    if let Some(spec) = template.spec.as_mut() {
        spec.affinity = None;
        spec.topology_spread_constraints = Some(vec![TopologySpreadConstraint {
            max_skew: 1,
            topology_key: "kubernetes.io/hostname".into(),
            when_unsatisfiable: "ScheduleAnyway".into(),
            label_selector: Some(matching(selected)),
            ..Default::default()
        }]);
    }
    template
}

fn matching(labels: &BTreeMap<String, String>) -> LabelSelector {
    LabelSelector { match_labels: Some(labels.clone()), match_expressions: None }
}

/// Takes away what there is beside the interceptor `first`.
pub(super) async fn remove(shared: &Shared, first: &str, deadline: Deadline) -> Result<()> {
    let (cluster, second) = (&shared.cluster, names::second(first));
    let deployment = async {
        cluster.delete::<Deployment>(&second, None, PropagationPolicy::Foreground, deadline).await?;
        gone::wait::<Deployment>(cluster, &second, deadline).await
    };
    let budget = async {
        cluster.delete::<PodDisruptionBudget>(first, None, PropagationPolicy::Background, deadline).await?;
        gone::wait::<PodDisruptionBudget>(cluster, first, deadline).await
    };
    let (deployment, budget) = tokio::join!(deployment, pass_refusal(budget));
    deployment.and(budget)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;
    use crate::cluster::api::fake::Fake;

    #[tokio::test(start_paused = true)]
    async fn what_bears_its_names_later_is_the_next_exchanges() {
        let fake = Fake::default();
        let shared = Arc::new(Shared::over(Config::new(), fake.cluster(), None));
        let companion = Companion(Arc::new(Inner {
            first: "kt-orders-0123456789".into(),
            ending: CancellationToken::new(),
            still: watch::Sender::new(true),
            link: Mutex::default(),
            removed: tokio::sync::Mutex::default(),
        }));
        let second = || {
            fake.put::<Deployment>(serde_json::json!({ "metadata": { "name": "kt-orders-0123456789-b" } }))
        };
        second();
        // The exchange has ended; before its linger is over the next one begins, and makes one of its own.
        companion.retire(&shared, Duration::from_secs(2));
        companion.remove(&shared, Deadline::secs(30)).await.unwrap();
        assert_eq!(fake.changes(), ["DELETE deployments/kt-orders-0123456789-b"]);
        second();
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(fake.changes(), Vec::<String>::new());
    }

    #[test]
    fn the_second_is_known_apart_and_keeps_away_from_the_first() {
        let template: PodTemplateSpec = serde_json::from_value(serde_json::json!({
            "metadata": { "labels": { names::INSTANCE: "kt-orders-0123456789", "app": "kt-0123456789" } },
            "spec": { "containers": [], "affinity": { "nodeAffinity": {} } },
        }))
        .unwrap();
        let selected = BTreeMap::from([("app".to_owned(), "kt-0123456789".to_owned())]);
        let second = beside(&template, &names::second("kt-orders-0123456789"), &selected);
        let labels = second.metadata.unwrap().labels.unwrap();
        assert_eq!(labels[names::INSTANCE], "kt-orders-0123456789-b");
        assert_eq!(labels["app"], "kt-0123456789", "the Service selects it");
        let spec = second.spec.unwrap();
        assert_eq!(spec.affinity, None);
        assert_eq!(spec.topology_spread_constraints.unwrap()[0].when_unsatisfiable, "ScheduleAnyway");
    }
}
