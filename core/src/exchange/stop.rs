//! The end of an exchange: the Service first, then the connections, then the interceptor.

use std::time::Duration;

use super::guard::Guard;
use super::start::Kept;
use super::{prove, service};
use crate::cluster::{calls, names};
use crate::{Deadline, HandleState, Result};

/// Of a close's time, what is kept back for the steps after the connections have had theirs.
const RESERVE: Duration = Duration::from_secs(1);
/// Between two looks at the connections that are still open.
const LOOK: Duration = Duration::from_millis(20);

/// Ends the exchange. With `lost`, the Service is not ours any more in the way it was, and the handle
/// ends with that reason.
pub(crate) async fn stop(guard: Guard, kept: Kept, deadline: Deadline, lost: Option<String>) {
    guard.life.set(HandleState::Closing);
    let outcome = put_back(&guard, &kept, deadline).await;
    kept.interceptor.needed_for(guard.shared.config.linger);
    let state = match (lost, &outcome) {
        (Some(reason), _) => HandleState::Lost(reason),
        (None, Ok(())) => HandleState::Closed,
        (None, Err(error)) => HandleState::Lost(error.to_string()),
    };
    kept.inbound.set(None);
    guard.shared.keep(kept);
    guard.life.end(state, outcome);
}

async fn put_back(guard: &Guard, kept: &Kept, deadline: Deadline) -> Result<()> {
    let (cluster, plan) = (&guard.shared.cluster, &guard.plan);
    service::restore(cluster, plan, &names::lease(&guard.shared.id), deadline).await?;
    // From here on late callers are passed through. An agent that cannot be asked does so by itself.
    let reachable = match calls::disarm(&kept.link, deadline).await {
        Ok(_) => true,
        Err(error) => {
            tracing::debug!(error = error.report(), "the interceptor was not disarmed");
            false
        }
    };
    if reachable {
        let still_there = cluster.find(&plan.service, deadline).await?.is_some_and(
            |live: k8s_openapi::api::core::v1::Service| live.metadata.uid.as_ref() == Some(&plan.uid),
        );
        if still_there {
            prove::originals_are_back(&kept.link, plan, deadline).await?;
        }
    }
    drain(guard, deadline).await;
    Ok(())
}

/// Lets open connections go on for a while, then ends them.
async fn drain(guard: &Guard, deadline: Deadline) {
    let until = deadline.at_most(guard.shared.config.drain);
    let until = until.instant().min(deadline.instant() - RESERVE.min(deadline.left()));
    while guard.counters.read().open > 0 && tokio::time::Instant::now() < until {
        tokio::time::sleep(LOOK).await;
    }
    guard.end_connections();
    while guard.counters.read().open > 0 && !deadline.left().is_zero() {
        tokio::time::sleep(LOOK).await;
    }
}
