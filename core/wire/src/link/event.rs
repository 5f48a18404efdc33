use super::{CarrierId, StreamId};
use crate::{
    Goodbye, Open, ProtocolError,
    code::{GoodbyeCode, ResetCode},
};

/// Something for the driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The peer has said hello on the carrier.
    CarrierUp(CarrierId),
    /// Nothing new goes on the carrier any more, by this end's wish or the peer's: it is about to go.
    CarrierLeaving(CarrierId),
    /// The link is done with the carrier, for a reason of its own: close it. Needs no `carrier_down`.
    CarrierEnded(CarrierId, CarrierEnd),
    /// The peer wants to open a stream; it is held until [`Link::release`](super::Link::release).
    Incoming(StreamId, Open),
    /// A stream opened here was answered: see [`Link::opened`](super::Link::opened).
    Answered(StreamId),
    /// A reader that was told to wait has something to read.
    Readable(StreamId),
    /// A writer that was told to wait has room.
    Writable(StreamId),
    /// The stream was cut: whoever waits on it should look.
    Cut(StreamId),
    /// The peer is about to leave.
    PeerDraining(String),
    /// The link is closed: see [`Link::close_reason`](super::Link::close_reason). Every stream is cut, without an event for each.
    Closed,
}

/// Why the link is done with a carrier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CarrierEnd {
    /// Nothing came on it for too long.
    Silent,
    /// The peer turned it away.
    Refused(Goodbye),
    /// What came on it before the hello is not our protocol.
    Protocol(ProtocolError),
    /// Whoever answered cannot prove that it is the agent that the link was made with.
    Unproven,
    /// Another one took its place.
    Replaced,
    /// The peer has lost it or given it up.
    Abandoned,
    /// It was given up on purpose, when nothing was left on it.
    Retired,
}

/// Why a link ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// This end closed it.
    #[error("closed here ({0})")]
    Local(Goodbye),
    /// The peer closed it.
    #[error("closed by the peer ({0})")]
    Peer(Goodbye),
    /// No carrier came back within the grace period, of either end.
    #[error("no carrier came back within the grace period")]
    Lost,
    /// The agent is not the one that held the link: it restarted.
    #[error("the agent is not the one that held the link ({0})")]
    AgentRestarted(Goodbye),
    /// The peer broke the protocol.
    #[error("the peer broke the protocol: {0}")]
    Protocol(ProtocolError),
    /// A task that drives the link panicked.
    #[error("a task of the link panicked")]
    Panicked,
}

impl CloseReason {
    /// What streams are reset with.
    pub fn reset_code(&self) -> ResetCode {
        match self {
            Self::Local(_) | Self::Peer(_) | Self::Protocol(_) => ResetCode::LinkClosed,
            Self::Lost => ResetCode::LinkLost,
            Self::AgentRestarted(_) => ResetCode::AgentRestarted,
            Self::Panicked => ResetCode::Internal,
        }
    }

    /// Whether the end was asked for, by either side.
    pub fn is_orderly(&self) -> bool {
        match self {
            Self::Local(goodbye) | Self::Peer(goodbye) => goodbye.code == GoodbyeCode::Closed,
            Self::Lost | Self::AgentRestarted(_) | Self::Protocol(_) | Self::Panicked => false,
        }
    }
}
