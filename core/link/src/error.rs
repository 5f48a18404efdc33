use std::{io, sync::Arc};

use kubetether_wire::{
    CallFailure, CloseReason, DecodeError, Goodbye, OpenFailure, ProtocolError, Refusal, RefusalCode,
    ResetCode, StreamError,
};

/// Why a carrier could not be attached.
#[derive(Debug, thiserror::Error)]
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
    /// Whoever answered cannot prove that it is the agent that the link was made with; the link lives on.
    #[error("whoever answered cannot prove that it is the agent that holds the link")]
    Unproven,
    /// There are as many carriers as there may be.
    #[error("the link has as many carriers as it may have")]
    TooMany,
}

/// Why a stream was not opened.
#[derive(Debug, Clone, thiserror::Error)]
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

impl From<OpenFailure> for OpenError {
    fn from(failure: OpenFailure) -> Self {
        match failure {
            OpenFailure::TooMany(most) => Self::TooMany(most),
            OpenFailure::Invalid(error) => Self::Invalid(error),
            OpenFailure::Closed(reason) => Self::Closed(reason),
        }
    }
}

/// A stream's error as an I/O error: the kinds are those a socket would give.
pub(crate) fn io_error(error: StreamError) -> io::Error {
    match error {
        StreamError::Cut(code) => StreamReset(code).into(),
        StreamError::Refused(refusal) => {
            let kind = match refusal.code {
                RefusalCode::Refused => io::ErrorKind::ConnectionRefused,
                RefusalCode::Unreachable => io::ErrorKind::HostUnreachable,
                RefusalCode::TimedOut => io::ErrorKind::TimedOut,
                RefusalCode::NameNotFound => io::ErrorKind::NotFound,
                RefusalCode::NotAllowed => io::ErrorKind::PermissionDenied,
                RefusalCode::Unsupported => io::ErrorKind::Unsupported,
                RefusalCode::Limit
                | RefusalCode::Draining
                | RefusalCode::Internal
                | RefusalCode::Other(_) => io::ErrorKind::Other,
            };
            io::Error::new(kind, refusal)
        }
        StreamError::Finished => io::Error::new(io::ErrorKind::BrokenPipe, error),
    }
}
