//! What the engine tells, as JSON: the same shapes in all languages, described by the published schema.
//!
//! Fields and types may be added at any time; what is there keeps its name and meaning. Durations are seconds, moments are
//! RFC 3339.

mod care;
mod event;
mod flow;
mod info;

use std::error::Error as StdError;

use serde::Serialize;

pub(crate) use self::info::{ExchangeInfo, ForwardInfo, SessionInfo};
use crate::{Error, HandleState, Safety, SessionState, Stats};

/// Serialises a type as another one that is made of it.
macro_rules! serialize_as {
    ($($type:ty => $shape:ty;)*) => {$(
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serde::Serialize::serialize(&<$shape>::of(self), serializer)
            }
        }
    )*};
}
use serialize_as;

serialize_as! {
    SessionState => State;
    HandleState => State;
    Error => ErrorShape;
    Safety => SafetyShape;
    Stats => StatsShape;
}

/// Where a session or a handle stands: one of `connecting`, `ready`, `starting`, `active`, `degraded`, `pass_through`,
/// `closing`, `closed`, `lost`.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct State {
    state: &'static str,
    /// Why, in the states that have a reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// What was tried, why it failed, and what to do about it.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "Error"))]
pub(crate) struct ErrorShape {
    /// The kind of failure, from the table that all languages share.
    code: &'static str,
    /// The same as a number.
    number: u32,
    /// `usage`, `cluster`, `target`, `agent`, `ended` or `internal`.
    class: &'static str,
    /// One line.
    message: String,
    /// What it is about, as `kind/name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<String>,
    /// Why, from the nearest cause to the first.
    causes: Vec<String>,
    /// What the cluster says of the pod to blame: conditions, events, last log lines.
    evidence: Vec<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

/// How the cluster comes through the deaths that nobody plans.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "Safety"))]
pub(crate) struct SafetyShape {
    /// Should this process die: `restored` or `passes_through`.
    client: &'static str,
    /// Should the interceptor die: `fallback_slice`, `two_interceptors` or `replaced`.
    interceptor: &'static str,
    /// Both, for people.
    text: String,
}

/// Counters since the start.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "Stats"))]
pub(crate) struct StatsShape {
    /// Connections that were taken, refused ones included.
    connections: u64,
    /// Those that are open now.
    open: u64,
    /// Those that the target refused.
    refused: u64,
    /// Bytes that went to the cluster.
    sent: u64,
    /// Bytes that came from the cluster.
    received: u64,
}

/// A state with the word for it.
pub(crate) trait Stand {
    fn word(&self) -> &'static str;
    fn why(&self) -> Option<&str>;
}

impl Stand for SessionState {
    fn word(&self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Ready => "ready",
            Self::Degraded(_) => "degraded",
            Self::Closing => "closing",
            Self::Closed(_) => "closed",
        }
    }

    fn why(&self) -> Option<&str> {
        self.reason()
    }
}

impl Stand for HandleState {
    fn word(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Active => "active",
            Self::PassThrough(_) => "pass_through",
            Self::Closing => "closing",
            Self::Closed => "closed",
            Self::Lost(_) => "lost",
            Self::Degraded(_) => "degraded",
        }
    }

    fn why(&self) -> Option<&str> {
        self.reason()
    }
}

impl State {
    fn of(state: &impl Stand) -> Self {
        Self { state: state.word(), reason: state.why().map(str::to_owned) }
    }
}

impl ErrorShape {
    fn of(error: &Error) -> Self {
        let (mut causes, mut cause) = (Vec::new(), error.source());
        while let Some(error) = cause {
            causes.push(error.to_string());
            cause = error.source();
        }
        Self {
            code: error.code().as_str(),
            number: error.code().number(),
            class: error.code().class().as_str(),
            message: error.to_string(),
            object: error.object().map(str::to_owned),
            causes,
            evidence: error.evidence().to_vec(),
            hint: error.hint().map(str::to_owned),
        }
    }
}

impl SafetyShape {
    fn of(safety: &Safety) -> Self {
        Self {
            client: safety.client.as_str(),
            interceptor: safety.interceptor.as_str(),
            text: safety.to_string(),
        }
    }
}

impl StatsShape {
    fn of(stats: &Stats) -> Self {
        let Stats { connections, open, refused, sent, received } = *stats;
        Self { connections, open, refused, sent, received }
    }
}

/// A moment for people and programs: RFC 3339, in UTC.
fn moment(time: &std::time::SystemTime) -> String {
    k8s_openapi::jiff::Timestamp::try_from(*time).map(|time| format!("{time:.3}")).unwrap_or_default()
}

/// The schemas of all that is told.
#[cfg(test)]
pub(crate) fn schemas(generator: &mut schemars::SchemaGenerator) {
    generator.subschema_for::<State>();
    generator.subschema_for::<ErrorShape>();
    generator.subschema_for::<SafetyShape>();
    generator.subschema_for::<StatsShape>();
    generator.subschema_for::<flow::FlowsShape>();
    generator.subschema_for::<SessionInfo>();
    generator.subschema_for::<ExchangeInfo>();
    generator.subschema_for::<ForwardInfo>();
    generator.subschema_for::<event::EventShape>();
    generator.subschema_for::<care::StatusShape<'_>>();
    generator.subschema_for::<care::CleanedShape<'_>>();
    generator.subschema_for::<care::RecoveredShape<'_>>();
}

#[cfg(test)]
mod tests;
