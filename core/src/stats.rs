//! What went through a handle.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kubetether_link::Flow;

/// Counters of an exchange or a forward since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections that were taken, refused ones included.
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
    sent: AtomicU64,
    received: AtomicU64,
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
            sent: self.0.sent.load(Ordering::Relaxed),
            received: self.0.received.load(Ordering::Relaxed),
        }
    }
}

impl Counted {
    pub(crate) fn refused(&self) {
        self.0.0.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Bytes of the connection, known at its end: `sent` went to the cluster.
    pub(crate) fn flow(&self, flow: &Flow) {
        self.0.0.sent.fetch_add(flow.sent, Ordering::Relaxed);
        self.0.0.received.fetch_add(flow.received, Ordering::Relaxed);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
