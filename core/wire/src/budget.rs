//! Memory that many share.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// How much memory the links of a process may hold together, for bytes on their way and the credit they give. A cheap handle:
/// clones are of the same budget, and so are the clones of a [`LinkConfig`](crate::LinkConfig), hence all links of one agent.
///
/// Each link is given a share of 1 MiB whatever is left, so that none ever stands still (its calls at least: readers that have stopped may hold the rest); what it holds beyond that it has to
/// get from here, and when nothing is left windows stop growing, writers wait, and links that hold more than their part fall
/// back as their credit is used. So all links together hold at most the greater of the total and 1 MiB for each link, and
/// 192 KiB for each link by rounding.
#[derive(Clone)]
pub struct Budget(Arc<Inner>);

struct Inner {
    total: u64,
    used: AtomicU64,
    /// Accounts of links.
    accounts: AtomicU64,
}

/// Bytes that are charged to a [`Budget`] until this is dropped.
#[derive(Debug)]
#[must_use]
pub struct Charge {
    budget: Budget,
    bytes: u64,
}

impl Budget {
    /// A budget of so many bytes.
    pub fn new(bytes: u64) -> Self {
        Self(Arc::new(Inner { total: bytes, used: AtomicU64::new(0), accounts: AtomicU64::new(0) }))
    }

    /// The bytes there are in all.
    pub fn total(&self) -> u64 {
        self.0.total
    }

    /// The bytes that are drawn or charged; more than the total where shares and charges alone exceed it.
    pub fn used(&self) -> u64 {
        // Only a figure: nothing else is ordered by it.
        self.0.used.load(Ordering::Relaxed)
    }

    /// Charges something else that the process holds (a connection's task, say), whatever is left.
    pub fn charge(&self, bytes: u64) -> Charge {
        self.draw(bytes);
        Charge { budget: self.clone(), bytes }
    }

    /// What can still be drawn.
    fn left(&self) -> u64 {
        self.0.total.saturating_sub(self.used())
    }

    fn draw(&self, bytes: u64) {
        self.0.used.fetch_add(bytes, Ordering::Relaxed);
    }

    fn give(&self, bytes: u64) {
        self.0.used.fetch_sub(bytes, Ordering::Relaxed);
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
        budget.draw(share);
        budget.0.accounts.fetch_add(1, Ordering::Relaxed);
        Self { budget, share, held: 0, drawn: share }
    }

    pub(crate) fn held(&self) -> u64 {
        self.held
    }

    /// How much more may be held. One kind of one link leaves a quarter of the budget to others.
    pub(crate) fn room(&self) -> u64 {
        let most = self.budget.total() / 4 * 3;
        let more = self.budget.left().min(most.saturating_sub(self.drawn));
        self.drawn.saturating_sub(self.held) + more
    }

    /// Holds more; whoever does not look at [`room`](Self::room) before goes beyond the budget.
    pub(crate) fn hold(&mut self, bytes: u64) {
        self.held += bytes;
        if self.held > self.drawn {
            let needed = self.held.next_multiple_of(STEP);
            self.budget.draw(needed - self.drawn);
            self.drawn = needed;
        }
    }

    pub(crate) fn release(&mut self, bytes: u64) {
        self.held -= bytes;
        let needed = self.held.next_multiple_of(STEP).max(self.share);
        // Not at once, so that what goes up and down does not touch the budget each time.
        if self.drawn > needed + STEP {
            self.budget.give(self.drawn - needed);
            self.drawn = needed;
        }
    }

    /// Whether little is left and this account has more than its part.
    pub(crate) fn is_asked_to_shrink(&self) -> bool {
        let accounts = self.budget.0.accounts.load(Ordering::Relaxed).max(1);
        self.budget.left() < self.budget.total() / 8
            && self.drawn > self.share.max(self.budget.total() / accounts)
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.budget.0.accounts.fetch_sub(1, Ordering::Relaxed);
        self.budget.give(self.drawn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_comes_back() {
        let budget = Budget::new(1 << 20);
        let mut account = Account::new(budget.clone(), 100_000);
        assert_eq!((budget.used(), account.room()), (100_000, 786_432));
        account.hold(100_000);
        assert_eq!(budget.used(), 100_000);
        account.hold(1);
        assert_eq!(budget.used(), 131_072);
        account.release(100_001);
        assert_eq!((budget.used(), account.held()), (131_072, 0));
        account.hold(600_000);
        account.release(600_000);
        assert_eq!(budget.used(), 100_000);
        drop(account);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn one_leaves_something_to_the_others_and_is_asked_for_more() {
        let budget = Budget::new(4 << 20);
        let mut first = Account::new(budget.clone(), 64 << 10);
        first.hold(first.room());
        assert_eq!((first.room(), budget.used()), (0, 3 << 20));
        let mut second = Account::new(budget.clone(), 64 << 10);
        assert!(!first.is_asked_to_shrink());
        second.hold(second.room());
        assert_eq!(budget.used(), 4 << 20);
        assert!(first.is_asked_to_shrink() && !second.is_asked_to_shrink());
        let charge = budget.charge(1000);
        assert_eq!(second.room(), 0);
        drop(charge);
        first.release(2 << 20);
        assert_eq!(second.room(), 2 << 20);
    }
}
