use crate::code::Role;

/// What the peer told about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerInfo {
    /// Its job.
    pub role: Role,
    /// Its software version, for people.
    pub software: String,
    /// Who it is, for people.
    pub who: String,
    /// The random name of its process: another one after a restart.
    pub incarnation: [u8; 16],
    /// The protocol version both speak.
    pub version: u16,
}

/// What a link has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Carriers that are up.
    pub carriers: u32,
    /// Streams that are not over, at either end.
    pub streams: u32,
    /// Bytes of streams that were sent, each counted once.
    pub sent: u64,
    /// Bytes of streams that came, each counted once.
    pub received: u64,
    /// Bytes that were queued to be sent again because their carrier was lost.
    pub resent: u64,
    /// Bytes that were sent and are not acknowledged yet, with what holding them costs.
    pub unacknowledged: u64,
    /// Bytes that were written and not sent yet.
    pub queued: u64,
    /// Bytes that came and were not read yet.
    pub buffered: u64,
    /// Bytes that the peer may have on its way or unread here at the moment; what bounds [`buffered`](Self::buffered).
    pub credit: u64,
    /// What [`credit`](Self::credit) is brought to as bytes are read: it grows and falls back by need.
    pub window: u64,
    /// Carriers that were lost while the link was open.
    pub carriers_lost: u64,
    /// Carriers that are up and have not answered for longer than usual.
    pub suspects: u32,
    /// Bytes of streams and datagrams that are on their way: what is kept small on slow lines.
    pub under_way: u64,
    /// Datagrams that were sent; whether they arrived is not known.
    pub datagrams_sent: u64,
    /// Datagrams that came.
    pub datagrams_received: u64,
    /// Datagrams that were thrown away because there was no room, before they were sent or before they were read.
    pub datagrams_dropped: u64,
    /// What the datagrams that wait hold, either way, with what holding them costs.
    pub datagrams: u64,
}
