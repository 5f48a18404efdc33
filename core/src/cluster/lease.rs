//! A session's Lease: tells the others who is there, and that it lives.

pub(crate) mod judge;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Preconditions, PropagationPolicy};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Cluster, api, names};
use crate::plain;
use crate::{Deadline, Error, ErrorCode, Result};

/// A Lease that was not renewed for this long is that of a dead session.
pub(crate) const DURATION: Duration = Duration::from_secs(30);
/// Between two renewals.
pub(crate) const RENEWAL: Duration = Duration::from_secs(10);

/// The version of both annotations that is written; readers keep fields they do not know.
const VERSION: u32 = 1;

/// The annotation [`names::SESSION`] of a Lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SessionNote {
    /// Version of this format.
    pub(crate) v: u32,
    /// `user@host`.
    pub(crate) who: String,
    /// When the session began, RFC 3339, by the clock of its own machine. For people only.
    pub(crate) started: String,
    /// Of later versions.
    #[serde(flatten)]
    pub(crate) other: Map<String, Value>,
}

/// The annotation [`names::RECOVERED`] of a Lease: what was put back by hand while the session held it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Recovered {
    /// Version of this format.
    pub(crate) v: u32,
    /// By the Service's uid.
    pub(crate) services: BTreeMap<String, Recovery>,
    /// Of later versions.
    #[serde(flatten)]
    pub(crate) other: Map<String, Value>,
}

/// Who put a Service back by hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Recovery {
    /// The Service's name.
    pub(crate) service: String,
    /// `user@host`.
    pub(crate) by: String,
    /// When, RFC 3339, by that machine's clock. For people only.
    pub(crate) at: String,
    /// Of later versions.
    #[serde(flatten)]
    pub(crate) other: Map<String, Value>,
}

impl SessionNote {
    /// With texts that people may be shown, whoever wrote them.
    fn plain(self) -> Self {
        Self { who: plain::line(&self.who), started: plain::line(&self.started), ..self }
    }
}

impl Recovery {
    /// As [`SessionNote::plain`].
    pub(crate) fn plain(&self) -> Self {
        Self { by: plain::line(&self.by), at: plain::line(&self.at), ..self.clone() }
    }
}

/// A Lease of ours as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) version: String,
    /// How long it holds without being renewed.
    pub(crate) duration: Duration,
    pub(crate) note: SessionNote,
    pub(crate) recovered: Recovered,
    /// Whether a session of kubetether made it; one that only bears such a name, or is only named by somebody, is not deleted.
    pub(crate) ours: bool,
}

impl Known {
    /// Whether its session is one of a later version: nothing of it is touched.
    pub(crate) fn is_later(&self) -> bool {
        self.note.v > VERSION
    }

    pub(crate) fn of(lease: &Lease) -> Self {
        let meta = &lease.metadata;
        let name = meta.name.clone().unwrap_or_default();
        let spec = lease.spec.as_ref();
        let seconds = spec.and_then(|spec| spec.lease_duration_seconds).and_then(|it| u64::try_from(it).ok());
        let fallback = || SessionNote {
            v: VERSION,
            who: spec.and_then(|spec| spec.holder_identity.clone()).unwrap_or_else(|| name.clone()),
            started: "an unknown time".to_owned(),
            other: Map::new(),
        };
        let labelled = meta.labels.as_ref().and_then(|all| all.get(names::MANAGED_BY));
        let noted = meta.annotations.as_ref().is_some_and(|all| all.contains_key(names::SESSION));
        let named = names::session_of_lease(&name).is_some();
        Self {
            ours: named && noted && labelled.is_some_and(|by| by == names::KUBETETHER),
            uid: meta.uid.clone().unwrap_or_default(),
            version: meta.resource_version.clone().unwrap_or_default(),
            // Anybody may write it: neither a moment nor for ever.
            duration: seconds.map_or(DURATION, Duration::from_secs).clamp(RENEWAL, 10 * DURATION),
            note: annotation(lease, names::SESSION).unwrap_or_else(fallback).plain(),
            recovered: annotation(lease, names::RECOVERED).unwrap_or_default(),
            name,
        }
    }
}

fn annotation<T: serde::de::DeserializeOwned>(lease: &Lease, key: &str) -> Option<T> {
    let text = lease.metadata.annotations.as_ref()?.get(key)?;
    serde_json::from_str(text).ok()
}

/// Creates the Lease; returns its uid. It is the first object of a session, so it also finds out whether the
/// namespace is there and the cluster lets this user in.
pub(crate) async fn create(
    cluster: &Cluster,
    session: &str,
    who: &str,
    deadline: Deadline,
) -> Result<String> {
    let note = SessionNote { v: VERSION, who: who.to_owned(), started: time_for_people(), other: Map::new() };
    let lease = Lease {
        metadata: ObjectMeta {
            name: Some(names::lease(session)),
            labels: Some(BTreeMap::from([(names::MANAGED_BY.into(), names::KUBETETHER.into())])),
            annotations: Some(BTreeMap::from([(names::SESSION.into(), text(&note)?)])),
            ..Default::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(who.to_owned()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: Some(now()),
            renew_time: Some(now()),
            ..Default::default()
        }),
    };
    Ok(cluster.create(&lease, deadline).await?.metadata.uid.unwrap_or_default())
}

/// Renews the Lease.
pub(crate) async fn renew(cluster: &Cluster, session: &str, deadline: Deadline) -> Result<Known> {
    // Not `replace`: somebody may have emptied it.
    let patch = api::patch(json!([{ "op": "add", "path": "/spec/renewTime", "value": now() }]))?;
    cluster.json_patch::<Lease>(&names::lease(session), patch, deadline).await.map(|lease| Known::of(&lease))
}

/// Deletes the Lease at the session's own end.
pub(crate) async fn delete(cluster: &Cluster, session: &str, deadline: Deadline) -> Result<()> {
    cluster.delete::<Lease>(&names::lease(session), None, PropagationPolicy::Background, deadline).await
}

/// The Lease of that name; `None` when there is none.
pub(crate) async fn find(cluster: &Cluster, lease: &str, deadline: Deadline) -> Result<Option<Known>> {
    Ok(cluster.find::<Lease>(lease, deadline).await?.map(|lease| Known::of(&lease)))
}

/// Takes a dead session's Lease away, which is what permits to take away the rest. `false` when it was renewed since it was
/// read as `dead`: then its session lives, and nothing of it may be touched; also when it is none that a session made.
pub(crate) async fn bury(cluster: &Cluster, dead: &Known, deadline: Deadline) -> Result<bool> {
    if !dead.ours {
        return Ok(false);
    }
    let unchanged =
        Preconditions { resource_version: Some(dead.version.clone()), uid: Some(dead.uid.clone()) };
    let background = PropagationPolicy::Background;
    match cluster.delete::<Lease>(&dead.name, Some(unchanged), background, deadline).await {
        Ok(()) => Ok(true),
        Err(error) if api::is_conflict(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Writes on a session's Lease that a Service was put back by hand. `false` when there is no such Lease.
pub(crate) async fn mark_recovered(
    cluster: &Cluster,
    lease: &str,
    service_uid: &str,
    recovery: &Recovery,
    deadline: Deadline,
) -> Result<bool> {
    change_recovered(cluster, lease, deadline, |services| {
        services.insert(service_uid.to_owned(), recovery.clone());
    })
    .await
}

/// Takes such a mark off again: the session is to take the Service anew.
pub(crate) async fn unmark_recovered(
    cluster: &Cluster,
    lease: &str,
    service_uid: &str,
    deadline: Deadline,
) -> Result<bool> {
    change_recovered(cluster, lease, deadline, |services| drop(services.remove(service_uid))).await
}

async fn change_recovered(
    cluster: &Cluster,
    lease: &str,
    deadline: Deadline,
    change: impl Fn(&mut BTreeMap<String, Recovery>),
) -> Result<bool> {
    let attempt = || async {
        let Some(found) = cluster.find::<Lease>(lease, deadline).await? else { return Ok(false) };
        let known = Known::of(&found);
        let mut next = Recovered { v: known.recovered.v.max(VERSION), ..known.recovered.clone() };
        change(&mut next.services);
        if next.services == known.recovered.services {
            return Ok(true);
        }
        let mut operations =
            vec![json!({ "op": "test", "path": "/metadata/resourceVersion", "value": known.version })];
        if found.metadata.annotations.is_none() {
            operations.push(json!({ "op": "add", "path": "/metadata/annotations", "value": {} }));
        }
        let path = api::annotation_path(names::RECOVERED);
        operations.push(if next.services.is_empty() {
            json!({ "op": "remove", "path": path })
        } else {
            json!({ "op": "add", "path": path, "value": text(&next)? })
        });
        match cluster.json_patch::<Lease>(lease, api::patch(operations.into())?, deadline).await {
            Err(error) if error.code() == ErrorCode::NoSuchTarget => Ok(false),
            patched => patched.map(|_| true),
        }
    };
    cluster.on_conflict_again(attempt).await
}

/// The time of now, as it is written for people: to the second, UTC.
pub(crate) fn time_for_people() -> String {
    now().0.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn text(note: &impl Serialize) -> Result<String> {
    serde_json::to_string(note)
        .map_err(|error| Error::new(ErrorCode::Internal, "a Lease's note cannot be written").because(error))
}

fn now() -> MicroTime {
    MicroTime(k8s_openapi::jiff::Timestamp::now())
}
