use std::time::{Duration, Instant};

use crate::{ProtocolError, budget::Account};

/// The link's credit for the peer: what it may have on its way or unread here, all streams together.
///
/// The window starts small, doubles (below 4 MiB: grows fourfold) while it is used up within two round trips of the line alone,
/// or when three quarters of it are unread, up to the bound and as far as the budget goes, and halves when it was hardly used
/// for a while. A limit that was told is not taken back: a window that has shrunk shows as the credit is used up. What is told
/// and not freed is held in the account of the budget, so what is held there bounds what can come; and a window wider than the
/// line needs would keep it from those that need it.
#[derive(Debug)]
pub(super) struct LinkReceive {
    account: Account,
    least: u64,
    most: u64,
    window: u64,
    /// Told to the peer.
    limit: u64,
    /// Sum of the streams' bytes that the peer has sent.
    sent: u64,
    /// Sum of the bytes that were read or thrown away.
    freed: u64,
    /// When the window was last judged, and how much had been freed.
    judged: Option<(Instant, u64)>,
    /// What streams' windows have grown beyond their first size.
    grown: u64,
}

/// Raises of less than this, and less than a quarter of the window, are not told while the peer has enough: each message costs
/// six processes on its way (a fifth of a download's rate went into such messages where this was 1 MiB, and each 128 KiB were
/// acknowledged).
pub(super) const TELL: u64 = 4 << 20;
/// A window below this grows fourfold.
pub(super) const SMALL: u64 = 4 << 20;
/// What a peer needs to have left for it to be enough, whatever the window.
const ENOUGH: u64 = 128 << 10;
/// A window of which less than half was used in this time halves.
pub(super) const WATCH: Duration = Duration::from_secs(30);

impl LinkReceive {
    /// `least` is the size at first, and held from the beginning.
    pub(super) fn new(mut account: Account, least: u64, most: u64) -> Self {
        account.hold(least);
        Self { account, least, most, window: least, limit: least, sent: 0, freed: 0, judged: None, grown: 0 }
    }

    /// The peer has sent `bytes` more.
    pub(super) fn sent(&mut self, bytes: u64) -> Result<(), ProtocolError> {
        self.sent += bytes;
        if self.sent > self.limit {
            return Err(ProtocolError::Rule("more bytes came than the link has credit for"));
        }
        Ok(())
    }

    /// `bytes` were read or thrown away.
    pub(super) fn free(&mut self, bytes: u64) {
        self.freed += bytes;
        self.account.release(bytes);
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// What the peer may still send.
    fn left(&self) -> u64 {
        self.limit.saturating_sub(self.sent)
    }

    /// Whether the peer has so little left that the window is worth a look, though nothing was freed.
    pub(super) fn is_low(&self) -> bool {
        let left = self.left();
        left < ENOUGH || left < self.window / 4 && self.window < self.most
    }

    /// Whether the peer needs more and the budget has nothing.
    pub(super) fn is_short(&self) -> bool {
        self.left() < self.window / 4 && self.account.room() == 0
    }

    /// Whether a new limit is worth telling; takes it.
    pub(super) fn raise(&mut self, now: Option<Instant>, rtt: Duration) -> bool {
        let (left, room) = (self.left(), self.account.room());
        self.judge(left, room, now, rtt);
        let gain = (self.freed + self.window).saturating_sub(self.limit).min(room);
        let raise = gain >= TELL.min(self.window / 4) || gain > 0 && left < ENOUGH.min(self.window / 2);
        if raise {
            self.account.hold(gain);
            self.limit += gain;
        }
        raise
    }

    fn judge(&mut self, left: u64, room: u64, now: Option<Instant>, rtt: Duration) {
        if self.account.is_asked_to_shrink() {
            self.window = (self.window / 2).max(self.least);
            return;
        }
        let mut grow = left < self.window / 4;
        if let Some(now) = now {
            let (since, from) = *self.judged.get_or_insert((now, 0));
            let (elapsed, used) = (now.saturating_duration_since(since), self.freed - from);
            if used >= self.window / 2 {
                // Ahead of what one stream may get.
                grow |= is_too_small(self.window, used, elapsed, rtt * 2);
            } else if elapsed >= WATCH && !grow {
                self.window = (self.window / 2).max(self.least);
            }
            if used >= self.window / 2 || elapsed >= WATCH {
                self.judged = Some((now, self.freed));
            }
        }
        if grow {
            // What the window has already may not all be told yet.
            let more = room.saturating_sub((self.freed + self.window).saturating_sub(self.limit));
            let times = if self.window < SMALL { 3 } else { 1 };
            self.window = (self.window + (self.window * times).min(more)).min(self.most);
        }
    }

    /// How much more a stream's window may grow. All together leave a quarter of what the link has for those that are new.
    pub(super) fn growth(&self) -> u64 {
        (self.credit() / 4 * 3).saturating_sub(ENOUGH + self.grown)
    }

    /// What one stream's window is beyond its first size has changed.
    pub(super) fn grow(&mut self, before: u64, after: u64) {
        self.grown = self.grown - before + after;
    }

    /// Whether more is unread than small pieces of big buffers may be kept for.
    pub(super) fn is_full(&self) -> bool {
        self.buffered() > PINNED
    }

    /// The peer can send nothing any more: only what was not read yet is held.
    pub(super) fn close(&mut self) {
        // A peer that sent more than it may was closed for that, and what it sent may still be read.
        match self.account.held().checked_sub(self.buffered()) {
            Some(more) => self.account.release(more),
            None => self.account.hold(self.buffered() - self.account.held()),
        }
        self.account.retire();
    }

    pub(super) fn total(&self) -> u64 {
        self.sent
    }

    /// Bytes that came and were not read.
    pub(super) fn buffered(&self) -> u64 {
        self.sent - self.freed
    }

    /// Bytes that the peer may have on its way or unread here at the moment.
    pub(super) fn credit(&self) -> u64 {
        self.account.held()
    }

    pub(super) fn window(&self) -> u64 {
        self.window
    }

    #[cfg(test)]
    pub(super) fn grown(&self) -> u64 {
        self.grown
    }
}

/// Whether a window of which `used` were used in the time elapsed holds the peer up: all of it would last less than two round
/// trips.
pub(super) fn is_too_small(window: u64, used: u64, elapsed: Duration, rtt: Duration) -> bool {
    let product = |time: Duration, bytes: u64| time.as_micros().saturating_mul(bytes.into());
    product(elapsed, window) <= 2 * product(rtt.max(SOON), used)
}

/// The least that counts as a round trip: on a shorter way bytes rather wait for programs, which have to get a processor.
const SOON: Duration = Duration::from_millis(10);

/// Unread bytes up to which they are kept in the buffers they came in, which may be up to four times as big.
const PINNED: u64 = 2 << 20;
