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
    /// The age of the last carrier that died old enough to tell something.
    last: Option<Duration>,
    /// When the last one died, at whatever age.
    last_death: Option<Instant>,
    /// Two deaths in a row were of this age.
    limit: Option<Duration>,
    doubts: u32,
}

impl Ages {
    /// A carrier died at this age.
    pub(super) fn died(&mut self, age: Duration, now: Instant) {
        let before = self.last_death.replace(now);
        if before.is_some_and(|at| now.saturating_duration_since(at) < TOGETHER) {
            return;
        }
        if let Some(limit) = self.limit {
            if age.saturating_mul(5) >= limit * 4 {
                (self.limit, self.doubts) = (Some(limit.min(age)), 0);
            } else {
                self.doubts += 1;
                if self.doubts >= DOUBTS {
                    *self = Self { last_death: self.last_death, ..Self::default() };
                }
            }
            return;
        }
        if age < YOUNGEST {
            return;
        }
        let before = self.last.replace(age);
        self.limit = before.filter(|before| alike(*before, age)).map(|before| before.min(age));
    }

    /// When a carrier is to be replaced, if that of others is `taken`; `None`: there is no need to.
    pub(super) fn due(&self, born: Instant, taken: &[Instant]) -> Option<Instant> {
        let (age, known) = match (self.limit, self.last) {
            // A bit before it dies.
            (Some(limit), _) => (limit.mul_f64(0.85), true),
            (None, Some(age)) => (age, false),
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
        self.limit.or(self.last).map(|age| born + age)
    }
}

fn alike(one: Duration, other: Duration) -> bool {
    one.abs_diff(other) <= one.max(other) / 10
}

fn apart(one: Instant, other: Instant) -> Duration {
    one.max(other) - one.min(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const LIMIT: Duration = Duration::from_secs(100);

    /// Two deaths at this age have told the limit.
    fn that_know(now: Instant) -> Ages {
        let mut ages = Ages::default();
        ages.died(LIMIT, now);
        ages.died(LIMIT, now + LIMIT);
        assert_eq!(ages.limit, Some(LIMIT));
        ages
    }

    #[test]
    fn deaths_at_one_instant_are_one_doubt() {
        let now = Instant::now();
        let (mut ages, cut) = (that_know(now), now + 3 * LIMIT);
        for _ in 0..4 {
            ages.died(30 * SECOND, cut);
        }
        assert_eq!(ages.limit, Some(LIMIT));
        ages.died(30 * SECOND, cut + 30 * SECOND);
        assert_eq!(ages.limit, None, "two cuts in a row are two doubts");
    }

    #[test]
    fn a_cut_that_ends_the_belief_teaches_nothing() {
        let now = Instant::now();
        let (mut ages, cut) = (that_know(now), now + 3 * LIMIT);
        ages.died(30 * SECOND, cut);
        for _ in 0..3 {
            ages.died(30 * SECOND, cut + 30 * SECOND);
        }
        assert_eq!((ages.limit, ages.last), (None, None));
    }
}
