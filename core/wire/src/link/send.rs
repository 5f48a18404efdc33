use bytes::Bytes;

use super::chunks::Chunks;
use crate::code::ResetCode;

/// The sending direction of a stream.
#[derive(Debug)]
pub(super) struct Send {
    /// Written, not sent yet.
    queue: Chunks,
    /// Bytes sent: where the next one belongs.
    next: u64,
    /// Bytes the peer lets us send.
    limit: u64,
    /// A FIN is to follow the bytes.
    fin: bool,
    fin_sent: bool,
    /// A RESET is to follow the bytes (and the FIN).
    cut: Option<ResetCode>,
    /// Whether the peer is to read what was sent before it sees the RESET.
    deliver: bool,
    cut_sent: bool,
    /// The peer (or the loss of the link) cut the stream.
    lost: Option<ResetCode>,
    /// A writer waits for room.
    waiting: bool,
}

/// What ends a direction on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Fin { end: u64 },
    Reset { code: ResetCode, end: u64, deliver: u64 },
}

impl Send {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            queue: Chunks::default(),
            next: 0,
            limit,
            fin: false,
            fin_sent: false,
            cut: None,
            deliver: false,
            cut_sent: false,
            lost: None,
            waiting: false,
        }
    }

    /// A writer waits for room.
    pub(super) fn wait(&mut self) {
        self.waiting = true;
    }

    pub(super) fn queue(&mut self) -> &mut Chunks {
        &mut self.queue
    }

    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Whether a writer waits that now has room; it is told once.
    pub(super) fn wake(&mut self, most: usize) -> bool {
        let wake = self.waiting && self.queue.len() <= most / 2;
        self.waiting &= !wake;
        wake
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.waiting
    }

    /// How many bytes more than those that are queued the peer lets us send.
    pub(super) fn credit(&self) -> u64 {
        (self.limit - self.next).saturating_sub(self.queue.len() as u64)
    }

    /// Whether a writer waits; it is told once.
    pub(super) fn wake_now(&mut self) -> bool {
        std::mem::take(&mut self.waiting)
    }

    /// Bytes that may be sent now as far as the stream is concerned.
    pub(super) fn sendable(&self) -> u64 {
        (self.queue.len() as u64).min(self.limit - self.next)
    }

    /// Whether no byte was sent yet.
    pub(super) fn is_unsent(&self) -> bool {
        self.next == 0
    }

    /// Takes the next bytes to send, all of one chunk.
    pub(super) fn take(&mut self, max: usize) -> Option<(u64, Bytes)> {
        let max = max.min(usize::try_from(self.sendable()).unwrap_or(usize::MAX));
        let bytes = self.queue.pop(max)?;
        let offset = self.next;
        self.next += bytes.len() as u64;
        Some((offset, bytes))
    }

    /// The peer lets us send up to `limit`.
    pub(super) fn raise(&mut self, limit: u64) {
        self.limit = self.limit.max(limit);
    }

    /// No more will be written.
    pub(super) fn finish(&mut self) {
        self.fin = true;
    }

    /// Cuts the stream behind what was written.
    pub(super) fn cut_after(&mut self, code: ResetCode) {
        if self.cut.is_none() {
            self.cut = Some(code);
            self.deliver = true;
        }
    }

    /// Cuts the stream now. What a FIN that is out already has promised is still delivered.
    pub(super) fn cut_now(&mut self, code: ResetCode) {
        self.queue.clear();
        self.fin = self.fin_sent;
        self.cut.get_or_insert(code);
        // One that is out has promised already.
        if !self.cut_sent {
            self.deliver = self.fin_sent;
        }
    }

    /// The peer cut the stream: nothing more is sent. The peer is told how much there was, unless it knows.
    pub(super) fn lose(&mut self, code: ResetCode) {
        self.queue.clear();
        self.lost.get_or_insert(code);
        if self.fin_sent {
            // It knows, and a cut of ours would tell it nothing.
            self.cut_sent = true;
        } else if !self.cut_sent {
            self.fin = false;
            self.cut.get_or_insert(code);
            self.deliver = false;
        }
    }

    /// The stream was refused here: the peer knows that nothing was sent.
    pub(super) fn settle(&mut self) {
        self.queue.clear();
        self.cut_sent = true;
    }

    /// The next thing to say once all bytes are sent.
    pub(super) fn ending(&mut self) -> Option<Ending> {
        if !self.queue.is_empty() || self.cut_sent {
            return None;
        }
        let end = self.next;
        if self.fin && !self.fin_sent {
            self.fin_sent = true;
            return Some(Ending::Fin { end });
        }
        let code = self.cut?;
        self.cut_sent = true;
        Some(Ending::Reset { code, end, deliver: if self.deliver { end } else { 0 } })
    }

    /// Whether the peer knows (or is being told) how many bytes there are.
    pub(super) fn is_settled(&self) -> bool {
        self.fin_sent || self.cut_sent
    }

    /// Whether anything may be written.
    pub(super) fn is_closed(&self) -> bool {
        self.fin || self.cut.is_some() || self.cut_sent
    }

    /// Whether a RESET was said (one that is to follow bytes without credit may have to wait for the peer's).
    pub(super) fn is_cut(&self) -> bool {
        self.cut_sent
    }

    /// Whether the peer needs what was sent and may not have come: it did not cut the stream, or only answered a cut of ours
    /// that promised those bytes.
    pub(super) fn owes(&self) -> bool {
        self.lost.is_none() || self.cut_sent && self.deliver
    }

    pub(super) fn lost(&self) -> Option<ResetCode> {
        self.lost
    }
}
