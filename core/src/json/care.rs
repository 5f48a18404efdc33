//! What looking after a cluster tells.

use serde::Serialize;

use super::serialize_as;
use crate::{Cleaned, Condition, Error, Recovered, Removal, ServiceStatus, SessionStatus, Status, Unseen};

serialize_as! {
    Status => StatusShape<'_>;
    Cleaned => CleanedShape<'_>;
    Recovered => RecoveredShape<'_>;
}

/// Who is there and what they hold.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "Status"))]
pub(crate) struct StatusShape<'a> {
    /// Sessions that are there, or that something in the cluster names.
    sessions: Vec<SessionShape<'a>>,
    /// Services that are held.
    services: Vec<ServiceShape<'a>>,
    /// Objects of dead sessions, or of nobody, as `namespace plural/name`.
    leftovers: &'a [String],
    /// What may not be looked at, so that something may be missing here.
    unseen: Vec<UnseenShape<'a>>,
}

/// A session, seen from outside.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "SessionStatus"))]
struct SessionShape<'a> {
    namespace: &'a str,
    /// The name of its Lease.
    lease: &'a str,
    /// `user@host`, as it called itself; null when its Lease is gone.
    who: Option<&'a str>,
    /// When it began, RFC 3339, by its own machine's clock.
    started: Option<&'a str>,
    /// `lives`, `dead` or `unknown`.
    life: &'static str,
}

/// A Service that is held.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "ServiceStatus"))]
struct ServiceShape<'a> {
    namespace: &'a str,
    /// The Service's name.
    service: &'a str,
    /// How it is held: `exchange`.
    mode: &'a str,
    /// Which of its ports go to the holder.
    ports: &'a [u16],
    /// The Lease of the session that holds it; empty when nobody knows.
    lease: &'a str,
    /// Who that is, as it called itself; null when its Lease is gone.
    who: Option<&'a str>,
    /// Since when, RFC 3339, by the holder's clock, where it said so.
    since: Option<&'a str>,
    /// Whether the holder `lives`, or is `dead`, or it is `unknown`.
    life: &'static str,
    /// Where its traffic goes: `active`, `pass_through`, `broken` or `unknown`.
    condition: &'static str,
    /// Why, where there is a reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

/// Something that this user may not look at.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "Unseen"))]
struct UnseenShape<'a> {
    /// What, as the API server names it: `leases`.
    what: &'a str,
    /// The cluster's own words.
    why: &'a str,
}

/// What came of a clean.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "Cleaned"))]
pub(crate) struct CleanedShape<'a> {
    /// Services that were put back, or would be.
    restored: Vec<RestoredShape<'a>>,
    /// Objects that were deleted, or would be.
    deleted: Vec<DeletedShape<'a>>,
    /// What stays, and why.
    left: Vec<LeftShape<'a>>,
    /// What may not be looked at, so that something may be left there.
    unseen: Vec<UnseenShape<'a>>,
}

/// A Service that was put back.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "Restored"))]
struct RestoredShape<'a> {
    namespace: &'a str,
    /// `services/name`.
    object: &'a str,
    /// The Leases of those who held it.
    leases: &'a [String],
}

/// An object that was deleted.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "Deleted"))]
struct DeletedShape<'a> {
    namespace: &'a str,
    /// `plural/name`.
    object: &'a str,
}

/// Something that stays.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "Left"))]
struct LeftShape<'a> {
    namespace: &'a str,
    /// `plural/name`.
    object: &'a str,
    /// Why.
    why: &'a str,
    /// What failed; null when it stays on purpose.
    #[cfg_attr(test, schemars(with = "Option<super::ErrorShape>"))]
    error: Option<&'a Error>,
}

/// What came of putting one Service back.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "Recovered"))]
pub(crate) struct RecoveredShape<'a> {
    namespace: &'a str,
    /// The Service's name.
    service: &'a str,
    /// Whether there was something to put back.
    changed: bool,
    /// Who held it.
    held_by: &'a [String],
    /// Holders that could not be told: they may take it again.
    untold: Vec<UnseenShape<'a>>,
}

impl<'a> StatusShape<'a> {
    fn of(status: &'a Status) -> Self {
        Self {
            sessions: status.sessions.iter().map(SessionShape::of).collect(),
            services: status.services.iter().map(ServiceShape::of).collect(),
            leftovers: &status.leftovers,
            unseen: unseen(&status.unseen),
        }
    }
}

impl<'a> SessionShape<'a> {
    fn of(session: &'a SessionStatus) -> Self {
        Self {
            namespace: &session.namespace,
            lease: &session.lease,
            who: session.who.as_deref(),
            started: session.started.as_deref(),
            life: session.life.as_str(),
        }
    }
}

impl<'a> ServiceShape<'a> {
    fn of(service: &'a ServiceStatus) -> Self {
        let (condition, reason) = match &service.condition {
            Condition::Active => ("active", None),
            Condition::PassThrough(reason) => ("pass_through", Some(&**reason)),
            Condition::Broken(reason) => ("broken", Some(&**reason)),
            Condition::Unknown => ("unknown", None),
        };
        Self {
            namespace: &service.namespace,
            service: &service.service,
            mode: &service.mode,
            ports: &service.ports,
            lease: &service.lease,
            who: service.who.as_deref(),
            since: service.since.as_deref(),
            life: service.life.as_str(),
            condition,
            reason,
        }
    }
}

impl<'a> CleanedShape<'a> {
    fn of(cleaned: &'a Cleaned) -> Self {
        let (mut restored, mut deleted) = (Vec::new(), Vec::new());
        for removal in &cleaned.done {
            match removal {
                Removal::Restored { namespace, object, leases } => {
                    restored.push(RestoredShape { namespace, object, leases });
                }
                Removal::Deleted { namespace, object } => deleted.push(DeletedShape { namespace, object }),
            }
        }
        let left = cleaned.left.iter().map(|left| LeftShape {
            namespace: &left.namespace,
            object: &left.object,
            why: &left.why,
            error: left.error.as_ref(),
        });
        Self { restored, deleted, left: left.collect(), unseen: unseen(&cleaned.unseen) }
    }
}

impl<'a> RecoveredShape<'a> {
    fn of(recovered: &'a Recovered) -> Self {
        Self {
            namespace: &recovered.namespace,
            service: &recovered.service,
            changed: recovered.changed,
            held_by: &recovered.held_by,
            untold: unseen(&recovered.untold),
        }
    }
}

fn unseen(list: &[Unseen]) -> Vec<UnseenShape<'_>> {
    list.iter().map(|unseen| UnseenShape { what: &unseen.what, why: &unseen.why }).collect()
}
