//! How long a call may take.

use std::time::Duration;

use tokio::time::Instant;

/// The moment by which a call has to have returned.
///
/// Every call that waits takes one. When it passes, the call ends with
/// [`ErrorCode::Deadline`](crate::ErrorCode::Deadline) and has undone what it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline(Instant);

/// Longer than anything here takes, and short enough to be added to any moment.
pub(crate) const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

impl Deadline {
    /// `seconds` from now.
    #[must_use]
    pub fn secs(seconds: u64) -> Self {
        Self::after(Duration::from_secs(seconds))
    }

    /// `duration` from now; durations beyond a year count as a year.
    #[must_use]
    pub fn after(duration: Duration) -> Self {
        Self(Instant::now() + duration.min(YEAR))
    }

    /// What is left; zero when it has passed.
    #[must_use]
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    pub(crate) fn instant(self) -> Instant {
        self.0
    }

    /// The later of this and `duration` from now.
    pub(crate) fn at_least(self, duration: Duration) -> Self {
        Self(self.0.max(Instant::now() + duration))
    }

    /// The earlier of this and `duration` from now.
    pub(crate) fn at_most(self, duration: Duration) -> Self {
        Self(self.0.min(Instant::now() + duration))
    }
}

impl From<Duration> for Deadline {
    fn from(duration: Duration) -> Self {
        Self::after(duration)
    }
}
