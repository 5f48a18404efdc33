//! The age at which carriers die, learned from their deaths.

use std::time::Duration;

use tokio::time::Instant;

/// A carrier that dies younger dies of something else.
const YOUNGEST: Duration = Duration::from_secs(20);
/// Deaths this close together are one: what happened, happened to all.
const TOGETHER: Duration = Duration::from_secs(1);
/// Deaths much younger than the limit, in a row, until it is not believed any more.
const DOUBTS: u32 = 2;

/// What is known of it.
#[derive(Debug, Default)]
pub(super) struct Ages {
    /// The age of the last death, and when it was.
    last: Option<(Duration, Instant)>,
    /// Two deaths in a row were of this age.
    limit: Option<Duration>,
    doubts: u32,
}

impl Ages {
    /// A carrier died at this age.
    pub(super) fn died(&mut self, age: Duration, now: Instant) {
        let before = self.last;
        if before.is_some_and(|(_, at)| now.saturating_duration_since(at) < TOGETHER) {
            return;
        }
        if let Some(limit) = self.limit {
            if age.saturating_mul(5) >= limit * 4 {
                (self.limit, self.doubts) = (Some(limit.min(age)), 0);
            } else {
                self.doubts += 1;
                if self.doubts >= DOUBTS {
                    *self = Self::default();
                }
            }
            return;
        }
        if age < YOUNGEST {
            return;
        }
        self.last = Some((age, now));
        self.limit = before.filter(|(before, _)| alike(*before, age)).map(|(before, _)| before.min(age));
    }

    /// When a carrier is to be replaced, if that of others is `taken`; `None`: there is no need to.
    pub(super) fn due(&self, born: Instant, taken: &[Instant]) -> Option<Instant> {
        let (age, known) = match (self.limit, self.last) {
            // A bit before it dies.
            (Some(limit), _) => (limit.mul_f64(0.85), true),
            (None, Some((age, _))) => (age, false),
            (None, None) => return None,
        };
        let (step, earliest) = (age / 8, age / 4);
        let mut due = age;
        while due > earliest && taken.iter().any(|other| apart(born + due, *other) < step) {
            due -= step;
        }
        // After one death it is a guess: only those are replaced that would die together.
        (known || due < age).then(|| born + due)
    }

    /// When a carrier dies, as far as is known.
    pub(super) fn end(&self, born: Instant) -> Option<Instant> {
        self.limit.or_else(|| self.last.map(|(age, _)| age)).map(|age| born + age)
    }
}

fn alike(one: Duration, other: Duration) -> bool {
    one.abs_diff(other) <= one.max(other) / 10
}

fn apart(one: Instant, other: Instant) -> Duration {
    one.max(other) - one.min(other)
}
