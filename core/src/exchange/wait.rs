//! Waiting for a Service that somebody else holds.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Service;

use super::note::Note;
use super::start::start;
use super::{Exchange, service};
use crate::cluster::{Cluster, api};
use crate::life::Life;
use crate::session::Shared;
use crate::target::Target;
use crate::to::To;
use crate::{Deadline, Error, ErrorCode, Result};

/// Between two looks at a Service that somebody holds.
const LOOK: Duration = Duration::from_millis(500);
/// One look takes no longer, with a server that answers.
const ONE_LOOK: Duration = Duration::from_secs(10);

/// Starts an exchange; waits for the Service as long as `wait`, which does not count against the deadline.
pub(crate) async fn start_when_free(
    shared: &Arc<Shared>,
    life: &Arc<Life>,
    target: &Target,
    to: &To,
    limit: Duration,
    renewable: Option<Duration>,
    wait: Duration,
) -> Result<Exchange> {
    let until = Deadline::after(wait);
    loop {
        let started = start(shared, life, target, to, Deadline::after(limit), renewable, until).await;
        let error = match started {
            Err(error) if error.code() == ErrorCode::Held && !until.left().is_zero() => error,
            done => return done,
        };
        // By this very session, or somebody was quicker.
        life.notice(format!("waiting until it is free: {error}"));
        tokio::select! {
            _ = life.end_wanted() => return Err(Error::closed("the exchange's start was cancelled; it")),
            () = tokio::time::sleep(LOOK.min(until.left())) => {}
        }
    }
}

/// [`service::claim`] of a Service once it is free, if that comes in time; also of a holder who turns out to be dead.
/// Cancel-safe.
pub(super) async fn claim(
    cluster: &Cluster,
    life: &Life,
    mut found: Service,
    own: &str,
    limit: Deadline,
    until: Deadline,
) -> Result<(Service, Option<Note>)> {
    let name = found.metadata.name.clone().unwrap_or_default();
    let limit = limit.at_least(until.left());
    let mut held = None;
    loop {
        // Again and again, since one who lives may die.
        let claiming = service::claim(cluster, found.clone(), own, limit, |text| life.notice(text));
        let (waits, refused) = (!until.left().is_zero(), held.take());
        let claimed = tokio::select! {
            claimed = claiming => claimed,
            freed = freed(cluster, &name, own), if waits => {
                found = freed?;
                continue;
            }
            Some(error) = over(until, refused) => return Err(error),
        };
        match claimed {
            Err(error) if error.code() == ErrorCode::Held && waits => held = Some(error),
            claimed => return claimed,
        }
    }
}

/// Waits until nobody but the `own` Lease holds the Service. What cannot be read at the moment is read again. Cancel-safe.
async fn freed(cluster: &Cluster, name: &str, own: &str) -> Result<Service> {
    loop {
        tokio::time::sleep(LOOK).await;
        let live = match cluster.get::<Service>(name, Deadline::after(ONE_LOOK)).await {
            Err(error) if api::is_passing(&error) => continue,
            live => live?,
        };
        if Note::of(&live)?.is_none_or(|note| note.holders.iter().all(|holder| holder.lease == own)) {
            return Ok(live);
        }
    }
}

/// The error, at the moment; never without one.
async fn over(until: Deadline, error: Option<Error>) -> Option<Error> {
    if error.is_none() {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep_until(until.instant()).await;
    error
}
