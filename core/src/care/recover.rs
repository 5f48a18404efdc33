//! One Service is put back, whatever its state.

use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use serde_json::Map;

use super::Unseen;
use super::objects::{self, Kind};
use super::survey::{Returned, Taken};
use crate::backoff::{Backoff, Pace};
use crate::cluster::lease::{self, Recovery};
use crate::cluster::{Cluster, api, fields};
use crate::exchange::note::Original;
use crate::exchange::put_back::put_back;
use crate::session::who;
use crate::target::{Target, TargetKind};
use crate::{Config, Deadline, Error, ErrorCode, Result};

/// Between two tries to put a Service back.
const AGAIN: Pace = Pace { first: Duration::from_millis(300), last: Duration::from_secs(3) };

/// Settings of [`recover`].
#[derive(Clone, Debug, Default)]
pub struct RecoverOptions {
    deadline: Option<Duration>,
}

impl RecoverOptions {
    /// The settings that suit most users.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How long it may take. Default: the [`start_deadline`](Config::start_deadline).
    #[must_use]
    pub fn deadline(mut self, duration: Duration) -> Self {
        self.deadline = Some(duration);
        self
    }
}

/// What came of a [`recover`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovered {
    /// The namespace.
    pub namespace: String,
    /// The Service's name.
    pub service: String,
    /// Whether there was something to put back.
    pub changed: bool,
    /// Who held it, as they call themselves, or by their Leases' names where those are gone. Also who has put it back for a
    /// moment and would have taken it again: [`changed`](Self::changed) is false then, and they are told all the same.
    pub held_by: Vec<String>,
    /// Holders that could not be told, in the cluster's own words: they may take it again.
    pub untold: Vec<Unseen>,
}

/// Puts one Service back as it was before anybody's kubetether changed it, also while its holder lives: that one's handle
/// ends as lost, and does not take it again. What serves the holder stays until its session ends, or
/// [`clean`](crate::clean) takes it away. Cancel-safe: the change itself is one request.
///
/// # Errors
/// [`NoSuchTarget`](ErrorCode::NoSuchTarget); [`Unsupported`](ErrorCode::Unsupported) for what is no Service;
/// [`NotRestored`](ErrorCode::NotRestored) when nothing tells what it was, or it could not be changed within the deadline;
/// those of [`status`](crate::status).
pub async fn recover<T>(config: &Config, service: T, options: RecoverOptions) -> Result<Recovered>
where
    T: TryInto<Target>,
    Error: From<T::Error>,
{
    let target: Target = service.try_into()?;
    if target.kind() != TargetKind::Service {
        let text = format!("{target} cannot be put back: only Services are changed by kubetether");
        return Err(Error::new(ErrorCode::Unsupported, text).on(target.to_string()));
    }
    let deadline = Deadline::after(options.deadline.unwrap_or(config.start_deadline));
    let (cluster, _) = Cluster::connect(config, deadline).await?;
    let name = target.name();
    let live: Service = cluster.named(name, deadline).await?;
    // Where its note is gone, what leads back to its pods knows what it was.
    let (ours, _) = objects::find(&cluster, false, &[Kind::Service, Kind::EndpointSlice], deadline).await?;
    let mut recovered = Recovered {
        namespace: cluster.namespace().to_owned(),
        service: name.to_owned(),
        changed: false,
        held_by: Vec::new(),
        untold: Vec::new(),
    };
    let recovery = Recovery::new(name, &config.who.clone().unwrap_or_else(who));
    let returned = Returned::of(&live, &ours);
    let Some(taken) = Taken::of(live, &ours) else {
        if let Some(returned) = returned {
            for lease in &returned.leases {
                tell_holder(&cluster, lease, &returned.uid, &recovery, &mut recovered, deadline).await?;
            }
        }
        return Ok(recovered);
    };
    let original = taken.original.as_ref().map_err(|unknown| unknown.error(name))?;
    for holder in &taken.holders {
        // Told first, so that it does not take the Service again in between.
        if !tell_holder(&cluster, &holder.lease, taken.uid(), &recovery, &mut recovered, deadline).await? {
            recovered.held_by.push(holder.lease.clone());
        }
    }
    let put_back = put_back_live(&cluster, name, original, |_| true, deadline);
    let put_back = objects::clear_the_way(&cluster, &taken, &ours, put_back, deadline).await?;
    recovered.changed = put_back == PutBack::Done;
    Ok(recovered)
}

/// Tells a session that the Service is not its any more; `false` when there is no such session.
async fn tell_holder(
    cluster: &Cluster,
    lease: &str,
    service_uid: &str,
    recovery: &Recovery,
    recovered: &mut Recovered,
    deadline: Deadline,
) -> Result<bool> {
    match mark(cluster, lease, service_uid, recovery, deadline).await {
        Ok(false) => return Ok(false),
        Ok(true) => {}
        Err(error) if error.code() == ErrorCode::Forbidden => recovered.untold.push(Unseen::new(&error)),
        Err(error) => return Err(error),
    }
    let known = lease::find(cluster, lease, deadline).await.ok().flatten();
    recovered.held_by.push(known.map_or_else(|| lease.to_owned(), |known| known.note.who));
    Ok(true)
}

impl Returned {
    /// Tells the sessions that may take it again not to do so.
    pub(super) async fn tell(&self, cluster: &Cluster, by: &str, deadline: Deadline) -> Result<()> {
        let there = cluster.in_namespace(&self.namespace);
        for lease in &self.leases {
            mark(&there, lease, &self.uid, &Recovery::new(&self.name, by), deadline).await?;
        }
        Ok(())
    }
}

impl Recovery {
    /// Now, by whom.
    pub(super) fn new(service: &str, by: &str) -> Self {
        let at = lease::time_for_people();
        Self { service: service.to_owned(), by: by.to_owned(), at, other: Map::new() }
    }
}

/// Tells a session, if its Lease is there, that a Service is not its any more; whether it is there.
pub(super) async fn mark(
    cluster: &Cluster,
    lease: &str,
    service_uid: &str,
    recovery: &Recovery,
    deadline: Deadline,
) -> Result<bool> {
    lease::mark_recovered(cluster, lease, service_uid, recovery, deadline).await
}

/// What came of putting a Service back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PutBack {
    Done,
    /// There was nothing to do.
    Free,
    /// It is not what it was when it was looked at: somebody has it by now.
    Another,
}

/// Puts the Service back as it is now, as long as `same` says that it still is the one that is meant. Goes on after passing
/// faults until the deadline.
pub(super) async fn put_back_live(
    cluster: &Cluster,
    name: &str,
    original: &Original,
    same: impl Fn(&Service) -> bool,
    deadline: Deadline,
) -> Result<PutBack> {
    let attempt = || async {
        let Some(live) = cluster.find::<Service>(name, deadline).await? else { return Ok(PutBack::Free) };
        let Some(operations) = put_back(&live, original) else { return Ok(PutBack::Free) };
        if !same(&live) {
            return Ok(PutBack::Another);
        }
        let patch = api::patch(operations)?;
        let restored = cluster.json_patch::<Service>(name, patch, deadline).await?;
        // Only a record: whoever changes the Service now matters more.
        if let Err(error) = fields::give_up(cluster, &restored, deadline).await {
            tracing::debug!(error = error.report(), "the record of a Service's fields still names us");
        }
        Ok(PutBack::Done)
    };
    let mut backoff = Backoff::new(AGAIN);
    loop {
        let error = match cluster.on_conflict_again(attempt).await {
            Err(error) if api::is_passing(&error) || api::is_conflict(&error) => error,
            done => return done.map_err(|error| not_restored(name, error)),
        };
        let pause = backoff.after(&error);
        if deadline.left() <= pause {
            return Err(not_restored(name, error));
        }
        tokio::time::sleep(pause).await;
    }
}

fn not_restored(name: &str, error: Error) -> Error {
    let object = format!("services/{name}");
    Error::new(ErrorCode::NotRestored, format!("{object} could not be put back: {error}"))
        .on(object)
        .because(error)
}
