//! Which runs there are to do.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use super::Victim;
use crate::proxy::Moment;

/// Requests that change the cluster: no client has as many in one life of the tests.
const MOST: u64 = 200;

/// Where a run is interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// The n-th request, from 1.
    pub(super) nth: u64,
    /// Whether the API server has answered it.
    pub(super) answered: bool,
}

/// Gives out places, until one turns out to be beyond the last request.
#[derive(Debug)]
pub(super) struct Runs {
    victim: Victim,
    whole: bool,
    // the next one's number; the first n that no run needs
    state: Mutex<(u64, u64)>,
}

impl Runs {
    pub(super) fn new(victim: Victim, whole: bool) -> Self {
        Self { victim, whole, state: Mutex::new((0, MOST)) }
    }

    pub(super) fn next(&self) -> Option<Place> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (number, end) = &mut *state;
        let place = match (self.victim, self.whole) {
            // An agent's death does not depend on what the client knows.
            (Victim::Agents, _) => Place { nth: *number + 1, answered: true },
            (Victim::Client, true) => Place { nth: *number / 2 + 1, answered: *number % 2 == 1 },
            (Victim::Client, false) => Place { nth: *number + 1, answered: *number % 2 == 1 },
        };
        (place.nth < *end).then(|| {
            *number += 1;
            place
        })
    }

    /// The run needed no such request.
    pub(super) fn is_beyond(&self, place: Place) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.1 = state.1.min(place.nth);
    }
}

impl Place {
    pub(super) fn moment(self) -> Moment {
        if self.answered { Moment::After } else { Moment::Before }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", if self.answered { "after" } else { "before" }, self.nth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(victim: Victim, whole: bool, requests: u64) -> Vec<String> {
        let runs = Runs::new(victim, whole);
        let mut met = Vec::new();
        while let Some(place) = runs.next() {
            if place.nth > requests {
                runs.is_beyond(place);
            } else {
                met.push(place.to_string());
            }
        }
        met
    }

    #[test]
    fn every_request_is_met_and_none_beyond_the_last() {
        assert_eq!(all(Victim::Client, true, 2), ["before 1", "after 1", "before 2", "after 2"]);
        assert_eq!(all(Victim::Client, false, 3), ["before 1", "after 2", "before 3"]);
        assert_eq!(all(Victim::Agents, true, 2), ["after 1", "after 2"]);
    }
}
