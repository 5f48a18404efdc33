//! What a session remembers of its flows, and the sums of each handle, in one book: a flow moves from the open ones to those
//! that ended, and its bytes into the sums, in one step that nobody sees half done.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use kubetether_link::Tally;
use tokio::time::Instant;

use super::{Flow, FlowEnd, Flows};
use crate::{HandleId, Protocol, Stats};

/// Flows that ended of which a session knows more than their sums.
pub(super) const ENDED: usize = 1024;
/// Open ones that are told of at once.
pub(super) const LISTED: usize = 4096;
/// A reason is cut behind so many characters: peers may have written it.
const REASON: usize = 200;

/// The flows of a session; a cheap handle.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger(Arc<Mutex<Book>>);

#[derive(Debug, Default)]
struct Book {
    begun: u64,
    /// By handle and number, so that a handle's are found without a look at the others.
    open: BTreeMap<(HandleId, u64), Arc<Entry>>,
    /// The last of them, the latest at the back.
    ended: VecDeque<Arc<Ended>>,
    /// How many have ended since the session's start.
    over: u64,
}

/// One flow.
#[derive(Debug)]
struct Entry {
    number: u64,
    page: Arc<Page>,
    from: SocketAddr,
    to: Arc<str>,
    port: u16,
    /// For people.
    began: SystemTime,
    /// For its length: the clock may be set.
    since: Instant,
    tally: Arc<Tally>,
}

#[derive(Debug)]
struct Ended {
    entry: Arc<Entry>,
    at: Instant,
    end: FlowEnd,
}

/// What all flows of a handle have in common.
#[derive(Debug)]
struct Page {
    handle: HandleId,
    mode: &'static str,
    protocol: Protocol,
    /// Of those that have ended. Below the book in the order of locks.
    sums: Mutex<Stats>,
}

/// The counting side of a handle; a cheap handle itself.
#[derive(Clone, Debug)]
pub(crate) struct Counters {
    ledger: Ledger,
    page: Arc<Page>,
}

/// One flow: open until it is [ended](Self::end) or dropped, which means closed. Whoever adds to its tally has to be gone
/// before.
#[derive(Debug)]
pub(crate) struct Counted {
    ledger: Ledger,
    entry: Arc<Entry>,
    end: Option<FlowEnd>,
}

impl Ledger {
    /// For a new handle.
    pub(crate) fn handle(&self, handle: HandleId, mode: &'static str, protocol: Protocol) -> Counters {
        let page = Page { handle, mode, protocol, sums: Mutex::default() };
        Counters { ledger: self.clone(), page: Arc::new(page) }
    }

    /// Those that are open, and those that ended after the first `after`.
    pub(crate) fn tell(&self, after: u64) -> Flows {
        let (mut open, ended, missed, next) = {
            let book = self.book();
            let forgotten = book.over - book.ended.len() as u64;
            // One that was never given knows all.
            let after = after.min(book.over);
            let known = usize::try_from(after.saturating_sub(forgotten)).unwrap_or(usize::MAX);
            let ended: Vec<_> = book.ended.iter().skip(known).cloned().collect();
            let open: Vec<_> = book.open.values().cloned().collect();
            (open, ended, forgotten.saturating_sub(after), book.over)
        };
        open.sort_unstable_by_key(|entry| entry.number);
        let latest = open.len().saturating_sub(LISTED);
        let now = Instant::now();
        Flows {
            open: open[latest..].iter().map(|entry| entry.tell(now, None)).collect(),
            ended: ended.iter().map(|ended| ended.entry.tell(ended.at, Some(ended.end.clone()))).collect(),
            missed,
            next,
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        lock(&self.0)
    }
}

impl Counters {
    /// A flow begins.
    pub(crate) fn begin(&self, from: SocketAddr, to: &Arc<str>, port: u16) -> Counted {
        let (began, since, tally) = (SystemTime::now(), Instant::now(), Arc::default());
        let mut book = self.ledger.book();
        book.begun += 1;
        let number = book.begun;
        let page = self.page.clone();
        let entry = Arc::new(Entry { number, page, from, to: to.clone(), port, began, since, tally });
        book.open.insert((self.page.handle, number), entry.clone());
        lock(&self.page.sums).connections += 1;
        drop(book);
        Counted { ledger: self.ledger.clone(), entry, end: None }
    }

    /// What went through the handle so far.
    pub(crate) fn read(&self) -> Stats {
        let book = self.ledger.book();
        let mut stats = *lock(&self.page.sums);
        let handle = self.page.handle;
        for entry in book.open.range((handle, 0)..=(handle, u64::MAX)).map(|(_, entry)| entry) {
            let (sent, received) = entry.bytes();
            stats.open += 1;
            stats.sent += sent;
            stats.received += received;
        }
        stats
    }
}

impl Counted {
    /// How it ended.
    pub(crate) fn end(mut self, end: FlowEnd) {
        self.end = Some(end);
    }

    /// Where bytes are added as they move: those sent went to the cluster.
    pub(crate) fn tally(&self) -> Arc<Tally> {
        self.entry.tally.clone()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let end = match self.end.take() {
            Some(FlowEnd::Refused(reason)) => FlowEnd::Refused(cut(reason)),
            Some(end) => end,
            None if std::thread::panicking() => FlowEnd::Lost("a fault of kubetether itself".into()),
            None => FlowEnd::Closed,
        };
        let (refused, (sent, received)) = (matches!(end, FlowEnd::Refused(_)), self.entry.bytes());
        let ended = Arc::new(Ended { entry: self.entry.clone(), at: Instant::now(), end });
        let page = &self.entry.page;
        let mut book = self.ledger.book();
        book.open.remove(&(page.handle, self.entry.number));
        book.over += 1;
        let oldest = if book.ended.len() == ENDED { book.ended.pop_front() } else { None };
        book.ended.push_back(ended);
        let mut sums = lock(&page.sums);
        sums.refused += u64::from(refused);
        sums.sent += sent;
        sums.received += received;
        drop(sums);
        // What is forgotten is given back outside.
        drop(book);
        drop(oldest);
    }
}

impl Entry {
    /// Sent and received.
    fn bytes(&self) -> (u64, u64) {
        (self.tally.sent.load(Ordering::Relaxed), self.tally.received.load(Ordering::Relaxed))
    }

    fn tell(&self, until: Instant, end: Option<FlowEnd>) -> Flow {
        let (sent, received) = self.bytes();
        Flow {
            number: self.number,
            handle: self.page.handle,
            mode: self.page.mode,
            protocol: self.page.protocol,
            from: self.from.to_string(),
            to: self.to.to_string(),
            port: self.port,
            began: self.began,
            duration: until.saturating_duration_since(self.since),
            sent,
            received,
            end,
        }
    }
}

/// Nothing under a lock of these can be left half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn cut(mut reason: String) -> String {
    if let Some((at, _)) = reason.char_indices().nth(REASON) {
        reason.truncate(at);
        reason.push('…');
    }
    reason
}
