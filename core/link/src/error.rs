use std::{io, sync::Arc};

use kubetether_wire::{CallFailure, DecodeError, Goodbye, GoodbyeCode, ProtocolError, Refusal, ResetCode};

/// Why a link ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// This end closed it.
    #[error("closed here ({0})")]
    Local(Goodbye),
    /// The peer closed it.
    #[error("closed by the peer ({0})")]
    Peer(Goodbye),
    /// No carrier came back within the grace period.
    #[error("no carrier came back within the grace period")]
    Lost,
    /// The agent is not the one that held the link: it restarted, or its grace period has passed.
    #[error("the agent no longer knows the link ({0})")]
    AgentRestarted(Goodbye),
    /// The peer broke the protocol.
    #[error("the peer broke the protocol: {0}")]
    Protocol(ProtocolError),
    /// A task of the link panicked.
    #[error("a task of the link panicked")]
    Panicked,
}

/// Why a carrier could not be attached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// The link is closed.
    #[error("the link is closed: {0}")]
    Closed(CloseReason),
    /// The peer turned the carrier away; the link lives on unless it says so.
    #[error("the peer turned the carrier away: {0}")]
    Refused(Goodbye),
    /// The peer did not say hello in time.
    #[error("the peer did not say hello in time")]
    TimedOut,
    /// The carrier ended before the peer said hello.
    #[error("the carrier ended before the peer said hello")]
    Ended,
    /// The carrier failed before the peer said hello.
    #[error("the carrier failed before the peer said hello")]
    Io(#[source] io::Error),
    /// What came is not our protocol.
    #[error("the peer does not speak this protocol")]
    Protocol(#[source] ProtocolError),
    /// There are as many carriers as there may be.
    #[error("the link has as many carriers as it may have")]
    TooMany,
}

/// Why a stream was not opened.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The far end refused.
    #[error("{0}")]
    Refused(Refusal),
    /// The stream was cut before it was answered.
    #[error("the stream was cut: {0}")]
    Reset(ResetCode),
    /// The link is closed.
    #[error("the link is closed: {0}")]
    Closed(CloseReason),
    /// As many streams are open as there may be.
    #[error("{0} streams are open, as many as there may be: close some first")]
    TooMany(u32),
    /// What to open cannot be said.
    #[error("cannot ask for this stream")]
    Invalid(#[source] DecodeError),
}

/// Why a call has no answer.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The stream for the call could not be opened.
    #[error("the call could not be made")]
    Open(#[source] OpenError),
    /// The answer did not come in time.
    #[error("no answer in time")]
    TimedOut,
    /// The link failed while the call ran.
    #[error("the link failed during the call")]
    Io(#[source] Arc<io::Error>),
    /// A request or an answer is longer than [`MAX_CALL`](kubetether_wire::MAX_CALL).
    #[error("longer than a call may be")]
    TooLong,
    /// The answer cannot be read.
    #[error("the answer cannot be read")]
    Decode(#[source] DecodeError),
    /// The agent answered that it failed.
    #[error("{0}")]
    Failed(CallFailure),
}

/// The source of an [`io::Error`] of kind [`ConnectionReset`](io::ErrorKind::ConnectionReset): the stream was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stream was cut: {0}")]
pub struct StreamReset(pub ResetCode);

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

impl From<StreamReset> for io::Error {
    fn from(reset: StreamReset) -> Self {
        Self::new(io::ErrorKind::ConnectionReset, reset)
    }
}

impl StreamReset {
    /// The code inside an I/O error of a stream, if there is one.
    pub fn of(error: &io::Error) -> Option<ResetCode> {
        error.get_ref()?.downcast_ref::<Self>().map(|reset| reset.0)
    }
}
