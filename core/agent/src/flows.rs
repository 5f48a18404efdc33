//! Counting what is open: connections, which are bounded too, and links.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep_until};

/// How many of something there are. A cheap handle.
#[derive(Debug, Clone, Default)]
pub(crate) struct Count(Arc<watch::Sender<u64>>);

/// One of what is counted, until dropped.
#[derive(Debug)]
pub(crate) struct Counted(Arc<watch::Sender<u64>>);

/// All open connections of this process. A cheap handle.
#[derive(Debug, Clone)]
pub(crate) struct Flows {
    room: Arc<Semaphore>,
    most: usize,
    open: Count,
    refused: Arc<AtomicU64>,
    newest: Newest,
}

/// When the newest connection came, if any did.
#[derive(Debug, Clone, Default)]
struct Newest(Arc<Mutex<Option<Instant>>>);

/// Room for one connection; counted from [`Room::occupy`] on.
#[derive(Debug)]
pub(crate) struct Room {
    permit: OwnedSemaphorePermit,
    open: Count,
    newest: Newest,
}

/// One open connection, until dropped.
#[derive(Debug)]
pub(crate) struct FlowGuard {
    _permit: OwnedSemaphorePermit,
    _counted: Counted,
}

impl Count {
    /// One more.
    pub(crate) fn one(&self) -> Counted {
        self.0.send_modify(|count| *count += 1);
        Counted(Arc::clone(&self.0))
    }

    /// How many there are.
    pub(crate) fn get(&self) -> u64 {
        *self.0.borrow()
    }

    /// Waits until there is none. Cancel-safe.
    pub(crate) async fn none(&self) {
        // The sender is in `self`, so this cannot fail.
        let _ = self.0.subscribe().wait_for(|count| *count == 0).await;
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

impl Flows {
    pub(crate) fn new(most: usize) -> Self {
        let most = most.min(Semaphore::MAX_PERMITS);
        Self {
            room: Arc::new(Semaphore::new(most)),
            most,
            open: Count::default(),
            refused: Arc::default(),
            newest: Newest::default(),
        }
    }

    /// Waits for room: what an accept loop does before it accepts. Cancel-safe.
    pub(crate) async fn room(&self) -> Option<Room> {
        // Never closed, so always there.
        let permit = Arc::clone(&self.room).acquire_owned().await.ok()?;
        Some(self.found(permit))
    }

    /// Room at once, or none; that is counted as one that was refused.
    pub(crate) fn try_room(&self) -> Option<Room> {
        let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() else {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        Some(self.found(permit))
    }

    fn found(&self, permit: OwnedSemaphorePermit) -> Room {
        Room { permit, open: self.open.clone(), newest: self.newest.clone() }
    }

    /// How many may be open at once.
    pub(crate) fn most(&self) -> u64 {
        self.most as u64
    }

    /// How many found no room.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// How many are open.
    pub(crate) fn count(&self) -> u64 {
        self.open.get()
    }

    /// Waits until none is open. Cancel-safe.
    pub(crate) async fn none(&self) {
        self.open.none().await;
    }

    /// Waits until none is open and none has come for `quiet`. Cancel-safe.
    pub(crate) async fn over(&self, quiet: Duration) {
        loop {
            self.none().await;
            let end = self.newest.lock().map(|newest| newest + quiet);
            match end.filter(|end| *end > Instant::now()) {
                Some(end) => sleep_until(end).await,
                None => return,
            }
        }
    }

    /// A caller came that is not counted as open: one that sends datagrams.
    pub(crate) fn came(&self) {
        self.newest.is_now();
    }
}

impl Newest {
    fn is_now(&self) {
        *self.lock() = Some(Instant::now());
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        // Nothing under this lock can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Room {
    pub(crate) fn occupy(self) -> FlowGuard {
        self.newest.is_now();
        FlowGuard { _permit: self.permit, _counted: self.open.one() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn counts_bounds_and_tells_when_none_is_left() {
        let flows = Flows::new(2);
        let (first, second) = (flows.room().await.unwrap().occupy(), flows.try_room().unwrap().occupy());
        assert_eq!(flows.count(), 2);
        assert!(flows.try_room().is_none());
        assert_eq!((flows.most(), flows.refused()), (2, 1));
        drop(first);
        assert!(flows.try_room().is_some());
        let waiting = tokio::spawn({
            let flows = flows.clone();
            async move { flows.none().await }
        });
        drop(second);
        waiting.await.unwrap();
        assert_eq!(flows.count(), 0);
    }
}
