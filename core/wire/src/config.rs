use std::time::Duration;

use crate::{Budget, code::Role};

/// How an end of a link behaves. The default serves the common case; both ends need not agree on any of it.
///
/// An end holds at most [`link_window`](Self::link_window) bytes that it received, [`queued`](Self::queued) that it is to send,
/// and [`unacknowledged`](Self::unacknowledged) that it has sent, and all three, for all links that share it, at most what
/// [`budget`](Self::budget) says. Datagrams that wait, either way, hold at most 4 MiB of the budget; one association at most
/// 256 of them and 256 KiB in each direction. Beside that: 64 KiB of calls' bytes to send, and up to 6 MiB of received buffers that are kept
/// alive by parts of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkConfig {
    pub(crate) role: Role,
    pub(crate) software: String,
    pub(crate) who: String,
    pub(crate) heartbeat: Duration,
    pub(crate) silence: Duration,
    pub(crate) grace: Duration,
    pub(crate) initial_window: u64,
    pub(crate) stream_window: u64,
    pub(crate) link_window: u64,
    pub(crate) send_buffer: usize,
    pub(crate) queued: usize,
    pub(crate) unacknowledged: u64,
    pub(crate) budget: Budget,
    pub(crate) max_streams: u32,
    pub(crate) max_carriers: u32,
}

impl LinkConfig {
    /// The defaults for one role.
    pub fn new(role: Role) -> Self {
        Self {
            role,
            software: env!("CARGO_PKG_VERSION").to_owned(),
            who: String::new(),
            heartbeat: Duration::from_secs(2),
            silence: Duration::from_secs(5),
            grace: Duration::from_secs(60),
            initial_window: 128 << 10,
            stream_window: 40 << 20,
            link_window: 48 << 20,
            send_buffer: 256 << 10,
            queued: 8 << 20,
            unacknowledged: 40 << 20,
            budget: Budget::new(96 << 20),
            max_streams: 16_384,
            max_carriers: 16,
        }
    }

    /// The software version told to the peer. Default: this crate's.
    pub fn software(mut self, version: impl Into<String>) -> Self {
        self.software = version.into();
        self
    }

    /// Who this is, for people (`ann@box`). Default: empty.
    pub fn who(mut self, who: impl Into<String>) -> Self {
        self.who = who.into();
        self
    }

    /// How often each carrier is pinged. Default 2 s; 10 ms to one minute. The peer believes it up to twice its own limit of
    /// [`silence`](Self::silence).
    pub fn heartbeat(mut self, interval: Duration) -> Self {
        self.heartbeat = interval.clamp(Duration::from_millis(10), Duration::from_secs(60));
        self
    }

    /// A carrier on which nothing came for this long is dead. Default 5 s; 20 ms to ten minutes; never less than two and a
    /// half of the peer's heartbeats.
    pub fn silence(mut self, limit: Duration) -> Self {
        self.silence = limit.clamp(Duration::from_millis(20), Duration::from_secs(600));
        self
    }

    /// How long streams outlive the last carrier. Default 60 s.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Received bytes one stream may hold: `initial` at first, growing to `most` by need, which is two round trips' bytes, while
    /// its reader keeps up. Default 128 KiB and 40 MiB; at least 16 KiB. All streams together grow by at most three quarters of the
    /// link's window.
    pub fn stream_window(mut self, initial: u64, most: u64) -> Self {
        self.initial_window = initial.max(16 << 10);
        self.stream_window = most.max(self.initial_window);
        self
    }

    /// Received bytes all streams together may hold at most; the peer is given credit for 512 KiB at first, and for more as it
    /// uses that up. Default 48 MiB; at least 64 KiB. Readers that have stopped hold up others when this is full of their
    /// bytes: with the defaults more than 90 of them, each with its first window full.
    pub fn link_window(mut self, bytes: u64) -> Self {
        self.link_window = bytes.max(64 << 10);
        self
    }

    /// Written bytes one stream holds before they are sent. Default 256 KiB; at least 16 KiB.
    pub fn send_buffer(mut self, bytes: usize) -> Self {
        self.send_buffer = bytes.max(16 << 10);
        self
    }

    /// Written bytes all streams together hold before they are sent; one stream at most half of what is left of it, so that
    /// those that cannot send do not keep others from writing. Default 8 MiB; at least 16 KiB. While no carrier is up, all
    /// together hold at most 256 KiB and one at most 16 KiB: nobody is to believe that more is on its way.
    pub fn queued(mut self, bytes: usize) -> Self {
        self.queued = bytes.max(16 << 10);
        self
    }

    /// Sent bytes that may wait for the peer's acknowledgement, with what holding them costs; beyond it nothing new is sent.
    /// Default 40 MiB; at least 1 MiB.
    pub fn unacknowledged(mut self, bytes: u64) -> Self {
        self.unacknowledged = bytes.max(1 << 20);
        self
    }

    /// The memory that all links with clones of this configuration share with whoever else has the budget. Default: one of
    /// 96 MiB of its own.
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }

    /// Streams open at once that the peer may have opened, and that are opened here. Default 16,384; at least 1.
    pub fn max_streams(mut self, streams: u32) -> Self {
        self.max_streams = streams.max(1);
        self
    }

    /// Carriers of one link at once. Default 16; at least 1.
    pub fn max_carriers(mut self, carriers: u32) -> Self {
        self.max_carriers = carriers.max(1);
        self
    }

    /// The role of this end.
    pub fn role(&self) -> Role {
        self.role
    }
}
