//! The states a session and its handles go through.

use std::fmt;

/// Where a [`Session`](crate::Session) stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionState {
    /// The cluster is being reached.
    Connecting,
    /// Usable.
    Ready,
    /// Usable in part; the reason says what does not work at the moment.
    Degraded(String),
    /// Being closed.
    Closing,
    /// Over; the reason says why.
    Closed(String),
}

/// Where a handle of a session stands: an exchange, a forward.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandleState {
    /// Not usable yet.
    Starting,
    /// Usable: what it promises holds.
    Active,
    /// The cluster works as if it were not there; the reason says why. It comes back by itself. What an exchange is
    /// while its interceptor cannot reach this process.
    PassThrough(String),
    /// Being closed.
    Closing,
    /// Over, as asked.
    Closed,
    /// Over without being asked; the reason says why.
    Lost(String),
    /// Not usable at the moment; the reason says why. It comes back by itself, and connections that are open outlive
    /// it if it does so within the [`grace`](crate::Config::grace) period. What a forward is without a way to the cluster.
    Degraded(String),
}

impl HandleState {
    /// Whether it does not hold at the moment what it promises, and comes back by itself: passing through or degraded.
    #[must_use]
    pub fn is_disturbed(&self) -> bool {
        matches!(self, Self::PassThrough(_) | Self::Degraded(_))
    }

    /// The reason, in the states that have one.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::PassThrough(reason) | Self::Degraded(reason) | Self::Lost(reason) => Some(reason),
            Self::Starting | Self::Active | Self::Closing | Self::Closed => None,
        }
    }

    /// Whether nothing further will happen.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Closed | Self::Lost(_))
    }
}

impl SessionState {
    /// Whether something does not work at the moment, which comes back by itself.
    #[must_use]
    pub fn is_disturbed(&self) -> bool {
        matches!(self, Self::Degraded(_))
    }

    /// The reason, in the states that have one.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Degraded(reason) | Self::Closed(reason) => Some(reason),
            Self::Connecting | Self::Ready | Self::Closing => None,
        }
    }

    /// Whether nothing further will happen.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Closed(_))
    }
}

impl fmt::Display for SessionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connecting => f.write_str("connecting"),
            Self::Ready => f.write_str("ready"),
            Self::Degraded(reason) => write!(f, "degraded: {reason}"),
            Self::Closing => f.write_str("closing"),
            Self::Closed(reason) => write!(f, "closed: {reason}"),
        }
    }
}

impl fmt::Display for HandleState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => f.write_str("starting"),
            Self::Active => f.write_str("active"),
            Self::PassThrough(reason) => write!(f, "passing through: {reason}"),
            Self::Closing => f.write_str("closing"),
            Self::Closed => f.write_str("closed"),
            Self::Lost(reason) => write!(f, "lost: {reason}"),
            Self::Degraded(reason) => write!(f, "degraded: {reason}"),
        }
    }
}
