//! What went through a handle.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kubetether_link::Tally;

/// Counters of an exchange or a forward since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections that were taken, refused ones included. An association of UDP counts as one.
    pub connections: u64,
    /// Those that are open now.
    pub open: u64,
    /// Those that the target refused.
    pub refused: u64,
    /// Bytes that went to the cluster.
    pub sent: u64,
    /// Bytes that came from the cluster.
    pub received: u64,
}

/// The counting side; a cheap handle.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counters(Arc<Cells>);

#[derive(Debug, Default)]
struct Cells {
    connections: AtomicU64,
    open: AtomicU64,
    refused: AtomicU64,
    bytes: Arc<Tally>,
}

/// One connection: open until dropped.
#[derive(Debug)]
pub(crate) struct Counted(Counters);

impl Counters {
    pub(crate) fn connection(&self) -> Counted {
        self.0.connections.fetch_add(1, Ordering::Relaxed);
        self.0.open.fetch_add(1, Ordering::Relaxed);
        Counted(self.clone())
    }

    pub(crate) fn read(&self) -> Stats {
        Stats {
            connections: self.0.connections.load(Ordering::Relaxed),
            open: self.0.open.load(Ordering::Relaxed),
            refused: self.0.refused.load(Ordering::Relaxed),
            sent: self.0.bytes.sent.load(Ordering::Relaxed),
            received: self.0.bytes.received.load(Ordering::Relaxed),
        }
    }
}

impl Counted {
    pub(crate) fn refused(&self) {
        self.0.0.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Where bytes are added as they move: those sent went to the cluster.
    pub(crate) fn tally(&self) -> Arc<Tally> {
        self.0.0.bytes.clone()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_connection_is_counted_while_it_goes_on() {
        let counters = Counters::default();
        let one = counters.connection();
        let two = counters.connection();
        one.tally().sent.fetch_add(7, Ordering::Relaxed);
        two.tally().received.fetch_add(9, Ordering::Relaxed);
        two.refused();
        drop(two);
        let expected = Stats { connections: 2, open: 1, refused: 1, sent: 7, received: 9 };
        assert_eq!(counters.read(), expected);
    }
}
