use std::time::{Duration, Instant};

/// How long an acknowledgement waited on its way, behind what else the peer sends there.
///
/// Each end tells its clock with what it acknowledges. Two clocks differ by anything, and drift; but what the difference is
/// more than the least of the last minute is time that was waited.
#[derive(Debug, Default)]
pub(super) struct Reverse {
    /// The least difference in the time before this one, and in this one, in microseconds.
    before: Option<i64>,
    least: Option<i64>,
    /// When this time began.
    since: Option<Instant>,
}

/// How long one time is: clocks that drift by a hundred millionths are three milliseconds apart behind it.
const TIME: Duration = Duration::from_secs(30);

impl Reverse {
    /// Something came at `now` with this difference of the clocks, as the answer to something that was sent `most` before.
    pub(super) fn waited(&mut self, difference: i64, most: Duration, now: Instant) -> Duration {
        if now.saturating_duration_since(*self.since.get_or_insert(now)) >= TIME {
            self.before = self.least.take();
            self.since = Some(now);
        }
        self.least = Some(self.least.map_or(difference, |least| least.min(difference)));
        let least = self.before.into_iter().chain(self.least).min().unwrap_or(difference);
        let waited = Duration::from_micros(difference.saturating_sub(least).unsigned_abs());
        if waited <= most {
            return waited;
        }
        // A clock stood still: one of the machines slept.
        (self.before, self.least, self.since) = (None, Some(difference), Some(now));
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_more_than_the_least_was_waited() {
        let (mut reverse, start) = (Reverse::default(), Instant::now());
        let ms = Duration::from_millis;
        let mut waited = |difference: i64, second: u64| {
            reverse.waited(difference, ms(400), start + Duration::from_secs(second))
        };
        // The other clock is far ahead.
        assert_eq!(waited(-5_000_000_000, 0), ms(0));
        assert_eq!(waited(-5_000_000_000 + 20_000, 1), ms(20));
        assert_eq!(waited(-5_000_000_000 - 3_000, 2), ms(0));
        assert_eq!(waited(-5_000_000_000, 20), ms(3));
        // It drifts; what was the least is forgotten after a minute.
        assert_eq!(waited(-5_000_000_000 + 10_000, 35), ms(13));
        assert_eq!(waited(-5_000_000_000 + 10_000, 66), ms(0));
        // It stood still for an hour.
        assert_eq!(waited(-5_000_000_000 + 3_600_000_000, 67), ms(0));
        assert_eq!(waited(-5_000_000_000 + 3_600_007_000, 68), ms(7));
        assert_eq!(waited(-5_000_000_000, 69), ms(0));
        assert_eq!(waited(i64::MAX, 70), ms(0));
        assert_eq!(waited(i64::MIN, 71), ms(0));
    }
}
