//! Counting what is open: connections, which are bounded too, and links.

use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kubetether_wire::{Budget, Charge};
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::{Instant, sleep_until};

use crate::limits::Cost;

/// How many of something there are. A cheap handle.
#[derive(Debug, Clone, Default)]
pub(crate) struct Count(Arc<watch::Sender<u64>>);

/// One of what is counted, until dropped.
#[derive(Debug)]
pub(crate) struct Counted(Count);

/// All open connections of this process. A cheap handle.
#[derive(Debug, Clone)]
pub(crate) struct Flows(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    room: Semaphore,
    most: usize,
    budget: Budget,
    open: Count,
    refused: AtomicU64,
    newest: Newest,
}

/// When the newest connection came, if any did.
#[derive(Debug, Default)]
struct Newest(Mutex<Option<Instant>>);

/// Room for one connection; counted from [`Room::occupy`] on.
#[derive(Debug)]
pub(crate) struct Room {
    flows: Arc<Inner>,
    _charge: Charge,
}

/// One open connection, until dropped. Small: there may be 10,000.
#[derive(Debug)]
pub(crate) struct FlowGuard(Room);

/// So many connections have room whatever links hold.
const ALWAYS: u64 = 16;

impl Count {
    /// One more.
    pub(crate) fn one(&self) -> Counted {
        self.more();
        Counted(self.clone())
    }

    fn more(&self) {
        self.0.send_modify(|count| *count += 1);
    }

    fn less(&self) {
        self.0.send_modify(|count| *count -= 1);
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
        self.0.less();
    }
}

impl Flows {
    pub(crate) fn new(most: usize, budget: Budget) -> Self {
        let most = most.min(Semaphore::MAX_PERMITS);
        Self(Arc::new(Inner {
            room: Semaphore::new(most),
            most,
            budget,
            open: Count::default(),
            refused: AtomicU64::default(),
            newest: Newest::default(),
        }))
    }

    /// Waits for room: what an accept loop does before it accepts. Cancel-safe.
    pub(crate) async fn room(&self, cost: Cost) -> Option<Room> {
        // Never closed, so always there.
        let permit = self.0.room.acquire().await.ok()?;
        poll_fn(|cx| self.0.budget.poll_given(cx, || self.fits(cost))).await;
        Some(self.found(permit, cost))
    }

    /// Room at once, or none; that is counted as one that was refused.
    pub(crate) fn try_room(&self, cost: Cost) -> Option<Room> {
        let permit = self.0.room.try_acquire().ok().filter(|_| self.fits(cost));
        let Some(permit) = permit else {
            self.0.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        Some(self.found(permit, cost))
    }

    /// Memory for a connection that turns out to cost more, or none; it is refused then, and counted as that.
    pub(crate) fn more(&self, cost: Cost) -> Option<Charge> {
        if !self.fits(cost) {
            self.0.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.0.budget.charge(cost.0))
    }

    fn fits(&self, cost: Cost) -> bool {
        self.0.open.get() < ALWAYS || self.0.budget.used() + cost.0 <= self.0.budget.total()
    }

    fn found(&self, permit: SemaphorePermit<'_>, cost: Cost) -> Room {
        // Given back by hand: what holds it has to be small.
        permit.forget();
        Room { flows: Arc::clone(&self.0), _charge: self.0.budget.charge(cost.0) }
    }

    /// How many may be open at once that cost this.
    pub(crate) fn most(&self, cost: Cost) -> u64 {
        (self.0.budget.total() / cost.0).min(self.0.most as u64)
    }

    /// How many found no room.
    pub(crate) fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    /// How many are open.
    pub(crate) fn count(&self) -> u64 {
        self.0.open.get()
    }

    /// Waits until none is open. Cancel-safe.
    pub(crate) async fn none(&self) {
        self.0.open.none().await;
    }

    /// Waits until none is open and none has come for `quiet`. Cancel-safe.
    pub(crate) async fn over(&self, quiet: Duration) {
        loop {
            self.none().await;
            let end = self.0.newest.lock().map(|newest| newest + quiet);
            match end.filter(|end| *end > Instant::now()) {
                Some(end) => sleep_until(end).await,
                None => return,
            }
        }
    }

    /// A caller came that is not counted as open: one that sends datagrams.
    pub(crate) fn came(&self) {
        self.0.newest.is_now();
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
        self.flows.newest.is_now();
        self.flows.open.more();
        FlowGuard(self)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.flows.room.add_permits(1);
    }
}

impl Drop for FlowGuard {
    fn drop(&mut self) {
        self.0.flows.open.less();
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    const COST: Cost = Cost(1000);

    fn bounded(most: usize, bytes: u64) -> Flows {
        Flows::new(most, Budget::new(bytes))
    }

    #[tokio::test(start_paused = true)]
    async fn memory_bounds_too_but_for_a_few() {
        let flows = bounded(1000, 20 * COST.0);
        let mut open: Vec<_> = (0..20).map(|_| flows.try_room(COST).unwrap().occupy()).collect();
        assert!(flows.try_room(COST).is_none());
        assert!(flows.more(COST).is_none());
        let waiting = tokio::spawn({
            let flows = flows.clone();
            async move { flows.room(COST).await.unwrap().occupy() }
        });
        sleep(Duration::from_secs(10)).await;
        assert!(!waiting.is_finished());
        open.pop();
        drop(waiting.await.unwrap());
        drop(flows.more(COST).unwrap());
        // Links hold everything.
        open.truncate(3);
        let _links = flows.0.budget.charge(20 * COST.0);
        assert!(flows.try_room(COST).is_some());
    }

    #[tokio::test]
    async fn counts_bounds_and_tells_when_none_is_left() {
        let flows = bounded(2, 1 << 20);
        let (first, second) =
            (flows.room(COST).await.unwrap().occupy(), flows.try_room(COST).unwrap().occupy());
        assert_eq!(flows.count(), 2);
        assert!(flows.try_room(COST).is_none());
        assert_eq!((flows.most(COST), flows.refused()), (2, 1));
        drop(first);
        assert!(flows.try_room(COST).is_some());
        let waiting = tokio::spawn({
            let flows = flows.clone();
            async move { flows.none().await }
        });
        drop(second);
        waiting.await.unwrap();
        assert_eq!(flows.count(), 0);
    }
}
