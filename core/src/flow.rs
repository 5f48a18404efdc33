//! Single flows: each connection, and each association of UDP, that went through an exchange or a forward.

mod ledger;

use std::fmt;
use std::time::{Duration, SystemTime};

use kubetether_link::{End, Refusal, RefusalCode, ResetCode};

pub(crate) use self::ledger::{Counted, Counters, Ledger};
use crate::{HandleId, Protocol};

/// One connection, or one association of UDP.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Flow {
    /// Tells the flows of a session apart: counted from 1, never used twice.
    pub number: u64,
    /// The handle that it goes through.
    pub handle: HandleId,
    /// What that does: `exchange` or `forward`.
    pub mode: &'static str,
    /// What is spoken.
    pub protocol: Protocol,
    /// The address and port of the caller: of an exchange as the interceptor sees it, of a forward one of this machine.
    pub from: String,
    /// Where it goes: the local endpoint of an exchange, the destination of a forward.
    pub to: String,
    /// Of an exchange the Service's port, of a forward the local one.
    pub port: u16,
    /// When it began, by this machine's clock.
    pub began: SystemTime,
    /// How long it lasted, or lasts so far.
    pub duration: Duration,
    /// Bytes that went to the cluster.
    pub sent: u64,
    /// Bytes that came from the cluster.
    pub received: u64,
    /// How it ended; `None` while it is open.
    pub end: Option<FlowEnd>,
}

/// How a flow ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FlowEnd {
    /// Both sides were done.
    Finished,
    /// Cut here, since its handle or the session ended.
    Closed,
    /// The end on this machine reset it: the local endpoint of an exchange, the caller of a forward.
    ResetHere,
    /// The end in the cluster reset it: the caller of an exchange, the destination of a forward.
    ResetThere,
    /// It was never let through; the reason says why.
    Refused(String),
    /// Given up before it was answered: by its caller, or by the interceptor, which leads it to the original pods then.
    GivenUp,
    /// An association of UDP that was silent for too long, or had to give way to others.
    Idle,
    /// What it went through was lost, as an agent that is gone; the reason says what.
    Lost(String),
}

impl FlowEnd {
    /// One word, which does not change: `finished`, `closed`, `reset_here`, `reset_there`, `refused`, `given_up`, `idle`,
    /// `lost`.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Closed => "closed",
            Self::ResetHere => "reset_here",
            Self::ResetThere => "reset_there",
            Self::Refused(_) => "refused",
            Self::GivenUp => "given_up",
            Self::Idle => "idle",
            Self::Lost(_) => "lost",
        }
    }

    /// The reason, of those that have one.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Refused(reason) | Self::Lost(reason) => Some(reason),
            Self::Finished
            | Self::Closed
            | Self::ResetHere
            | Self::ResetThere
            | Self::GivenUp
            | Self::Idle => None,
        }
    }

    /// Of a connection that was relayed.
    pub(crate) fn of(end: End) -> Self {
        match end {
            End::Finished => Self::Finished,
            End::Wanted => Self::Closed,
            End::SocketReset => Self::ResetHere,
            End::StreamReset(code) => Self::cut(code),
        }
    }

    /// Of one that the cluster's side, or the link, has cut.
    pub(crate) fn cut(code: ResetCode) -> Self {
        match code {
            ResetCode::Reset | ResetCode::TimedOut => Self::ResetThere,
            // Only associations end so; nothing went through to anybody.
            ResetCode::Refused | ResetCode::Unreachable => Self::Refused(code.to_string()),
            ResetCode::Cancelled => Self::GivenUp,
            ResetCode::Idle => Self::Idle,
            _ => Self::Lost(code.to_string()),
        }
    }

    /// Of one that was cut before it was answered.
    pub(crate) fn withdrawn(code: ResetCode) -> Self {
        match Self::cut(code) {
            Self::ResetThere => Self::GivenUp,
            other => other,
        }
    }

    /// Of one that was answered so.
    pub(crate) fn refused(refusal: &Refusal) -> Self {
        Self::Refused(match refusal.code {
            // The text has the system's own words, which differ.
            RefusalCode::Refused
            | RefusalCode::Unreachable
            | RefusalCode::TimedOut
            | RefusalCode::NameNotFound => refusal.code.to_string(),
            _ => refusal.to_string(),
        })
    }
}

impl fmt::Display for FlowEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Finished => "finished",
            Self::Closed => "closed by us",
            Self::ResetHere => "reset on this machine",
            Self::ResetThere => "reset in the cluster",
            Self::Refused(reason) => return write!(f, "refused: {reason}"),
            Self::GivenUp => "given up before it was answered",
            Self::Idle => "idle",
            Self::Lost(reason) => return write!(f, "lost: {reason}"),
        })
    }
}

/// What a session knows of its flows: see [`Session::flows`](crate::Session::flows).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Flows {
    /// Those that are open, in the order in which they began. Of more than 4,096 the latest.
    pub open: Vec<Flow>,
    /// Those that ended since the last look, in the order in which they ended.
    pub ended: Vec<Flow>,
    /// How many more ended since then, and are forgotten.
    pub missed: u64,
    /// What to ask with next.
    pub next: u64,
}

#[cfg(test)]
mod tests;
