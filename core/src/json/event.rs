//! Happenings.

use serde::Serialize;

use super::{SafetyShape, Stand, State, moment, serialize_as};
use crate::options::Seconds;
use crate::{Event, HandleId, HandleInfo};

serialize_as! {
    Event => EventShape;
    HandleInfo => HandleShape;
}

/// One happening of a session.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "Event"))]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum EventShape {
    /// The first one of each subscription: how things stand.
    Snapshot {
        /// The session's state.
        state: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// Since when, by this machine's clock.
        since: String,
        /// Its handles that are not over.
        handles: Vec<HandleShape>,
    },
    /// The session's state changed.
    Session(State),
    /// A handle's state changed.
    Handle(HandleShape),
    /// What was disturbed works again; without `handle` the session itself.
    Resumed {
        #[serde(skip_serializing_if = "Option::is_none")]
        handle: Option<u64>,
        /// For how long it was disturbed.
        gap: Seconds,
    },
    /// A start or close goes on; without `handle` that of the session itself.
    Progress {
        #[serde(skip_serializing_if = "Option::is_none")]
        handle: Option<u64>,
        /// The step that begins now, counted from 1.
        step: u32,
        /// How many there are.
        of: u32,
        /// What is done in it.
        what: String,
    },
    /// Something worth knowing that changes no state.
    Notice {
        #[serde(skip_serializing_if = "Option::is_none")]
        handle: Option<u64>,
        text: String,
    },
    /// What holds callers of an exchange should somebody die; told when that changes.
    Safety {
        handle: u64,
        #[serde(flatten)]
        safety: SafetyShape,
    },
    /// This many happenings were dropped because the subscriber was slow.
    Dropped { count: u64 },
    /// The last one of each subscription: the session is over.
    Closed { reason: String },
}

/// A handle of a session.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "Handle"))]
pub(crate) struct HandleShape {
    /// Tells the handles of a session apart.
    handle: u64,
    /// What it does: `exchange` or `forward`.
    mode: &'static str,
    /// What it does it to.
    target: String,
    #[serde(flatten)]
    state: State,
    /// Since when, by this machine's clock.
    since: String,
}

impl HandleShape {
    fn of(info: &HandleInfo) -> Self {
        Self {
            handle: info.id.number(),
            mode: info.mode,
            target: info.target.clone(),
            state: State::of(&info.state),
            since: moment(&info.since),
        }
    }
}

impl EventShape {
    fn of(event: &Event) -> Self {
        let number = |id: &Option<HandleId>| id.map(HandleId::number);
        match event {
            Event::Snapshot { session, since, handles } => Self::Snapshot {
                state: session.word(),
                reason: session.why().map(str::to_owned),
                since: moment(since),
                handles: handles.iter().map(HandleShape::of).collect(),
            },
            Event::Session(state) => Self::Session(State::of(state)),
            Event::Handle(info) => Self::Handle(HandleShape::of(info)),
            Event::Resumed { id, gap } => Self::Resumed { handle: number(id), gap: (*gap).into() },
            Event::Progress { id, step, of, what } => {
                Self::Progress { handle: number(id), step: *step, of: *of, what: what.clone() }
            }
            Event::Notice { id, text } => Self::Notice { handle: number(id), text: text.clone() },
            Event::Safety { id, safety } => {
                Self::Safety { handle: id.number(), safety: SafetyShape::of(safety) }
            }
            Event::Dropped(count) => Self::Dropped { count: *count },
            Event::Closed(reason) => Self::Closed { reason: reason.clone() },
        }
    }
}
