//! How many carriers a link has, and when one is replaced, as data: told what happens and what time it is, asked what
//! to do. [`agent_link`](super::agent_link) does it.
//!
//! - At least so many are kept. Bulk adds one at a time, as long as each makes the transfer faster ([`Need`]).
//! - One that is silent for longer than heartbeats allow is replaced while it may still recover.
//! - Where carriers die at a certain age (proxies cut old connections), each is replaced a bit before it, and no two
//!   at the same time ([`Ages`]).
//! - A replacement is there before what it replaces goes.

mod ages;
mod need;
#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio::time::Instant;

use self::ages::Ages;
use self::need::Need;
use crate::backoff::{Backoff, Failure, Pace};

/// Between two tries to get a carrier.
const PACE: Pace = Pace { first: Duration::from_millis(100), last: Duration::from_secs(3) };
/// While there is no carrier at all, a dial that takes longer is not waited for alone: what it hangs on may be a
/// connection from before the fault.
const HEDGE: Duration = Duration::from_secs(2);
/// Dials at the same time.
const DIALS: usize = 3;

/// What is to be kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Carriers at any time.
    pub(crate) least: usize,
    /// Carriers while bulk makes use of them.
    pub(crate) most: usize,
    /// A carrier on which nothing came for so long is suspect.
    pub(crate) silence: Duration,
}

/// A carrier, as its keeper numbers it.
pub(crate) type Id = u64;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Dial one more; [`Carriers::up`] or [`Carriers::failed`] tells what came of it.
    Dial,
    /// Give this one up: it is not needed any more. It counts as gone from now on.
    Retire(Id),
    /// Nothing until then (`None`: for ever), if nothing happens.
    Wait(Option<Instant>),
}

/// The carriers of one link.
#[derive(Debug)]
pub(crate) struct Carriers {
    limits: Limits,
    /// Oldest first.
    up: Vec<Carrier>,
    /// Dials that are under way.
    dials: usize,
    last_dial: Option<Instant>,
    /// No dial before then.
    not_before: Option<Instant>,
    backoff: Backoff,
    ages: Ages,
    need: Need,
}

#[derive(Clone, Copy, Debug)]
struct Carrier {
    id: Id,
    born: Instant,
    /// When something came on it last.
    heard: Instant,
    /// When it is to be replaced.
    due: Option<Instant>,
}

impl Carriers {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            up: Vec::new(),
            dials: 0,
            last_dial: None,
            not_before: None,
            backoff: Backoff::new(PACE),
            ages: Ages::default(),
            need: Need::default(),
        }
    }

    /// A dial brought a carrier.
    pub(crate) fn up(&mut self, id: Id, now: Instant) {
        self.dials = self.dials.saturating_sub(1);
        self.backoff.reset();
        self.not_before = None;
        self.up.push(Carrier { id, born: now, heard: now, due: None });
        self.plan();
    }

    /// A dial brought nothing. `chance` is from 0 to 1.
    pub(crate) fn failed(&mut self, failure: Failure, chance: f64, now: Instant) {
        self.dials = self.dials.saturating_sub(1);
        let again = now + self.backoff.delay(failure, chance);
        // What another dial was told in the meantime still holds.
        self.not_before = self.not_before.max(Some(again));
    }

    /// A carrier ended, and not because we wanted it.
    pub(crate) fn down(&mut self, id: Id, now: Instant) {
        let Some(at) = self.up.iter().position(|carrier| carrier.id == id) else { return };
        let lost = self.up.remove(at);
        self.ages.died(now.saturating_duration_since(lost.born), now);
        self.plan();
    }

    /// Something came on a carrier at that moment.
    pub(crate) fn heard(&mut self, id: Id, at: Instant) {
        if let Some(carrier) = self.up.iter_mut().find(|carrier| carrier.id == id) {
            carrier.heard = carrier.heard.max(at);
        }
    }

    /// So many bytes have gone both ways on all carriers since the beginning.
    pub(crate) fn moved(&mut self, bytes: u64, now: Instant) {
        let room = self.limits.most.saturating_sub(self.limits.least);
        let settled = self.up.len() >= self.wanted() && self.dials == 0;
        self.need.sample(bytes, now, room, settled);
    }

    /// This process was asleep until now: silence before that says nothing.
    pub(crate) fn woke(&mut self, now: Instant) {
        self.up.iter_mut().for_each(|carrier| carrier.heard = carrier.heard.max(now));
        self.need.woke();
    }

    /// When something came last, on whichever carrier; `None` when there is none.
    pub(crate) fn last_heard(&self) -> Option<Instant> {
        self.up.iter().map(|carrier| carrier.heard).max()
    }

    /// How many are up.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.up.len()
    }

    /// What to do now; ask again until it is [`Step::Wait`].
    pub(crate) fn next(&mut self, now: Instant) -> Step {
        let wanted = self.wanted();
        if self.up.len() > wanted {
            // What replaces it is there, or it is not needed any more.
            return Step::Retire(self.retire(now));
        }
        let good = self.up.iter().filter(|carrier| self.is_good(carrier, now)).count();
        let at = match self.last_dial {
            _ if good >= wanted => None,
            Some(last) if good == 0 && (1..DIALS).contains(&self.dials) => Some(last + HEDGE),
            _ if self.dials == 0 => Some(now),
            _ => None,
        };
        match at.max(at.and(self.not_before)) {
            None => Step::Wait(self.next_fault(now)),
            Some(at) if at > now => Step::Wait(Some(at)),
            Some(_) => {
                self.dials += 1;
                self.last_dial = Some(now);
                self.not_before = None;
                Step::Dial
            }
        }
    }

    fn wanted(&self) -> usize {
        self.limits.least + self.need.extra()
    }

    fn is_good(&self, carrier: &Carrier, now: Instant) -> bool {
        now < carrier.heard + self.limits.silence && carrier.due.is_none_or(|due| now < due)
    }

    /// Takes the one out that is least worth keeping: silent, else next to be replaced, else the youngest.
    fn retire(&mut self, now: Instant) -> Id {
        let silence = self.limits.silence;
        let worst = (0..self.up.len()).min_by_key(|at| {
            let carrier = &self.up[*at];
            let silent = now >= carrier.heard + silence;
            let due = carrier.due.filter(|due| now >= *due);
            (!silent, due.is_none(), due, std::cmp::Reverse(carrier.born))
        });
        let id = self.up.remove(worst.unwrap_or_default()).id;
        self.plan();
        id
    }

    /// When the next carrier becomes suspect or due.
    fn next_fault(&self, now: Instant) -> Option<Instant> {
        let faults =
            self.up.iter().flat_map(|carrier| [Some(carrier.heard + self.limits.silence), carrier.due]);
        faults.flatten().filter(|at| *at > now).min()
    }

    /// Sets when each is to be replaced, by what is known about their ages.
    fn plan(&mut self) {
        let mut taken = Vec::with_capacity(self.up.len());
        for carrier in &mut self.up {
            // What was set stays, unless the limit is found to be lower: dues must not wander.
            let due = self.ages.due(carrier.born, &taken);
            carrier.due = match (carrier.due, due) {
                (Some(old), Some(new)) => Some(old.min(new)),
                (_, new) => new,
            };
            taken.extend(carrier.due.or_else(|| self.ages.end(carrier.born)));
        }
    }
}
