//! The end of an exchange: the Service first, then the connections. The interceptor is kept for the
//! next exchange of the Service, or the session's end.

use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use tokio::time::Instant;

use super::fallback::aside;
use super::guard::Guard;
use super::kept::Kept;
use super::prove;
use crate::cluster::{calls, names};
use crate::session::Part;
use crate::{Deadline, HandleState, Result};

/// Whatever the caller's patience, putting back is tried for this long.
const WORK: Duration = Duration::from_secs(30);
/// Of a close's time, what is kept back for the steps after the connections have had theirs.
const RESERVE: Duration = Duration::from_secs(1);
/// Between two looks at the connections that are still open.
const LOOK: Duration = Duration::from_millis(20);

/// Ends the exchange. With `lost`, the Service is not ours any more in the way it was, and the handle
/// ends with that reason.
pub(crate) async fn stop(mut guard: Guard, mut kept: Kept, deadline: Deadline, lost: Option<String>) {
    guard.life.set(HandleState::Closing);
    guard.shared.part_gone(Part::Interceptor(guard.life.id()));
    let outcome = put_back(&guard, &mut kept, deadline, lost.is_some()).await;
    let state = match (lost, &outcome) {
        (Some(reason), _) => HandleState::Lost(reason),
        (None, Ok(())) => HandleState::Closed,
        (None, Err(error)) => HandleState::Lost(error.to_string()),
    };
    guard.shared.keep(kept);
    // Whoever is told of the end may exchange the Service anew at once.
    guard.release_reservation();
    guard.life.end(state, outcome);
}

async fn put_back(guard: &Guard, kept: &mut Kept, deadline: Deadline, lost: bool) -> Result<()> {
    let (cluster, plan, work) = (&guard.shared.cluster, &guard.plan, deadline.at_least(WORK));
    kept.taken_as = Some(plan.clone());
    let lease = names::lease(&guard.shared.id);
    let restored = aside::restore(cluster, plan, &lease, guard.fallback.as_ref(), work).await;
    kept.interceptor.needed_for(guard.shared.config.linger);
    // From here on callers are passed through, also when the Service still leads here. An agent that
    // cannot be asked does so by itself.
    let disarmed = calls::disarm(&kept.link, work.at_most(WORK)).await;
    if let Err(error) = &disarmed {
        tracing::debug!(error = error.report(), "the interceptor was not disarmed");
    }
    if let Some(companion) = &kept.companion {
        companion.disarm(work.at_most(WORK)).await;
        if restored.is_ok() {
            companion.retire(&guard.shared, guard.shared.config.linger);
        }
    }
    let proven = match (&restored, &disarmed) {
        // What somebody else has made of it may never lead to the originals, and is not ours to wait for.
        (Ok(_), Ok(_)) if !lost => originals_answer(guard, kept, work).await,
        _ => Ok(()),
    };
    let nets = match &guard.fallback {
        Some(fallback) => fallback.end(work.at_most(WORK)).await,
        None => Ok(()),
    };
    drain(guard, deadline).await;
    kept.inbound.set(None);
    restored.map(|_| ()).and(proven).and(nets)
}

async fn originals_answer(guard: &Guard, kept: &Kept, deadline: Deadline) -> Result<()> {
    let plan = &guard.plan;
    let live: Option<Service> = guard.shared.cluster.find(&plan.service, deadline).await?;
    if live.is_some_and(|live| live.metadata.uid.as_ref() == Some(&plan.uid)) {
        prove::originals_are_back(&kept.link, plan, deadline).await?;
    }
    Ok(())
}

/// Lets open connections go on for a while, then ends them.
async fn drain(guard: &Guard, deadline: Deadline) {
    let until = deadline.at_most(guard.shared.config.drain).instant();
    let until = until.min(deadline.instant() - RESERVE.min(deadline.left()));
    while guard.counters.read().open > 0 && Instant::now() < until {
        tokio::time::sleep(LOOK).await;
    }
    guard.end_connections();
    // An orderly end takes the callers a moment, too.
    let until = Instant::now() + 2 * RESERVE;
    while guard.counters.read().open > 0 && Instant::now() < until {
        tokio::time::sleep(LOOK).await;
    }
}
