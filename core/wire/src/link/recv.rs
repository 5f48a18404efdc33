use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes};

use super::{
    blocks::Blocks,
    chunks::Chunks,
    credit::{self, TELL, WATCH, is_too_small},
};
use crate::{ProtocolError, code::ResetCode};

/// The receiving direction of a stream: puts bytes in order and counts them. Bytes are counted by their highest offset, so
/// that both ends agree about the credits whatever came twice or not at all.
#[derive(Debug)]
pub(super) struct Recv {
    /// In order, not read yet.
    queue: Chunks,
    /// Behind a gap; none while there is no gap.
    ahead: Option<Box<Ahead>>,
    /// Bytes read (or thrown away).
    read: u64,
    /// Bytes that the peer has sent as far as is known here.
    highest: u64,
    /// Bytes that the peer may send.
    limit: u64,
    /// How far `limit` runs ahead of `read`.
    window: u64,
    /// How many bytes the peer sends in all, once it said so.
    end: Option<u64>,
    /// Whether the end is a FIN (and not a cut).
    fin: bool,
    /// The peer (or the loss of the link) cut the stream; bytes up to the offset are still read.
    cut: Option<(ResetCode, u64)>,
    /// Nobody reads: what comes is thrown away.
    discard: bool,
    /// What the reader is told from now on, whatever comes: this end cut the stream, or the reader was told of a cut before.
    last_word: Option<ResetCode>,
    /// A reader waits.
    waiting: bool,
    /// Everything that was here was read since the window was last judged.
    drained: bool,
    /// When the window was last judged, and how much had been read.
    judged: Option<(Instant, u64)>,
    /// What the link's account of grown windows has for this one.
    grown: u64,
}

/// What came before its time.
#[derive(Debug, Default)]
struct Ahead {
    /// By offset: big segments, which do not overlap.
    apart: BTreeMap<u64, Bytes>,
    /// Small ones.
    blocks: Blocks,
}

/// What a window may do at the moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tuning {
    pub(super) now: Option<Instant>,
    /// A round trip.
    pub(super) rtt: Duration,
    /// The window's first size.
    pub(super) first: u64,
    /// What it may have at most.
    pub(super) most: u64,
    /// How much more of what all may grow together is left.
    pub(super) growth: u64,
}

/// What a read gave.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Chunk(Bytes),
    Nothing,
    End,
    Cut(ResetCode),
}

/// How the link's counters change.
#[derive(Debug, Default, PartialEq, Eq)]
#[must_use]
pub(super) struct Counted {
    /// Bytes the peer has sent beyond what was known.
    pub(super) sent: u64,
    /// Bytes that nobody will read any more.
    pub(super) freed: u64,
}

/// Pieces behind a gap of up to this many bytes are copied into blocks; so the others are few.
const SMALL: usize = 4 << 10;

impl Recv {
    pub(super) fn new(window: u64) -> Self {
        Self {
            queue: Chunks::default(),
            ahead: None,
            read: 0,
            highest: 0,
            limit: window,
            window,
            end: None,
            fin: false,
            cut: None,
            discard: false,
            last_word: None,
            waiting: false,
            drained: false,
            judged: None,
            grown: 0,
        }
    }

    /// Takes bytes of the peer.
    pub(super) fn data(&mut self, offset: u64, mut bytes: Bytes) -> Result<Counted, ProtocolError> {
        let mut counted = self.reach(offset + bytes.len() as u64)?;
        if self.discard {
            counted.freed += self.skip_to(self.highest);
            return Ok(counted);
        }
        let (mut offset, mut until) = (offset, offset + bytes.len() as u64);
        if let Some((_, deliver)) = self.cut {
            until = until.min(deliver);
        }
        let next = self.next();
        if until <= next || until <= offset {
            return Ok(counted);
        }
        bytes.truncate((until - offset) as usize);
        if offset < next {
            bytes.advance((next - offset) as usize);
            offset = next;
        }
        if offset > next {
            self.ahead.get_or_insert_default().insert(offset, bytes);
            return Ok(counted);
        }
        self.queue.push(bytes);
        self.join();
        Ok(counted)
    }

    /// Moves what now is in order to the queue.
    fn join(&mut self) {
        while let Some(ahead) = &mut self.ahead {
            let next = self.read + self.queue.len() as u64;
            if next >= self.highest {
                // Also what a block still has of what was before.
                self.ahead = None;
            } else if let Some(segment) = ahead.apart.first_entry().filter(|segment| *segment.key() <= next) {
                let start = *segment.key();
                let mut bytes = segment.remove();
                bytes.advance((next - start).min(bytes.len() as u64) as usize);
                if !bytes.is_empty() {
                    self.queue.push(bytes);
                }
            } else if !ahead.blocks.is_empty()
                && let Some(bytes) = ahead.blocks.at(next)
                && let wanted = self.cut.map_or(u64::MAX, |(_, deliver)| deliver.saturating_sub(next))
                && wanted > 0
            {
                let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
                self.queue.push_slice(&bytes[..bytes.len().min(wanted)]);
            } else {
                return;
            }
        }
    }

    /// The peer's direction ends.
    pub(super) fn finish(&mut self, end: u64) -> Result<Counted, ProtocolError> {
        let mut counted = self.settle(end)?;
        // A cut that lets everything be read came behind the FIN, even if it overtook it.
        self.fin |= self.cut.is_none_or(|(_, deliver)| deliver == end);
        if self.discard {
            counted.freed += self.skip_to(self.highest);
        }
        Ok(counted)
    }

    /// The peer cut the stream: bytes up to `deliver`, and those that are here already, are still read.
    pub(super) fn reset(
        &mut self,
        code: ResetCode,
        end: u64,
        deliver: u64,
    ) -> Result<Counted, ProtocolError> {
        let mut counted = self.settle(end)?;
        if self.discard {
            counted.freed += self.skip_to(self.highest);
        } else if !self.fin && self.cut.is_none() {
            counted.freed += self.cut_at(code, deliver);
        }
        Ok(counted)
    }

    /// The link is lost: nothing more will come.
    pub(super) fn lose(&mut self, code: ResetCode) {
        let complete = self.fin && self.end == Some(self.next());
        if !complete {
            self.fin = false;
            let next = self.next();
            self.cut = Some((code, next));
            self.ahead = None;
        }
    }

    /// This end cut the stream; follow with [`discard`](Self::discard).
    pub(super) fn cut_here(&mut self, code: ResetCode) {
        self.last_word.get_or_insert(code);
    }

    /// Nobody reads from now on. Returns the bytes that are free by it.
    pub(super) fn discard(&mut self) -> u64 {
        self.discard = true;
        self.queue.clear();
        self.ahead = None;
        self.skip_to(self.highest)
    }

    /// Takes at most `max` bytes in order.
    pub(super) fn take(&mut self, max: usize) -> Taken {
        if let Some(code) = self.last_word {
            return Taken::Cut(code);
        }
        if let Some(bytes) = self.queue.pop(max) {
            self.read += bytes.len() as u64;
            self.drained |= self.queue.is_empty();
            return Taken::Chunk(bytes);
        }
        match self.cut {
            _ if self.fin && self.end == Some(self.read) => Taken::End,
            Some((code, deliver)) if self.read >= deliver => {
                // A FIN that it has overtaken may still come.
                self.last_word = Some(code);
                Taken::Cut(code)
            }
            _ => {
                self.waiting = true;
                Taken::Nothing
            }
        }
    }

    /// Whether a reader waits that now has something to see; it is told once.
    pub(super) fn wake(&mut self) -> bool {
        let something = !self.queue.is_empty()
            || self.fin && self.end == Some(self.read)
            || self.cut.is_some_and(|(_, deliver)| self.read >= deliver);
        let wake = self.waiting && something;
        self.waiting &= !wake;
        wake
    }

    /// Whether there is a new limit that is worth telling the peer: a quarter of the window is used.
    pub(super) fn raise(&mut self, tuning: &Tuning) -> bool {
        if self.end.is_some() {
            return false;
        }
        self.tune(tuning);
        let limit = self.read + self.window;
        let raise = limit >= self.limit + TELL.min(self.window / 4);
        if raise {
            self.limit = limit;
        }
        raise
    }

    /// The window doubles (grows fourfold while it is small) when it holds the peer up though the reader keeps up; one that was
    /// hardly used for a while halves.
    fn tune(&mut self, tuning: &Tuning) {
        if self.discard {
            self.window = self.window.min(tuning.first);
            return;
        }
        let Some(now) = tuning.now else {
            return;
        };
        let (since, from) = *self.judged.get_or_insert((now, 0));
        let elapsed = now.saturating_duration_since(since);
        let used = self.read - from;
        if used < self.window / 2 {
            if elapsed < WATCH {
                return;
            }
            self.window = (self.window / 2).max(tuning.first);
        } else if std::mem::take(&mut self.drained) && is_too_small(self.window, used, elapsed, tuning.rtt) {
            let times = if self.window < credit::SMALL { 3 } else { 1 };
            let more = (self.window * times).min(tuning.growth);
            self.window = (self.window + more).min(tuning.most).max(self.window);
        }
        self.judged = Some((now, self.read));
    }

    /// What the stream may hold beyond its first window changes with anything above: what it was at the last call of this,
    /// and what it is.
    pub(super) fn growth(&mut self, first: u64) -> (u64, u64) {
        let most = self.end.map_or_else(|| self.limit.max(self.read + self.window), |end| end.max(self.read));
        let grown = (most - self.read).saturating_sub(first);
        (std::mem::replace(&mut self.grown, grown), grown)
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// Whether the peer has said anything about its bytes.
    pub(super) fn has_begun(&self) -> bool {
        self.highest > 0 || self.fin
    }

    /// Whether the peer has told how many bytes there are.
    pub(super) fn is_settled(&self) -> bool {
        self.end.is_some()
    }

    pub(super) fn is_cut(&self) -> Option<ResetCode> {
        self.cut.map(|(code, _)| code)
    }

    /// The offset behind the bytes in order.
    fn next(&self) -> u64 {
        self.read + self.queue.len() as u64
    }

    fn reach(&mut self, highest: u64) -> Result<Counted, ProtocolError> {
        if highest > self.limit {
            return Err(ProtocolError::Rule("more bytes came on a stream than it has credit for"));
        }
        if self.end.is_some_and(|end| highest > end) {
            return Err(ProtocolError::Rule("bytes came behind the end of a stream"));
        }
        let sent = highest.saturating_sub(self.highest);
        self.highest += sent;
        Ok(Counted { sent, freed: 0 })
    }

    fn settle(&mut self, end: u64) -> Result<Counted, ProtocolError> {
        if self.end.is_some_and(|known| known != end) || end < self.highest {
            return Err(ProtocolError::Rule("a stream has two ends"));
        }
        let counted = self.reach(end)?;
        self.end = Some(end);
        Ok(counted)
    }

    fn cut_at(&mut self, code: ResetCode, deliver: u64) -> u64 {
        let deliver = deliver.max(self.next());
        self.cut = Some((code, deliver));
        if let Some(ahead) = &mut self.ahead {
            ahead.apart.split_off(&deliver);
            ahead.blocks.truncate(deliver);
            if let Some(mut last) = ahead.apart.last_entry() {
                let keep = deliver - *last.key();
                last.get_mut().truncate(usize::try_from(keep).unwrap_or(usize::MAX));
            }
        }
        // Bytes behind `deliver` are counted as read when those before it are; they are free now.
        self.highest - deliver.min(self.highest)
    }

    /// Counts everything up to `offset` as read. Returns how much that is.
    fn skip_to(&mut self, offset: u64) -> u64 {
        // After a cut, what lies behind the bytes to deliver was freed by the cut.
        let offset = self.cut.map_or(offset, |(_, deliver)| offset.min(deliver));
        let skipped = offset.saturating_sub(self.read);
        self.read += skipped;
        skipped
    }
}

impl Ahead {
    /// Keeps bytes, which begin at `start`.
    fn insert(&mut self, mut start: u64, mut bytes: Bytes) {
        let end = start + bytes.len() as u64;
        if let Some((before, known)) = self.apart.range(..=start).next_back() {
            let known = (before + known.len() as u64).saturating_sub(start).min(bytes.len() as u64);
            bytes.advance(known as usize);
            start += known;
        }
        while start < end {
            let Some((&behind, known)) = self.apart.range(start..end).next() else {
                self.keep(start, bytes);
                return;
            };
            let behind_end = behind + known.len() as u64;
            if behind > start {
                self.keep(start, bytes.slice(..(behind - start) as usize));
            }
            bytes.advance((behind_end.min(end) - start) as usize);
            start = behind_end;
        }
    }

    fn keep(&mut self, start: u64, bytes: Bytes) {
        if bytes.len() <= SMALL {
            self.blocks.insert(start, &bytes);
        } else {
            self.apart.insert(start, bytes);
        }
    }
}

#[cfg(test)]
mod tests;
