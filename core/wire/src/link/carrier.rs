use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{FrameReader, Goodbye, Refusal, code::ResetCode, config::LinkConfig};

/// A frame that is kept until the peer's link holds it, and is sent again when its carrier is lost.
#[derive(Debug)]
pub(super) enum Retained {
    Open {
        stream: u64,
        fields: Bytes,
    },
    Opened(u64),
    Refuse {
        stream: u64,
        refusal: Box<Refusal>,
    },
    /// The limit is looked up when it is sent: the newest is the best.
    Credit(u64),
    Fin {
        stream: u64,
        end: u64,
    },
    Reset {
        stream: u64,
        code: ResetCode,
        end: u64,
        deliver: u64,
    },
    Data {
        stream: u64,
        offset: u64,
        bytes: Bytes,
    },
}

/// One carrier as an end sees it.
#[derive(Debug)]
pub(super) struct Carrier {
    pub(super) reader: FrameReader,
    /// The peer has said hello.
    pub(super) up: bool,
    /// Our hello is out.
    pub(super) greeted: bool,
    /// The last frame to send here.
    pub(super) farewell: Option<Goodbye>,
    /// The farewell is out: the carrier is to be closed.
    pub(super) finished: bool,
    /// A notice that this end is leaving waits to be sent.
    pub(super) notice: bool,

    /// Sent here, not acknowledged.
    pub(super) retained: VecDeque<Retained>,
    /// How many frames the peer has acknowledged.
    pub(super) acknowledged: u64,

    /// Frames to acknowledge that came here.
    pub(super) received: u64,
    /// As many of them were acknowledged.
    pub(super) told: u64,
    /// Bytes of streams that came since.
    pub(super) untold_bytes: u64,
    /// When to acknowledge at the latest.
    pub(super) ack_at: Option<Instant>,
    /// It stands in the queue of carriers to acknowledge.
    pub(super) ack_due: bool,

    pub(super) last_heard: Instant,
    /// Nothing for this long: it is dead.
    pub(super) silence: Duration,
    pub(super) ping_at: Instant,
    pub(super) ping_due: bool,
    /// The ping that was not answered yet.
    pub(super) ping: Option<(u64, Instant)>,
    pub(super) next_token: u64,
    /// The token to answer; of several pings the last.
    pub(super) pong: Option<u64>,
    pub(super) rtt: Option<Duration>,
}

impl Carrier {
    pub(super) fn new(config: &LinkConfig, reader: FrameReader, now: Instant) -> Self {
        Self {
            reader,
            up: false,
            greeted: false,
            farewell: None,
            finished: false,
            notice: false,
            retained: VecDeque::new(),
            acknowledged: 0,
            received: 0,
            told: 0,
            untold_bytes: 0,
            ack_at: None,
            ack_due: false,
            last_heard: now,
            silence: config.silence,
            ping_at: now + config.heartbeat,
            ping_due: false,
            ping: None,
            next_token: 0,
            pong: None,
            rtt: None,
        }
    }

    /// The peer has said hello, and that it pings every `heartbeat`. A first ping measures the round trip.
    pub(super) fn greet(&mut self, config: &LinkConfig, heartbeat: Duration, now: Instant) {
        self.up = true;
        // Believed within bounds: a carrier must not be taken for alive as long as the peer likes.
        let heartbeat = heartbeat.min(config.silence.saturating_mul(2));
        self.silence = config.silence.max(heartbeat.mul_f32(2.5));
        self.last_heard = now;
        self.ping_due = true;
    }

    /// When the carrier is to be taken for dead.
    pub(super) fn dead_at(&self) -> Instant {
        self.last_heard + self.silence
    }

    /// The answer to a ping came.
    pub(super) fn pong(&mut self, token: u64, now: Instant) {
        // Of several pings only the last may be answered: an answer to a later one ends the wait, without a sample.
        let Some((expected, sent)) = self.ping.take_if(|(expected, _)| *expected <= token) else {
            return;
        };
        if token != expected {
            return;
        }
        let sample = now.saturating_duration_since(sent);
        // Smoothed as TCP does it: an eighth of the new to seven of the old.
        self.rtt = Some(self.rtt.map_or(sample, |old| (old * 7 + sample) / 8));
    }

    /// Whether frames of this carrier alone wait to be sent.
    pub(super) fn wants(&self) -> bool {
        !self.finished
            && (!self.greeted
                || self.farewell.is_some()
                || self.up && (self.pong.is_some() || self.ping_due || self.notice))
    }
}
