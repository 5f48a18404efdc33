//! Memory that many share.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

/// How much memory the links of a process may hold together, for bytes on their way and the credit they give. A cheap handle:
/// clones are of the same budget, and so are the clones of a [`LinkConfig`](crate::LinkConfig), hence all links of one agent.
/// Where the process [charges](Self::charge) something itself, a part of it is [kept](Self::with_kept) for that: credit that was
/// once told to a peer cannot be taken back, and must not keep out everything else until it is used.
///
/// Not counted are the streams themselves, control frames that are not acknowledged (at most some 20 MB, from a peer that
/// does not acknowledge), the 64 KiB of calls' bytes and 6 MiB of received buffers that a link may hold beyond
/// ([`LinkConfig`](crate::LinkConfig)), the carriers' own buffers, and what the system holds for sockets.
///
/// Each link is given a share of 1 MiB whatever is left, so that none ever stands still (its calls at least: readers that
/// have stopped may hold the rest), and one that has had an association another 128 KiB for datagrams; what it holds beyond
/// that it has to get from here, and when nothing is left windows stop growing, writers wait, datagrams are dropped, and links
/// that hold more than their part fall back as their credit is used. So all links together hold at most the greater of the total and 1 MiB for each link (1.125
/// with associations), and 192 KiB (256) for each link by rounding.
#[derive(Clone)]
pub struct Budget(Arc<Inner>);

struct Inner {
    total: u64,
    /// What links leave to charges.
    kept: u64,
    used: AtomicU64,
    /// What of it links have drawn.
    drawn: AtomicU64,
    /// Accounts of links.
    accounts: AtomicU64,
    /// Who waits until something is given back, and whether anybody does.
    waiting: Mutex<Vec<Waker>>,
    is_awaited: AtomicBool,
}

/// Bytes that are charged to a [`Budget`] until this is dropped.
#[derive(Debug)]
#[must_use]
pub struct Charge {
    budget: Budget,
    bytes: u64,
}

impl Budget {
    /// A budget of so many bytes, for links alone.
    pub fn new(bytes: u64) -> Self {
        Self::with_kept(bytes, 0)
    }

    /// A budget of so many bytes, of which links leave `kept` to what is charged.
    pub fn with_kept(bytes: u64, kept: u64) -> Self {
        Self(Arc::new(Inner {
            total: bytes,
            kept: kept.min(bytes),
            used: AtomicU64::new(0),
            drawn: AtomicU64::new(0),
            accounts: AtomicU64::new(0),
            waiting: Mutex::default(),
            is_awaited: AtomicBool::new(false),
        }))
    }

    /// The bytes there are in all.
    pub fn total(&self) -> u64 {
        self.0.total
    }

    /// The bytes that are drawn or charged; more than the total where shares and charges alone exceed it.
    pub fn used(&self) -> u64 {
        self.0.used.load(Ordering::SeqCst)
    }

    /// Charges something else that the process holds (a connection's task, say), whatever is left.
    pub fn charge(&self, bytes: u64) -> Charge {
        self.draw(bytes);
        Charge { budget: self.clone(), bytes }
    }

    /// Waits until `fits`, which is asked again whenever something was given back. Nobody is kept waiting by a link or a charge
    /// that gives back what it held.
    pub fn poll_given(&self, cx: &mut Context<'_>, fits: impl Fn() -> bool) -> Poll<()> {
        if fits() {
            return Poll::Ready(());
        }
        let mut waiting = self.waiting();
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        self.0.is_awaited.store(true, Ordering::SeqCst);
        // Given back before anybody was seen to wait.
        if fits() { Poll::Ready(()) } else { Poll::Pending }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Waker>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What links may draw in all.
    fn for_links(&self) -> u64 {
        self.0.total - self.0.kept
    }

    /// What links can still draw.
    fn left(&self) -> u64 {
        let for_links = self.for_links().saturating_sub(self.0.drawn.load(Ordering::Relaxed));
        self.0.total.saturating_sub(self.used()).min(for_links)
    }

    fn draw_for_link(&self, bytes: u64) {
        self.draw(bytes);
        self.0.drawn.fetch_add(bytes, Ordering::Relaxed);
    }

    fn give_for_link(&self, bytes: u64) {
        self.give(bytes);
        self.0.drawn.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn draw(&self, bytes: u64) {
        self.0.used.fetch_add(bytes, Ordering::Relaxed);
    }

    fn give(&self, bytes: u64) {
        self.0.used.fetch_sub(bytes, Ordering::SeqCst);
        if self.0.is_awaited.load(Ordering::SeqCst) {
            let woken = {
                let mut waiting = self.waiting();
                self.0.is_awaited.store(false, Ordering::SeqCst);
                std::mem::take(&mut *waiting)
            };
            woken.into_iter().for_each(Waker::wake);
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.give(self.bytes);
    }
}

/// The same budget, not an equal one.
impl PartialEq for Budget {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Budget {}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Budget({} of {} bytes)", self.used(), self.total())
    }
}

/// What a link holds of one kind, and what it has drawn for it.
#[derive(Debug)]
pub(crate) struct Account {
    budget: Budget,
    /// Drawn whatever is left.
    share: u64,
    held: u64,
    drawn: u64,
}

/// The budget is drawn on in steps of this, so that it is not touched for every frame.
const STEP: u64 = 64 << 10;

impl Account {
    pub(crate) fn new(budget: Budget, share: u64) -> Self {
        budget.draw_for_link(share);
        budget.0.accounts.fetch_add(1, Ordering::Relaxed);
        Self { budget, share, held: 0, drawn: share }
    }

    pub(crate) fn held(&self) -> u64 {
        self.held
    }

    /// How much more may be held. One kind of one link leaves a third of what there is for links to others.
    pub(crate) fn room(&self) -> u64 {
        let most = self.budget.total() / 2;
        let more = self.budget.left().min(most.saturating_sub(self.drawn));
        self.drawn.saturating_sub(self.held) + more
    }

    /// Holds more; whoever does not look at [`room`](Self::room) before goes beyond the budget.
    pub(crate) fn hold(&mut self, bytes: u64) {
        self.held += bytes;
        if self.held > self.drawn {
            let needed = self.held.next_multiple_of(STEP);
            self.budget.draw_for_link(needed - self.drawn);
            self.drawn = needed;
        }
    }

    pub(crate) fn release(&mut self, bytes: u64) {
        self.held -= bytes;
        let needed = self.held.next_multiple_of(STEP).max(self.share);
        // Not at once, so that what goes up and down does not touch the budget each time.
        if self.drawn > needed + STEP {
            self.budget.give_for_link(self.drawn - needed);
            self.drawn = needed;
        }
    }

    /// Nothing new will be held: the share is given back, and what is held as it is released.
    pub(crate) fn retire(&mut self) {
        self.share = 0;
        let needed = self.held.next_multiple_of(STEP);
        if self.drawn > needed {
            self.budget.give_for_link(self.drawn - needed);
            self.drawn = needed;
        }
    }

    /// Whether little is left and this account has more than its part.
    pub(crate) fn is_asked_to_shrink(&self) -> bool {
        let accounts = self.budget.0.accounts.load(Ordering::Relaxed).max(1);
        self.budget.left() < self.budget.total() / 8
            && self.drawn > self.share.max(self.budget.for_links() / accounts)
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.budget.0.accounts.fetch_sub(1, Ordering::Relaxed);
        self.budget.give_for_link(self.drawn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_comes_back() {
        let budget = Budget::new(1 << 20);
        let mut account = Account::new(budget.clone(), 100_000);
        assert_eq!((budget.used(), account.room()), (100_000, 524_288));
        account.hold(100_000);
        assert_eq!(budget.used(), 100_000);
        account.hold(1);
        assert_eq!(budget.used(), 131_072);
        account.release(100_001);
        assert_eq!((budget.used(), account.held()), (131_072, 0));
        account.hold(500_000);
        account.release(500_000);
        assert_eq!(budget.used(), 100_000);
        drop(account);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn who_waits_is_woken_by_what_is_given_back() {
        let budget = Budget::new(1000);
        let (charge, mut cx) = (budget.charge(900), Context::from_waker(Waker::noop()));
        let mut poll = || budget.poll_given(&mut cx, || budget.used() <= 500);
        assert!(poll().is_pending() && poll().is_pending());
        assert_eq!(budget.waiting().len(), 1);
        drop(charge);
        assert!(budget.waiting().is_empty());
        assert!(poll().is_ready());
    }

    #[test]
    fn one_leaves_something_to_the_others_and_is_asked_for_more() {
        let budget = Budget::with_kept(4 << 20, 1 << 20);
        let mut first = Account::new(budget.clone(), 64 << 10);
        first.hold(first.room());
        assert_eq!((first.room(), budget.used()), (0, 2 << 20));
        let mut second = Account::new(budget.clone(), 64 << 10);
        assert!(!first.is_asked_to_shrink());
        second.hold(second.room());
        // A quarter stays for what is no link's.
        assert_eq!((second.room(), budget.used()), (0, 3 << 20));
        assert!(first.is_asked_to_shrink() && !second.is_asked_to_shrink());
        let charge = budget.charge(1 << 20);
        first.release(1 << 20);
        assert_eq!(second.room(), 1 << 20);
        drop(charge);
        first.retire();
        first.release(first.held());
        assert_eq!(budget.used(), 1 << 20);
    }
}
