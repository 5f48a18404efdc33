//! The table of open connections.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use super::wire::Cut;

/// One connection of a client.
#[derive(Debug, Default)]
pub(super) struct Entry {
    cut: CancellationToken,
    upgraded: AtomicBool,
}

impl Entry {
    pub(super) fn is_upgraded(&self) -> bool {
        self.upgraded.load(Ordering::Relaxed)
    }

    pub(super) fn set_upgraded(&self) {
        self.upgraded.store(true, Ordering::Relaxed);
    }

    /// Resets the connection.
    pub(super) fn cut(&self) {
        self.cut.cancel();
    }

    pub(super) fn is_cut(&self) -> bool {
        self.cut.is_cancelled()
    }

    /// Waits for the cut. Cancel-safe.
    pub(super) async fn until_cut(&self) {
        self.cut.cancelled().await;
    }
}

/// All of them, oldest first.
#[derive(Debug, Default)]
pub(super) struct Connections(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    /// Connections since the start; numbers the next one.
    count: u64,
    cuts: u64,
    open: BTreeMap<u64, Arc<Entry>>,
}

/// Takes its connection off the table when dropped.
#[derive(Debug)]
pub(super) struct Listed {
    id: u64,
    connections: Arc<Connections>,
}

impl Connections {
    pub(super) fn add(self: &Arc<Self>) -> (Arc<Entry>, Listed) {
        let entry = Arc::<Entry>::default();
        let mut table = self.table();
        let id = table.count;
        table.count += 1;
        table.open.insert(id, entry.clone());
        (entry, Listed { id, connections: self.clone() })
    }

    pub(super) fn cut(&self, which: Cut) -> usize {
        let most = match which {
            Cut::All | Cut::Upgraded => usize::MAX,
            Cut::OneUpgraded => 1,
        };
        let mut table = self.table();
        table.cuts += 1;
        let chosen = table.open.values().filter(|entry| !entry.is_cut());
        chosen
            .filter(|entry| which == Cut::All || entry.is_upgraded())
            .take(most)
            .map(|entry| entry.cut())
            .count()
    }

    pub(super) fn open(&self) -> usize {
        self.table().open.len()
    }

    pub(super) fn upgraded(&self) -> usize {
        self.table().open.values().filter(|entry| entry.is_upgraded()).count()
    }

    pub(super) fn cuts(&self) -> u64 {
        self.table().cuts
    }

    pub(super) fn accepted(&self) -> u64 {
        self.table().count
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.connections.table().open.remove(&self.id);
    }
}
