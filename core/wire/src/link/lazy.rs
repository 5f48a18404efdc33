//! Frames that nobody waits for. Each message on a carrier costs every process on its way: so they go with the next one that is
//! sent anyway, or when they have waited for a little.

use std::time::{Duration, Instant};

use super::{Link, carrier::Retained};

/// How long they wait at most.
const LAZY: Duration = Duration::from_millis(2);

impl Link {
    /// Says it before all data; where it is `lazy`, with whatever goes next.
    pub(super) fn say_soon(&mut self, frame: Retained, lazy: bool) {
        match self.now.filter(|_| lazy) {
            Some(now) => self.lazy.push_back((now + LAZY, frame)),
            None => self.urgent.push_back(frame),
        }
    }

    /// When the first of them has waited long enough.
    pub(super) fn lazy_at(&self) -> Option<Instant> {
        self.lazy.front().map(|(at, _)| *at)
    }

    /// When one of them has waited long enough, none waits any more.
    pub(super) fn hurry_due(&mut self, now: Instant) {
        if self.lazy_at().is_some_and(|at| at <= now) {
            self.hurry();
        }
    }

    /// Something goes, and all of them with it. They come first, as they were said before.
    pub(super) fn hurry(&mut self) {
        while let Some((_, frame)) = self.lazy.pop_back() {
            self.urgent.push_front(frame);
        }
    }
}
