//! A rate shared by all connections of one direction.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What a timer that fires late may catch up with, so that the rate is met in the mean.
const CATCH_UP: Duration = Duration::from_millis(20);

/// One piece on the wire takes about this long: small enough for connections to take turns.
const TURN: u64 = 100; // of a second

const SMALLEST: u64 = 512;
const LARGEST: u64 = 64 * 1024;

/// The wire of a given rate: one piece after another.
#[derive(Debug, Default)]
pub(super) struct Bucket(Mutex<Option<Instant>>);

impl Bucket {
    /// Puts so many bytes on the wire; when the last of them has left.
    pub(super) fn charge(&self, bytes: usize, rate: u64, now: Instant) -> Instant {
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let earliest = now.checked_sub(CATCH_UP).unwrap_or(now);
        let start = free.map_or(now, |free| free.max(earliest));
        let nanoseconds = (bytes as u64).saturating_mul(1_000_000_000) / rate.max(1);
        let end = start + Duration::from_nanos(nanoseconds);
        *free = Some(end);
        end
    }

    /// Forgets what was on the wire, for a new rate.
    pub(super) fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// How much to put on the wire at once.
pub(super) fn piece(rate: u64) -> usize {
    (rate / TURN).clamp(SMALLEST, LARGEST) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_timers_do_not_lower_the_rate_and_pauses_do_not_store_it() {
        let start = Instant::now();
        let ms = |count| Duration::from_millis(count);
        let bucket = Bucket::default();
        assert_eq!(bucket.charge(1000, 100_000, start), start + ms(10));
        assert_eq!(bucket.charge(1000, 100_000, start), start + ms(20), "others wait their turn");
        assert_eq!(bucket.charge(1000, 100_000, start + ms(22)), start + ms(30), "two late");
        assert_eq!(bucket.charge(1000, 100_000, start + ms(1000)), start + ms(1000) - CATCH_UP + ms(10));
    }
}
