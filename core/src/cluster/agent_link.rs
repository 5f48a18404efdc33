//! A link to an agent, kept alive: carriers are dialled at the start and again whenever one is lost.

use std::time::Duration;

use kubetether_link::{AttachError, GoodbyeCode, Link, LinkConfig, Role};

use super::agent_pod::CONTROL_PORT;
use super::api::is_passing;
use super::pod_wait::AgentPod;
use super::{Cluster, transport};
use crate::tasks::Tasks;
use crate::{Config, Deadline, Error, ErrorCode, Result};

/// One attempt to dial a carrier and say hello.
const DIAL: Duration = Duration::from_secs(10);

/// Opens a link with its first carrier, and leaves a task in `tasks` that keeps as many carriers as
/// the settings ask for until the link is closed.
pub(crate) async fn connect(
    cluster: &Cluster,
    pod: &AgentPod,
    config: &Config,
    who: &str,
    tasks: &Tasks,
    deadline: Deadline,
) -> Result<Link> {
    let settings = LinkConfig::new(Role::Client)
        .software(env!("CARGO_PKG_VERSION"))
        .who(who)
        .heartbeat(config.heartbeat)
        .silence(config.heartbeat_limit)
        .grace(config.grace);
    let link = Link::client(settings).map_err(|error| {
        Error::new(ErrorCode::Internal, "a link cannot be made: no randomness").because(error)
    })?;
    first_carrier(cluster, pod, &link, deadline).await?;
    tasks.spawn("carriers of a link", keep(cluster.clone(), pod.clone(), link.clone(), config.carriers));
    Ok(link)
}

/// Whether the agent was about to go, or gone, when it was dialled: another one has to be found.
pub(crate) fn is_leaving(error: &Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<AttachError>());
    error.code() == ErrorCode::NoSuchTarget
        || matches!(source, Some(AttachError::Refused(goodbye)) if goodbye.code == GoodbyeCode::Draining)
}

/// Dials until the agent answers: its container runs a moment before its port is open.
async fn first_carrier(cluster: &Cluster, pod: &AgentPod, link: &Link, deadline: Deadline) -> Result<()> {
    let mut delays = delays(Duration::from_millis(20), Duration::from_millis(500));
    loop {
        let error = match Box::pin(attach(cluster, pod, link, deadline.at_most(DIAL))).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let hopeless = is_leaving(&error)
            || matches!(
                error.code(),
                ErrorCode::Forbidden | ErrorCode::Unauthorized | ErrorCode::AgentVersion
            );
        let delay = delays.next().unwrap_or_default();
        if hopeless || deadline.left() <= delay {
            return Err(error);
        }
        tokio::time::sleep(delay).await;
    }
}

/// Keeps `wanted` carriers up until the link is closed.
async fn keep(cluster: Cluster, pod: AgentPod, link: Link, wanted: usize) {
    let mut carriers = link.carriers();
    let mut delays_now = delays(FIRST_DELAY, LAST_DELAY);
    loop {
        tokio::select! {
            _ = link.closed() => return,
            enough = carriers.wait_for(|up| *up < wanted) => if enough.is_err() { return },
        }
        let attempt = tokio::select! {
            _ = link.closed() => return,
            attempt = Box::pin(attach(&cluster, &pod, &link, Deadline::after(DIAL))) => attempt,
        };
        let error = match attempt {
            Ok(()) => {
                delays_now = delays(FIRST_DELAY, LAST_DELAY);
                continue;
            }
            Err(error) => error,
        };
        tracing::debug!(pod = pod.name, error = error.report(), "no carrier");
        if error.code() == ErrorCode::NoSuchTarget {
            // The pod is gone for good, and its streams with it.
            link.close(GoodbyeCode::AgentRestarted, "the agent's pod is gone");
            return;
        }
        if !is_passing(&error) && *carriers.borrow() == 0 {
            tracing::debug!(pod = pod.name, "the agent cannot be reached at the moment");
        }
        let delay = delays_now.next().unwrap_or(LAST_DELAY);
        tokio::select! {
            _ = link.closed() => return,
            () = tokio::time::sleep(delay) => {}
        }
    }
}

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LAST_DELAY: Duration = Duration::from_secs(3);

async fn attach(cluster: &Cluster, pod: &AgentPod, link: &Link, deadline: Deadline) -> Result<()> {
    let object = format!("pods/{}", pod.name);
    let (read, write) = transport::dial(cluster, &pod.name, CONTROL_PORT, deadline).await?;
    match link.attach(read, write, deadline.instant()).await {
        Ok(_) => Ok(()),
        Err(error) => {
            let code = match &error {
                AttachError::Refused(goodbye) if goodbye.code == GoodbyeCode::Version => {
                    ErrorCode::AgentVersion
                }
                _ => ErrorCode::AgentUnreachable,
            };
            let message = format!("the agent in pod {} does not answer", pod.name);
            Err(Error::new(code, message).on(object).because(error))
        }
    }
}

/// Ever longer delays, doubling up to `last`.
fn delays(first: Duration, last: Duration) -> impl Iterator<Item = Duration> {
    std::iter::successors(Some(first), move |delay| Some((*delay * 2).min(last)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_last() {
        let list: Vec<u64> = delays(Duration::from_millis(100), Duration::from_millis(350))
            .take(4)
            .map(|d| d.as_millis() as u64)
            .collect();
        assert_eq!(list, [100, 200, 350, 350]);
    }
}
