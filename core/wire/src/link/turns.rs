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

    /// The next stream (of calls only, if those alone may send), whose turn it is by this; follow with
    /// [`taken`](Self::taken).
    pub(super) fn next(&mut self, calls_only: bool) -> Option<StreamId> {
        if let Some(id) = self.calls.pop_front() {
            return Some(id);
        }
        if calls_only {
            return None;
        }
        if let Some(id) = self.fresh.pop_front() {
            return Some(id);
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

    /// Whether anyone waits (of calls only, if those alone may send).
    pub(super) fn wait(&self, calls_only: bool) -> bool {
        !(self.calls.is_empty() && (calls_only || self.fresh.is_empty() && self.others.is_empty()))
    }

    /// Whether someone waits who goes before bulk.
    #[cfg(test)]
    pub(super) fn small_wait(&self) -> bool {
        !self.calls.is_empty() || !self.fresh.is_empty()
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
            let next = turns.next(false).unwrap();
            turns.taken(next, &mut streams[next as usize], true);
        }
        let mut order = Vec::new();
        for _ in 0..12 {
            // One that has a little to send again and again.
            turns.push(7, &mut streams[7]);
            let next = turns.next(false).unwrap();
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
        assert!(turns.wait(true) && turns.small_wait());
        assert_eq!((turns.next(true), turns.next(true)), (Some(9), None));
        assert_eq!(turns.next(false), Some(8));
    }
}
