//! When to try again, as data: what failed and how often decides on the delay.

use std::time::Duration;

use crate::cluster::api;
use crate::{Error, ErrorCode};

/// What failed, as far as the next try depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It passes by itself: nobody answered, or the server had a fault of its own.
    Passing,
    /// The server said when to come again (`Retry-After`): then, neither earlier nor later, if it is within ten minutes.
    Told(Duration),
    /// We are not let in. Only somebody else can change that, so trying often is of no use.
    Denied,
}

impl Failure {
    /// What an error means for the next try.
    pub(crate) fn of(error: &Error) -> Self {
        match (error.code(), api::retry_after(error)) {
            (ErrorCode::Unauthorized | ErrorCode::Forbidden, _) => Self::Denied,
            (_, Some(after)) if !after.is_zero() => Self::Told(after),
            _ => Self::Passing,
        }
    }
}

/// The delays of one kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    /// After the first failure; doubled with each.
    pub(crate) first: Duration,
    /// Never more than this.
    pub(crate) last: Duration,
}

/// A server that wants more than this is asked again all the same.
const TOLD_LAST: Duration = Duration::from_secs(600);
/// The first delay of a denied request, doubled with each.
const DENIED: Duration = Duration::from_secs(5);
/// The longest delay of a denied request.
const DENIED_LAST: Duration = Duration::from_secs(60);

/// Counts failures in a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    pace: Pace,
    failures: u32,
}

impl Backoff {
    pub(crate) const fn new(pace: Pace) -> Self {
        Self { pace, failures: 0 }
    }

    /// It worked: the next failure is the first again.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The delay after one more failure.
    pub(crate) fn after(&mut self, error: &Error) -> Duration {
        self.delay(Failure::of(error), rand::random())
    }

    /// The same from plain facts. `chance`, from 0 to 1, spreads the delay over its upper half, so that what failed
    /// together does not come back together.
    pub(crate) fn delay(&mut self, failure: Failure, chance: f64) -> Duration {
        let doublings = self.failures.min(16);
        self.failures = self.failures.saturating_add(1);
        let grown = |first: Duration, last: Duration| {
            let most = first.saturating_mul(1 << doublings).min(last);
            most.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
        };
        match failure {
            Failure::Told(after) => after.min(TOLD_LAST),
            Failure::Passing => grown(self.pace.first, self.pace.last),
            Failure::Denied => grown(DENIED, DENIED_LAST).max(self.pace.first),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { first: ms(100), last: ms(3000) };

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// The delays after these failures in a row.
    fn delays(failures: &[Failure], chance: f64) -> Vec<u64> {
        let mut backoff = Backoff::new(PACE);
        failures.iter().map(|failure| backoff.delay(*failure, chance).as_millis() as u64).collect()
    }

    #[test]
    fn the_table() {
        use Failure::{Denied, Passing, Told};
        let rows: [(&[Failure], &[u64]); 5] = [
            (&[Passing; 7], &[100, 200, 400, 800, 1600, 3000, 3000]),
            (&[Denied; 6], &[5_000, 10_000, 20_000, 40_000, 60_000, 60_000]),
            // What a server says is neither shortened by a cap nor spread.
            (&[Told(ms(1000)), Told(ms(90_000))], &[1000, 90_000]),
            // It counts as a failure all the same.
            (&[Passing, Told(ms(1000)), Passing], &[100, 1000, 400]),
            (&[Passing, Denied, Passing], &[100, 10_000, 400]),
        ];
        for (failures, expected) in rows {
            assert_eq!(delays(failures, 1.0), expected, "{failures:?}");
        }
    }

    #[test]
    fn chance_spreads_over_the_upper_half() {
        assert_eq!(delays(&[Failure::Passing; 3], 0.0), [50, 100, 200]);
        assert_eq!(delays(&[Failure::Passing; 3], 0.5), [75, 150, 300]);
        assert_eq!(delays(&[Failure::Told(ms(1000))], 0.0), [1000]);
    }

    #[test]
    fn a_success_begins_anew_and_no_count_overflows() {
        let mut backoff = Backoff::new(PACE);
        for _ in 0..100 {
            assert!(backoff.delay(Failure::Passing, 1.0) <= PACE.last);
        }
        backoff.failures = u32::MAX;
        assert_eq!(backoff.delay(Failure::Passing, 1.0), PACE.last);
        backoff.reset();
        assert_eq!(backoff.delay(Failure::Passing, 1.0), PACE.first);
    }

    #[test]
    fn errors_are_told_apart() {
        for (code, expected) in [
            (ErrorCode::Unauthorized, Failure::Denied),
            (ErrorCode::Forbidden, Failure::Denied),
            (ErrorCode::Unreachable, Failure::Passing),
            (ErrorCode::Deadline, Failure::Passing),
            (ErrorCode::AgentUnreachable, Failure::Passing),
        ] {
            assert_eq!(Failure::of(&Error::new(code, "")), expected, "{code:?}");
        }
    }
}
