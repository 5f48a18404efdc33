//! Counting what is open: connections, which are bounded too, and links.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

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
    open: Count,
}

/// Room for one connection; counted from [`Room::occupy`] on.
#[derive(Debug)]
pub(crate) struct Room {
    permit: OwnedSemaphorePermit,
    open: Count,
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
        let room = Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
        Self { room, open: Count::default() }
    }

    /// Waits for room: what an accept loop does before it accepts. Cancel-safe.
    pub(crate) async fn room(&self) -> Option<Room> {
        // Never closed, so always there.
        let permit = Arc::clone(&self.room).acquire_owned().await.ok()?;
        Some(Room { permit, open: self.open.clone() })
    }

    /// Room at once, or none.
    pub(crate) fn try_room(&self) -> Option<Room> {
        let permit = Arc::clone(&self.room).try_acquire_owned().ok()?;
        Some(Room { permit, open: self.open.clone() })
    }

    /// How many are open.
    pub(crate) fn count(&self) -> u64 {
        self.open.get()
    }

    /// Waits until none is open. Cancel-safe.
    pub(crate) async fn none(&self) {
        self.open.none().await;
    }
}

impl Room {
    pub(crate) fn occupy(self) -> FlowGuard {
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
