use std::collections::BTreeMap;

use bytes::{Buf, Bytes};

use super::chunks::Chunks;
use crate::{ProtocolError, code::ResetCode};

/// The receiving direction of a stream: puts bytes in order and counts them. Bytes are counted by their highest offset, so
/// that both ends agree about the credits whatever came twice or not at all.
#[derive(Debug)]
pub(super) struct Recv {
    /// In order, not read yet.
    queue: Chunks,
    /// Behind a gap, by offset; the segments do not overlap.
    apart: BTreeMap<u64, Bytes>,
    /// When `apart` has this many segments, neighbours are merged.
    merge_at: usize,
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
    /// This end cut the stream: what its reader is told.
    cut_here: Option<ResetCode>,
    /// A reader waits.
    waiting: bool,
    /// Everything that was here was read since the last limit was told.
    drained: bool,
    /// Bytes that do not count for the link's window, since the reader has stopped.
    parked: u64,
    /// How much was read at the last look at stalled streams, if bytes were waiting then.
    looked: Option<u64>,
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

/// Segments behind gaps that a peer may make one stream hold after merging. Gaps come from carriers that lag; there are few
/// carriers, and each DATA frame of ours but the last is full.
const MAX_APART: usize = 4096;
/// Neighbours are merged up to this size.
const MERGED: usize = 16 << 10;

impl Recv {
    pub(super) fn new(window: u64) -> Self {
        Self {
            queue: Chunks::default(),
            apart: BTreeMap::new(),
            merge_at: 64,
            read: 0,
            highest: 0,
            limit: window,
            window,
            end: None,
            fin: false,
            cut: None,
            discard: false,
            cut_here: None,
            waiting: false,
            drained: false,
            parked: 0,
            looked: None,
        }
    }

    /// Takes bytes of the peer.
    pub(super) fn data(&mut self, offset: u64, mut bytes: Bytes) -> Result<Counted, ProtocolError> {
        let mut counted = self.raise(offset + bytes.len() as u64)?;
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
            self.set_apart(offset, bytes)?;
            return Ok(counted);
        }
        self.queue.push(bytes);
        while let Some(segment) = self.apart.first_entry() {
            let (start, next) = (*segment.key(), self.read + self.queue.len() as u64);
            if start > next {
                break;
            }
            let mut bytes = segment.remove();
            let known = (next - start).min(bytes.len() as u64);
            bytes.advance(known as usize);
            if !bytes.is_empty() {
                self.queue.push(bytes);
            }
        }
        Ok(counted)
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
            self.apart.clear();
        }
    }

    /// This end cut the stream; follow with [`discard`](Self::discard).
    pub(super) fn cut_here(&mut self, code: ResetCode) {
        self.cut_here.get_or_insert(code);
    }

    /// Nobody reads from now on. Returns the bytes that are free by it.
    pub(super) fn discard(&mut self) -> u64 {
        self.discard = true;
        self.queue.clear();
        self.apart.clear();
        self.skip_to(self.highest)
    }

    /// Takes at most `max` bytes in order.
    pub(super) fn take(&mut self, max: usize) -> Taken {
        if let Some(code) = self.cut_here {
            return Taken::Cut(code);
        }
        if let Some(bytes) = self.queue.pop(max) {
            self.read += bytes.len() as u64;
            self.drained |= self.queue.is_empty();
            return Taken::Chunk(bytes);
        }
        match self.cut {
            _ if self.fin && self.end == Some(self.read) => Taken::End,
            Some((code, deliver)) if self.read >= deliver => Taken::Cut(code),
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

    /// A new limit to tell the peer, when it is worth it: half of the window is used. The window grows towards `most` while
    /// the peer uses it up and the reader keeps up.
    pub(super) fn new_limit(&mut self, most: u64) -> Option<u64> {
        if self.end.is_some() || self.read + self.window < self.limit + self.window / 2 {
            return None;
        }
        let used_up = self.limit - self.highest < self.window / 2;
        if std::mem::take(&mut self.drained) && used_up && self.window < most {
            self.window = (self.window * 2).min(most);
        }
        self.limit = self.read + self.window;
        Some(self.limit)
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// Whether the peer has told how many bytes there are.
    pub(super) fn is_settled(&self) -> bool {
        self.end.is_some()
    }

    pub(super) fn is_cut(&self) -> Option<ResetCode> {
        self.cut.map(|(code, _)| code)
    }

    /// Bytes that are here and not read.
    pub(super) fn buffered(&self) -> u64 {
        let apart = self.apart.values().map(|bytes| bytes.len() as u64).sum::<u64>();
        self.queue.len() as u64 + apart
    }

    /// For a look at stalled streams, some time after the last: bytes beyond those parked, if at the reader's pace since
    /// then they will be here for four times as long again.
    pub(super) fn stalled(&mut self) -> u64 {
        if self.queue.is_empty() {
            self.looked = None;
            return 0;
        }
        let buffered = self.buffered();
        match self.looked.replace(self.read) {
            Some(looked) if (self.read - looked) * 4 < buffered => buffered - self.parked.min(buffered),
            _ => 0,
        }
    }

    /// Parks `bytes` more. The memory is cut to size: the bytes may stay for long.
    pub(super) fn park(&mut self, bytes: u64) {
        self.parked += bytes;
        self.queue.compact();
        for segment in self.apart.values_mut() {
            *segment = Bytes::copy_from_slice(segment);
        }
    }

    /// `bytes` were read or thrown away; returns how many of them were parked.
    pub(super) fn unpark(&mut self, bytes: u64) -> u64 {
        let parked = self.parked.min(bytes);
        self.parked -= parked;
        parked
    }

    /// The offset behind the bytes in order.
    fn next(&self) -> u64 {
        self.read + self.queue.len() as u64
    }

    fn raise(&mut self, highest: u64) -> Result<Counted, ProtocolError> {
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
        let counted = self.raise(end)?;
        self.end = Some(end);
        Ok(counted)
    }

    fn cut_at(&mut self, code: ResetCode, deliver: u64) -> u64 {
        let deliver = deliver.max(self.next());
        self.cut = Some((code, deliver));
        self.apart.split_off(&deliver);
        if let Some(mut last) = self.apart.last_entry() {
            let keep = deliver - *last.key();
            last.get_mut().truncate(usize::try_from(keep).unwrap_or(usize::MAX));
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

    /// Keeps bytes that came before their time.
    fn set_apart(&mut self, mut start: u64, mut bytes: Bytes) -> Result<(), ProtocolError> {
        let end = start + bytes.len() as u64;
        if let Some((before, known)) = self.apart.range(..=start).next_back() {
            let known = (before + known.len() as u64).saturating_sub(start).min(bytes.len() as u64);
            bytes.advance(known as usize);
            start += known;
        }
        while start < end {
            let Some((&behind, known)) = self.apart.range(start..end).next() else {
                self.insert_apart(start, bytes);
                break;
            };
            let behind_end = behind + known.len() as u64;
            if behind > start {
                self.insert_apart(start, bytes.slice(..(behind - start) as usize));
            }
            bytes.advance((behind_end.min(end) - start) as usize);
            start = behind_end;
        }
        if self.apart.len() >= self.merge_at {
            self.merge();
            self.merge_at = (self.apart.len() * 2).max(64);
            if self.apart.len() > MAX_APART {
                return Err(ProtocolError::Rule("a stream came in too many pieces"));
            }
        }
        Ok(())
    }

    fn insert_apart(&mut self, start: u64, bytes: Bytes) {
        let small = bytes.len() <= 1024;
        self.apart.insert(start, if small { Bytes::copy_from_slice(&bytes) } else { bytes });
    }

    /// Joins neighbours that are small.
    fn merge(&mut self) {
        let mut merged: BTreeMap<u64, Bytes> = BTreeMap::new();
        let mut group: Option<(u64, Vec<u8>)> = None;
        for (start, bytes) in std::mem::take(&mut self.apart) {
            match &mut group {
                Some((first, joined))
                    if *first + joined.len() as u64 == start && joined.len() + bytes.len() <= MERGED =>
                {
                    joined.extend_from_slice(&bytes);
                }
                _ => {
                    let done = group.replace((start, bytes.to_vec()));
                    merged.extend(done.map(|(first, joined)| (first, joined.into())));
                }
            }
        }
        merged.extend(group.map(|(first, joined)| (first, joined.into())));
        self.apart = merged;
    }
}

#[cfg(test)]
mod tests;
