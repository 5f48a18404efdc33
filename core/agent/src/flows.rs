//! Open connections: counted, bounded, and waited for.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// The count of all open connections of this process. A cheap handle.
#[derive(Debug, Clone)]
pub(crate) struct Flows {
    room: Arc<Semaphore>,
    count: Arc<watch::Sender<u64>>,
}

/// Room for one connection; counted from [`Room::occupy`] on.
#[derive(Debug)]
pub(crate) struct Room {
    permit: OwnedSemaphorePermit,
    count: Arc<watch::Sender<u64>>,
}

/// One open connection, until dropped.
#[derive(Debug)]
pub(crate) struct FlowGuard {
    _permit: OwnedSemaphorePermit,
    count: Arc<watch::Sender<u64>>,
}

impl Flows {
    pub(crate) fn new(most: usize) -> Self {
        let room = Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
        Self { room, count: Arc::new(watch::Sender::new(0)) }
    }

    /// Waits for room: what an accept loop does before it accepts. Cancel-safe.
    pub(crate) async fn room(&self) -> Option<Room> {
        // Never closed, so always there.
        let permit = Arc::clone(&self.room).acquire_owned().await.ok()?;
        Some(Room { permit, count: Arc::clone(&self.count) })
    }

    /// Room at once, or none.
    pub(crate) fn try_room(&self) -> Option<Room> {
        let permit = Arc::clone(&self.room).try_acquire_owned().ok()?;
        Some(Room { permit, count: Arc::clone(&self.count) })
    }

    /// How many are open.
    pub(crate) fn count(&self) -> u64 {
        *self.count.borrow()
    }

    /// Waits until none is open. Cancel-safe.
    pub(crate) async fn none(&self) {
        let mut count = self.count.subscribe();
        // The sender is in `self`, so this cannot fail.
        let _ = count.wait_for(|count| *count == 0).await;
    }
}

impl Room {
    pub(crate) fn occupy(self) -> FlowGuard {
        self.count.send_modify(|count| *count += 1);
        FlowGuard { _permit: self.permit, count: self.count }
    }
}

impl Drop for FlowGuard {
    fn drop(&mut self) {
        self.count.send_modify(|count| *count -= 1);
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
