//! A link to an agent, kept alive: carriers are dialled at the start, and from then on by need, until the link is closed.

mod keeper;
#[cfg(test)]
mod tests;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use k8s_openapi::api::core::v1::Pod;
use kubetether_link::{
    AttachError, CarrierId, CarrierRead, CarrierWrite, GoodbyeCode, Link, LinkConfig, Role,
};
use kubetether_wire::Budget;
use tokio::sync::{Notify, watch};

use self::keeper::Keeper;
use super::agent_pod::CONTROL_PORT;
use super::carriers::Limits;
use super::observed::{self, Facts};
use super::pod_wait::AgentPod;
use super::{Cluster, api, transport};
use crate::backoff::{Backoff, Pace};
use crate::tasks::Tasks;
use crate::{Config, Deadline, Error, ErrorCode, Result};

/// One attempt to dial a carrier and say hello.
const DIAL: Duration = Duration::from_secs(10);
/// Between attempts for the first carrier.
const FIRST: Pace = Pace { first: Duration::from_millis(20), last: Duration::from_millis(500) };

/// A link and how it stands; a cheap handle.
#[derive(Clone, Debug)]
pub(crate) struct AgentLink {
    link: Link,
    // the keeper of its carriers -> whoever promises something that rests on it
    health: watch::Receiver<Health>,
}

/// Whether bytes can flow on a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// They can, as far as is known.
    Up,
    /// They cannot at the moment: who cannot be reached, and why.
    Down(String),
}

impl Deref for AgentLink {
    type Target = Link;

    fn deref(&self) -> &Link {
        &self.link
    }
}

impl AgentLink {
    /// How it stands.
    pub(crate) fn health(&self) -> watch::Receiver<Health> {
        self.health.clone()
    }

    /// Whether new streams may be opened on it: it is not closed, and its agent not about to leave.
    pub(crate) fn is_usable(&self) -> bool {
        self.link.close_reason().is_none() && !*self.link.peer_draining().borrow()
    }

    /// Waits until its agent is gone or about to go; says why.
    pub(crate) async fn leaving(&self) -> String {
        let mut draining = self.link.peer_draining();
        tokio::select! {
            reason = self.link.closed() => reason.to_string(),
            Ok(_) = draining.wait_for(|draining| *draining) => "the agent's pod is about to go".to_owned(),
        }
    }

    /// A link to nobody.
    #[cfg(test)]
    pub(crate) fn without_carriers() -> Self {
        let link = Link::client(LinkConfig::new(Role::Client)).unwrap();
        Self { link, health: watch::channel(Health::Up).1 }
    }
}

/// How a session makes its links; all of them share one budget of memory.
#[derive(Clone, Debug)]
pub(crate) struct Links {
    settings: LinkConfig,
    limits: Limits,
    silence: Duration,
    tasks: Tasks,
}

impl Links {
    /// For a session with these settings, whose tasks end with it.
    pub(crate) fn new(config: &Config, who: &str, tasks: &Tasks) -> Self {
        let settings = LinkConfig::new(Role::Client)
            .software(env!("CARGO_PKG_VERSION"))
            .who(who)
            .heartbeat(config.heartbeat)
            .silence(config.heartbeat_limit)
            .grace(config.grace)
            .budget(Budget::new(config.memory));
        let limits = Limits {
            least: config.carriers,
            most: config.most_carriers,
            // Both ends ping each carrier: something comes at least once in a heartbeat.
            silence: config.heartbeat.mul_f64(1.5).min(config.heartbeat_limit),
        };
        // Told a little before a link itself gives its carriers up.
        Self { settings, limits, silence: config.heartbeat_limit * 4 / 5, tasks: tasks.clone() }
    }

    /// Opens a link with its first carrier, and leaves a task that keeps carriers as the settings say until the link is
    /// closed. Cancel-safe.
    pub(crate) async fn connect(
        &self,
        cluster: &Cluster,
        pod: &AgentPod,
        deadline: Deadline,
    ) -> Result<AgentLink> {
        let link = Link::client(self.settings.clone()).map_err(|error| {
            Error::new(ErrorCode::Internal, "a link cannot be made: no randomness").because(error)
        })?;
        let way = Way::new(cluster.clone(), pod.clone(), link.clone());
        let first = first_carrier(&way, deadline).await?;
        let (keeper, health) = Keeper::new(way, self.limits, self.silence, first);
        self.tasks.spawn("carriers of a link", keeper.run());
        Ok(AgentLink { link, health })
    }
}

/// Whether the agent was about to go, or gone, when it was dialled: another one has to be found.
pub(crate) fn is_leaving(error: &Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<AttachError>());
    error.code() == ErrorCode::NoSuchTarget
        || matches!(source, Some(AttachError::Refused(goodbye)) if goodbye.code == GoodbyeCode::Draining)
}

/// Dials until the agent answers: its container runs a moment before its port is open.
async fn first_carrier(way: &Way, deadline: Deadline) -> Result<Dialled> {
    let mut backoff = Backoff::new(FIRST);
    loop {
        let error = match way.dial(deadline.at_most(DIAL)).await {
            Ok(first) => return Ok(first),
            Err(error) => error,
        };
        let hopeless = is_leaving(&error)
            || matches!(
                error.code(),
                ErrorCode::Forbidden | ErrorCode::Unauthorized | ErrorCode::AgentVersion
            );
        let delay = backoff.after(&error);
        if hopeless || deadline.left() <= delay {
            return Err(error);
        }
        tokio::time::sleep(delay).await;
    }
}

/// A carrier that is up.
type Dialled = (CarrierId, Arc<Facts>);

/// Where carriers lead, and whose they are; a cheap handle.
#[derive(Clone)]
struct Way {
    pod: Arc<str>,
    link: Link,
    /// Told when a carrier ends.
    keeper: Arc<Notify>,
    dial: Arc<dyn Fn(Deadline) -> BoxFuture<'static, Result<Dialled>> + Send + Sync>,
}

impl Way {
    fn new(cluster: Cluster, pod: AgentPod, link: Link) -> Self {
        let (name, keeper) = (Arc::from(pod.name.as_str()), Arc::new(Notify::new()));
        let (to, told) = (link.clone(), keeper.clone());
        let dial = move |deadline| -> BoxFuture<'static, Result<Dialled>> {
            let (cluster, pod) = (cluster.clone(), pod.name.clone());
            let (link, keeper) = (to.clone(), told.clone());
            Box::pin(async move {
                let dialled = match transport::dial(&cluster, &pod, CONTROL_PORT, deadline).await {
                    Ok((read, write)) => attach(&pod, &link, keeper, read, write, deadline).await,
                    Err(error) => Err(error),
                };
                match dialled {
                    Err(error) if error.code() == ErrorCode::NoSuchTarget => {
                        Err(not_found(&cluster, &pod, error, deadline).await)
                    }
                    Err(error) if tells_of_the_pod(&error) => {
                        Err(over_or(&cluster, &pod, error, deadline).await)
                    }
                    other => other,
                }
            })
        };
        Self { pod: name, link, keeper, dial: Arc::new(dial) }
    }

    /// Dials one carrier and says hello. Cancel-safe.
    fn dial(&self, deadline: Deadline) -> BoxFuture<'static, Result<Dialled>> {
        (self.dial)(deadline)
    }
}

/// What it means that nobody found the pod. A kubelet that has just started answers so for pods that run on its node, and its
/// answer is passed on as it is: only the API server knows whether the pod is gone.
async fn not_found(cluster: &Cluster, pod: &str, error: Error, deadline: Deadline) -> Error {
    let Err(refused) = cluster.get::<Pod>(pod, deadline).await else {
        let text = format!("the node of pods/{pod} does not know it at the moment: {error}");
        return Error::new(ErrorCode::AgentUnreachable, text).on(format!("pods/{pod}")).because(error);
    };
    match refused.code() {
        // Who may not look takes the node's word.
        ErrorCode::NoSuchTarget | ErrorCode::Forbidden => error,
        _ => refused,
    }
}

/// Whether a dial may have failed because of the pod, and not on the way there.
fn tells_of_the_pod(error: &Error) -> bool {
    matches!(error.code(), ErrorCode::AgentUnreachable | ErrorCode::Cluster)
        && api::retry_after(error).is_none()
}

/// A pod whose containers are over for good cannot be told from one that does not answer, but by its phase.
async fn over_or(cluster: &Cluster, pod: &str, error: Error, deadline: Deadline) -> Error {
    let found = cluster.get::<Pod>(pod, deadline).await.ok();
    let status = found.and_then(|pod| pod.status).unwrap_or_default();
    match status.phase.as_deref() {
        Some(phase @ ("Failed" | "Succeeded")) => {
            let text = format!("pods/{pod} is over ({phase}): {error}");
            Error::new(ErrorCode::NoSuchTarget, text).on(format!("pods/{pod}")).because(error)
        }
        _ => error,
    }
}

async fn attach(
    pod: &str,
    link: &Link,
    keeper: Arc<Notify>,
    read: impl CarrierRead,
    write: impl CarrierWrite,
    deadline: Deadline,
) -> Result<Dialled> {
    let (read, write, facts) = observed::observe(read, write, keeper);
    match link.attach(read, write, deadline.instant()).await {
        Ok(id) => Ok((id, facts)),
        Err(error) => Err(not_attached(pod, facts.why(), error)),
    }
}

fn not_attached(pod: &str, why: Option<&str>, error: AttachError) -> Error {
    let code = match &error {
        AttachError::Refused(goodbye) if goodbye.code == GoodbyeCode::Version => ErrorCode::AgentVersion,
        _ => ErrorCode::AgentUnreachable,
    };
    let words = match (why, &error) {
        // What the node said on the way matters more than that the carrier ended.
        (Some(why), AttachError::Ended | AttachError::Io(_) | AttachError::TimedOut) => why.to_owned(),
        _ => error.to_string(),
    };
    Error::new(code, format!("the agent in pods/{pod} cannot be reached: {words}"))
        .on(format!("pods/{pod}"))
        .try_this(format!("`kubectl describe pod {pod}` and `kubectl logs {pod}` tell how it is"))
        .because(error)
}
