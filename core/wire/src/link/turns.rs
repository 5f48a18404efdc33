use std::collections::VecDeque;

use super::StreamId;

/// Who sends next. Calls first; then streams that had nothing to send until now, one turn each; then all others in turn. A
/// stream gets its turn before the others only once while they all get theirs, so that none is held up by small ones.
#[derive(Debug, Default)]
pub(super) struct Turns {
    calls: VecDeque<StreamId>,
    fresh: VecDeque<StreamId>,
    others: VecDeque<StreamId>,
    /// How often all others have had their turn, and how many still have to until it is once more.
    cycle: u32,
    left: usize,
}

/// Who may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    All,
    /// Calls, and streams that had nothing to send until now.
    Small,
    Calls,
    /// All others.
    Bulk,
}

/// What a stream remembers of its turns.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// It is a call.
    pub(super) call: bool,
    /// It stands in a queue.
    queued: bool,
    /// In which cycle it had its last turn.
    cycle: Option<u32>,
}

impl Who {
    /// Calls, fresh ones, others.
    fn parts(self) -> [bool; 3] {
        match self {
            Self::All => [true, true, true],
            Self::Small => [true, true, false],
            Self::Calls => [true, false, false],
            Self::Bulk => [false, false, true],
        }
    }
}

impl Turns {
    /// A stream has something to send.
    pub(super) fn push(&mut self, id: StreamId, turn: &mut Turn) {
        if std::mem::replace(&mut turn.queued, true) {
            return;
        }
        let queue = if turn.call {
            &mut self.calls
        } else if turn.cycle != Some(self.cycle) || self.others.is_empty() {
            &mut self.fresh
        } else {
            &mut self.others
        };
        queue.push_back(id);
    }

    /// The next of those who may send, whose turn it is by this; follow with [`taken`](Self::taken).
    pub(super) fn next(&mut self, who: Who) -> Option<StreamId> {
        let [calls, fresh, others] = who.parts();
        if let Some(id) = self.calls.pop_front_if(|_| calls).or_else(|| self.fresh.pop_front_if(|_| fresh)) {
            return Some(id);
        }
        if !others {
            return None;
        }
        if self.left == 0 {
            self.cycle = self.cycle.wrapping_add(1);
            self.left = self.others.len();
        }
        self.left = self.left.saturating_sub(1);
        self.others.pop_front()
    }

    /// The stream had its turn, and has more to send or not.
    pub(super) fn taken(&mut self, id: StreamId, turn: &mut Turn, more: bool) {
        turn.queued = more;
        turn.cycle = Some(self.cycle);
        if more {
            if turn.call { self.calls.push_back(id) } else { self.others.push_back(id) }
        }
    }

    /// Whether anyone waits of those who may send.
    pub(super) fn wait(&self, who: Who) -> bool {
        let [calls, fresh, others] = who.parts();
        calls && !self.calls.is_empty()
            || fresh && !self.fresh.is_empty()
            || others && !self.others.is_empty()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_ones_go_first_and_nobody_starves() {
        let mut turns = Turns::default();
        let mut streams: Vec<_> = (0..10).map(|_| Turn::default()).collect();
        // Two with much to send.
        for id in [0, 1] {
            turns.push(id, &mut streams[id as usize]);
            let next = turns.next(Who::All).unwrap();
            turns.taken(next, &mut streams[next as usize], true);
        }
        let mut order = Vec::new();
        for _ in 0..12 {
            // One that has a little to send again and again.
            turns.push(7, &mut streams[7]);
            let next = turns.next(Who::All).unwrap();
            turns.taken(next, &mut streams[next as usize], next != 7);
            order.push(next);
        }
        assert_eq!(order.iter().filter(|id| **id == 7).count(), 4, "{order:?}");
        assert_eq!(order[..3], [7, 0, 1], "{order:?}");
        // One that is new goes before them all, a call before that.
        streams[9].call = true;
        turns.push(7, &mut streams[7]);
        turns.push(8, &mut streams[8]);
        turns.push(9, &mut streams[9]);
        assert!(turns.wait(Who::Calls) && turns.wait(Who::Small));
        assert_eq!((turns.next(Who::Calls), turns.next(Who::Calls)), (Some(9), None));
        assert_eq!(turns.next(Who::All), Some(8));
    }
}
