//! What is held back of one direction of one connection: each piece with the time it is due.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Buf, Bytes};
use tokio::time::Instant;

/// Bytes one connection may hold in one direction: 300 MB/s for 200 ms, and a little more.
const LINE: usize = 64 << 20;

/// Bytes all connections together may hold in one direction.
const ALL: usize = 256 << 20;

/// Bytes whose time has come and which the receiver does not take: beyond it the sender feels it.
const OVERDUE: usize = 4 << 20;

/// How a direction came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// By a FIN.
    Finished,
    /// By a RST, or the connection broke.
    Reset,
}

/// Counts what all connections hold in one direction.
#[derive(Debug, Default)]
pub(super) struct Budget(AtomicUsize);

/// The pieces of one direction, first in, first out.
#[derive(Debug)]
pub(super) struct Line {
    waiting: VecDeque<(Instant, Bytes)>,
    overdue: VecDeque<Bytes>,
    held: usize,
    held_overdue: usize,
    /// When the last piece is due: no later one overtakes it, though the delay may shrink meanwhile.
    last: Option<Instant>,
    end: Option<(Instant, End)>,
    budget: Arc<Budget>,
}

impl Line {
    pub(super) fn new(budget: Arc<Budget>) -> Self {
        Self {
            waiting: VecDeque::new(),
            overdue: VecDeque::new(),
            held: 0,
            held_overdue: 0,
            last: None,
            end: None,
            budget,
        }
    }

    /// Whether to read on. Who holds nothing always may, so that nobody starves when others hold everything.
    pub(super) fn has_room(&self) -> bool {
        self.held == 0
            || (self.held < LINE
                && self.held_overdue < OVERDUE
                && self.budget.0.load(Ordering::Relaxed) < ALL)
    }

    /// Takes a piece that is due then, but never before those in front of it.
    pub(super) fn push(&mut self, bytes: Bytes, due: Instant) {
        let due = self.in_order(due);
        self.held += bytes.len();
        self.budget.0.fetch_add(bytes.len(), Ordering::Relaxed);
        self.waiting.push_back((due, bytes));
    }

    /// Nothing comes after this.
    pub(super) fn finish(&mut self, end: End, due: Instant) {
        self.end = Some((self.in_order(due), end));
    }

    fn in_order(&mut self, due: Instant) -> Instant {
        let due = self.last.map_or(due, |last| last.max(due));
        self.last = Some(due);
        due
    }

    /// Makes ready what is due.
    pub(super) fn ripen(&mut self, now: Instant) {
        while let Some((_, bytes)) = self.waiting.pop_front_if(|(due, _)| *due <= now) {
            self.held_overdue += bytes.len();
            self.overdue.push_back(bytes);
        }
    }

    /// The first piece that is due.
    pub(super) fn front(&self) -> Option<&Bytes> {
        self.overdue.front()
    }

    /// So many bytes of the first piece are gone.
    pub(super) fn advance(&mut self, count: usize) {
        let Some(front) = self.overdue.front_mut() else { return };
        let count = count.min(front.len());
        front.advance(count);
        if front.is_empty() {
            self.overdue.pop_front();
        }
        self.held -= count;
        self.held_overdue -= count;
        self.budget.0.fetch_sub(count, Ordering::Relaxed);
    }

    /// When something more will be due, after a [`ripen`](Self::ripen).
    pub(super) fn next_due(&self, now: Instant) -> Option<Instant> {
        let next = self.waiting.front().map(|(due, _)| *due).or_else(|| self.end.map(|(due, _)| due));
        next.filter(|due| *due > now)
    }

    /// The end, when it is due and all before it is gone.
    pub(super) fn ended(&self, now: Instant) -> Option<End> {
        self.end.filter(|(due, _)| self.held == 0 && *due <= now).map(|(_, end)| end)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.budget.0.fetch_sub(self.held, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn piece(len: usize) -> Bytes {
        Bytes::from(vec![7; len])
    }

    #[test]
    fn pieces_come_in_order_though_the_delay_shrinks() {
        let start = Instant::now();
        let mut line = Line::new(Arc::default());
        line.push(Bytes::from_static(b"first"), start + 100 * MS);
        line.push(Bytes::from_static(b"second"), start);
        line.ripen(start + 99 * MS);
        assert_eq!((line.front(), line.next_due(start)), (None, Some(start + 100 * MS)));

        line.ripen(start + 100 * MS);
        line.advance(2);
        assert_eq!(line.front().unwrap(), "rst");
        line.advance(3);
        assert_eq!(line.front().unwrap(), "second");
    }

    #[test]
    fn the_end_comes_last() {
        let start = Instant::now();
        let mut line = Line::new(Arc::default());
        line.push(piece(1), start + MS);
        line.finish(End::Finished, start);
        assert_eq!(line.ended(start), None);
        line.ripen(start + MS);
        assert_eq!(line.ended(start + MS), None);
        line.advance(1);
        assert_eq!(line.ended(start + MS), Some(End::Finished));
    }

    #[test]
    fn what_is_held_is_bounded() {
        let start = Instant::now();
        let budget = Arc::<Budget>::default();
        let fill = |line: &mut Line, due| {
            let mut held = 0;
            while line.has_room() {
                line.push(piece(1 << 20), due);
                line.ripen(start);
                held += 1 << 20;
            }
            held
        };
        let mut stalled = Line::new(budget.clone());
        assert_eq!(fill(&mut stalled, start), OVERDUE);
        stalled.advance(1 << 20);
        assert!(stalled.has_room());

        let mut lines: Vec<Line> = (0..5).map(|_| Line::new(budget.clone())).collect();
        let held: Vec<usize> = lines.iter_mut().map(|line| fill(line, start + MS)).collect();
        // The last finds everything held by the others, and still gets its one piece.
        assert_eq!(held, [LINE, LINE, LINE, ALL - 3 * LINE - (OVERDUE - (1 << 20)), 1 << 20]);
        drop(lines);
        drop(stalled);
        assert_eq!(budget.0.load(Ordering::Relaxed), 0);
    }
}
