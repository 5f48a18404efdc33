use crate::ProtocolError;

/// Link-wide credits.
///
/// What the peer may have on its way or unread here is bounded by the link's window. Streams whose readers have stopped are
/// *parked*: their bytes do not count any more, so the others go on, until `parked_most` is reached. So the bytes held are at
/// most the link's window and `parked_most`, and N stopped readers hold up the others only when together they hold more than
/// the latter.
#[derive(Debug)]
pub(super) struct LinkReceive {
    window: u64,
    parked_most: u64,
    /// Told to the peer.
    limit: u64,
    /// Sum of the streams' bytes that the peer has sent.
    sent: u64,
    /// Sum of the bytes that were read or thrown away.
    freed: u64,
    parked: u64,
}

impl LinkReceive {
    pub(super) fn new(window: u64, parked_most: u64) -> Self {
        Self { window, parked_most, limit: window, sent: 0, freed: 0, parked: 0 }
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
    }

    /// Whether the streams hold so much that it is worth looking for readers that have stopped.
    pub(super) fn is_tight(&self) -> bool {
        (self.sent - self.freed).saturating_sub(self.parked) > self.window / 2
    }

    /// How many bytes more can be parked.
    pub(super) fn parking(&self) -> u64 {
        self.parked_most.saturating_sub(self.parked)
    }

    /// Whether so much is parked that streams should not get bigger windows.
    pub(super) fn is_crowded(&self) -> bool {
        self.parked > self.parked_most / 2
    }

    pub(super) fn park(&mut self, bytes: u64) {
        self.parked += bytes;
    }

    pub(super) fn unpark(&mut self, bytes: u64) {
        self.parked -= bytes;
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// Whether a new limit is worth telling; takes it.
    pub(super) fn raise(&mut self) -> bool {
        let limit = self.freed + self.parked + self.window;
        let raise = limit >= self.limit + self.window / 4;
        if raise {
            self.limit = limit;
        }
        raise
    }

    pub(super) fn total(&self) -> u64 {
        self.sent
    }

    pub(super) fn buffered(&self) -> u64 {
        self.sent - self.freed
    }
}
