//! A session's Lease: tells the others who is there, and that it lives.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PropagationPolicy;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Cluster, names};
use crate::{Deadline, Error, ErrorCode, Result};

/// A Lease that was not renewed for this long is that of a dead session.
pub(crate) const DURATION: Duration = Duration::from_secs(30);
/// Between two renewals.
pub(crate) const RENEWAL: Duration = Duration::from_secs(10);

/// The annotation [`names::SESSION`] of a Lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SessionNote {
    /// Version of this format.
    pub(crate) v: u32,
    /// `user@host`.
    pub(crate) who: String,
    /// When the session began, RFC 3339, by the clock of its own machine.
    pub(crate) started: String,
}

/// Creates the Lease. It is the first object of a session, so it also finds out whether the
/// namespace is there and the cluster lets this user in.
pub(crate) async fn create(cluster: &Cluster, session: &str, who: &str, deadline: Deadline) -> Result<()> {
    let note = SessionNote { v: 1, who: who.to_owned(), started: now().0.to_string() };
    let note = serde_json::to_string(&note).map_err(|error| {
        Error::new(ErrorCode::Internal, "a Lease's note cannot be written").because(error)
    })?;
    let lease = Lease {
        metadata: ObjectMeta {
            name: Some(names::lease(session)),
            labels: Some(BTreeMap::from([(names::MANAGED_BY.into(), names::KUBETETHER.into())])),
            annotations: Some(BTreeMap::from([(names::SESSION.into(), note)])),
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
    cluster.create(&lease, deadline).await.map(|_| ())
}

/// Renews the Lease.
pub(crate) async fn renew(cluster: &Cluster, session: &str, deadline: Deadline) -> Result<()> {
    let patch = super::api::patch(json!([{ "op": "replace", "path": "/spec/renewTime", "value": now() }]))?;
    cluster.json_patch::<Lease>(&names::lease(session), patch, deadline).await.map(|_| ())
}

/// Deletes the Lease.
pub(crate) async fn delete(cluster: &Cluster, session: &str, deadline: Deadline) -> Result<()> {
    cluster.delete::<Lease>(&names::lease(session), None, PropagationPolicy::Background, deadline).await
}

/// Who holds the Lease of that name, and since when; `None` when there is no such Lease.
pub(crate) async fn holder(
    cluster: &Cluster,
    lease: &str,
    deadline: Deadline,
) -> Result<Option<SessionNote>> {
    let Some(found) = cluster.find::<Lease>(lease, deadline).await? else { return Ok(None) };
    let annotations = found.metadata.annotations.unwrap_or_default();
    let note = annotations.get(names::SESSION).and_then(|text| serde_json::from_str(text).ok());
    let fallback = || SessionNote {
        v: 1,
        who: found.spec.and_then(|spec| spec.holder_identity).unwrap_or_else(|| lease.to_owned()),
        started: "an unknown time".to_owned(),
    };
    Ok(Some(note.unwrap_or_else(fallback)))
}

fn now() -> MicroTime {
    MicroTime(k8s_openapi::jiff::Timestamp::now())
}
