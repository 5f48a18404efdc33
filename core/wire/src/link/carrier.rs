use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{datagrams::Sending, pace::Pace, retire::Leaving};
use crate::{FrameReader, Goodbye, Refusal, code::ResetCode, config::LinkConfig};

/// A frame that is kept until the peer's link holds it, and is sent again when its carrier is lost.
#[derive(Debug, Clone)]
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

impl Retained {
    /// The stream that it opens.
    pub(super) fn opens(&self) -> Option<u64> {
        if let Self::Open { stream, .. } = self { Some(*stream) } else { None }
    }
}

/// Frames after which they are acknowledged at once.
const ACK_FRAMES: u64 = 256;
/// Bytes of streams after which they are acknowledged at once: at least and at most.
const ACK_BYTES: (u64, u64) = (8 << 10, 1 << 20);
/// How often bulk is to be acknowledged: between these.
const ACK_PACE: (Duration, Duration) = (Duration::from_millis(4), Duration::from_millis(12));
/// So many in a row must be too soon before more bytes are acknowledged at once: whoever sends needs several of them within its
/// window, which grows meanwhile.
const ACK_QUICK: u32 = 8;
/// How long an acknowledgement may wait for more to acknowledge.
const ACK_DELAY: Duration = Duration::from_millis(10);

/// One carrier as an end sees it.
#[derive(Debug)]
pub(super) struct Carrier {
    pub(super) reader: FrameReader,
    /// The peer has said hello.
    pub(super) up: bool,
    /// Our hello is out.
    pub(super) greeted: bool,
    /// The client's hello has a proof in place of the secret, and so must the agent's have.
    pub(super) proven: bool,
    /// The last frame to send here.
    pub(super) farewell: Option<Goodbye>,
    /// It is to be given up: nothing new goes here.
    pub(super) leaving: Option<Leaving>,
    /// The farewell is out: the carrier is to be closed.
    pub(super) finished: bool,
    /// A notice that this end is leaving waits to be sent.
    pub(super) notice: bool,

    /// Sent here, not acknowledged.
    pub(super) retained: VecDeque<Retained>,
    /// How many of them are DATA.
    pub(super) retained_data: usize,
    /// How many frames the peer has acknowledged.
    pub(super) acknowledged: u64,
    pub(super) pace: Pace,
    pub(super) datagrams: Sending,
    /// An answer is overdue: what is new goes on others.
    pub(super) suspect: bool,
    /// When a ping or a frame was last answered.
    pub(super) answered: Option<Instant>,
    /// Up to this number, frames were said again on others.
    pub(super) resaid: u64,

    /// Frames to acknowledge that came here.
    pub(super) received: u64,
    /// As many of them were acknowledged.
    pub(super) told: u64,
    /// Bytes of streams that came since.
    pub(super) untold_bytes: u64,
    /// When to acknowledge at the latest.
    pub(super) ack_at: Option<Instant>,
    pub(super) ack_due: bool,
    /// So many bytes are acknowledged at once.
    pub(super) ack_bytes: u64,
    /// Acknowledgements in a row that came too soon after the one before.
    quick_acks: u32,
    pub(super) acked_at: Instant,
    /// What was last acknowledged is said once more, to who pings in doubt.
    pub(super) repeat_ack: bool,

    pub(super) last_heard: Instant,
    /// Nothing was heard because this end slept; that excuse was had since something was heard.
    pub(super) excused: bool,
    /// Nothing for this long: it is dead.
    pub(super) silence: Duration,
    pub(super) ping_at: Instant,
    pub(super) ping_due: bool,
    /// The ping that was not answered yet.
    pub(super) ping: Option<(u64, Instant)>,
    pub(super) next_token: u64,
    /// By how much our clock is ahead of the peer's, as it came with what is acknowledged next, in microseconds.
    pub(super) ahead: Option<i64>,
    /// The token to answer; of several pings the last.
    pub(super) pong: Option<u64>,
    pub(super) rtt: Option<Duration>,
}

impl Carrier {
    /// One of so many.
    pub(super) fn new(config: &LinkConfig, reader: FrameReader, carriers: usize, now: Instant) -> Self {
        Self {
            reader,
            up: false,
            greeted: false,
            proven: false,
            farewell: None,
            leaving: None,
            finished: false,
            notice: false,
            retained: VecDeque::new(),
            retained_data: 0,
            acknowledged: 0,
            pace: Pace::new(carriers),
            datagrams: Sending::default(),
            suspect: false,
            answered: None,
            resaid: 0,
            received: 0,
            told: 0,
            untold_bytes: 0,
            ack_at: None,
            ack_due: false,
            ack_bytes: ACK_BYTES.0,
            quick_acks: 0,
            acked_at: now,
            repeat_ack: false,
            last_heard: now,
            excused: false,
            silence: config.silence,
            ping_at: now + config.heartbeat,
            ping_due: false,
            ping: None,
            next_token: 0,
            ahead: None,
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
        self.ping_at = now + config.heartbeat;
        self.ping_due = true;
    }

    /// When the carrier is to be taken for dead.
    pub(super) fn dead_at(&self) -> Instant {
        self.last_heard + self.silence
    }

    /// How many frames to be acknowledged were sent.
    pub(super) fn sent_frames(&self) -> u64 {
        self.acknowledged + self.retained.len() as u64
    }

    /// Frames to be acknowledged came, with so many bytes of streams.
    pub(super) fn count(&mut self, frames: u64, bytes: usize, now: Instant) {
        self.received += frames;
        self.untold_bytes += bytes as u64;
        if self.received - self.told >= ACK_FRAMES || self.untold_bytes >= self.ack_bytes {
            self.ack_due = true;
        } else if self.ack_at.is_none() {
            self.ack_at = Some(now + ACK_DELAY);
        }
    }

    /// Whether an acknowledgement of little waits for more.
    pub(super) fn owes_little(&self) -> bool {
        self.ack_at.is_some() && self.untold_bytes < ACK_BYTES.0
    }

    /// What came is acknowledged by this. The more comes, the more of it at once, so that it happens every few milliseconds.
    pub(super) fn tell(&mut self, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.acked_at);
        let full = self.untold_bytes >= self.ack_bytes;
        self.quick_acks = if full && elapsed < ACK_PACE.0 { self.quick_acks + 1 } else { 0 };
        if self.quick_acks >= ACK_QUICK {
            (self.ack_bytes, self.quick_acks) = ((self.ack_bytes * 2).min(ACK_BYTES.1), 0);
        } else if !full || elapsed > ACK_PACE.1 {
            self.ack_bytes = (self.ack_bytes / 2).max(ACK_BYTES.0);
        }
        (self.told, self.untold_bytes) = (self.received, 0);
        (self.ack_at, self.ack_due) = (None, false);
        (self.acked_at, self.repeat_ack) = (now, true);
        self.received
    }

    /// The token of a ping that is sent now.
    pub(super) fn ask(&mut self, now: Instant) -> u64 {
        let token = self.next_token;
        self.next_token += 1;
        self.ping.get_or_insert((token, now));
        token
    }

    /// Bytes of streams and datagrams on their way.
    pub(super) fn under_way(&self) -> u64 {
        self.pace.under_way() + self.datagrams.under_way()
    }

    /// The answer to a ping came. Returns what it took.
    pub(super) fn pong(&mut self, token: u64, now: Instant) -> Option<Duration> {
        self.answered(now);
        // Of several pings only the last may be answered: an answer to a later one ends the wait, without a sample.
        let (expected, sent) = self.ping.take_if(|(expected, _)| *expected <= token)?;
        if token != expected {
            return None;
        }
        let sample = now.saturating_duration_since(sent);
        // Smoothed as TCP does it: an eighth of the new to seven of the old.
        self.rtt = Some(self.rtt.map_or(sample, |old| (old * 7 + sample) / 8));
        Some(sample)
    }

    /// Whether something waits to be told.
    fn notices(&self) -> bool {
        self.notice || self.leaving.as_ref().is_some_and(|leaving| leaving.notice)
    }

    /// Whether frames of this carrier alone wait to be sent.
    pub(super) fn wants(&self) -> bool {
        !self.finished
            && (!self.greeted
                || self.farewell.is_some()
                || self.up
                    && (self.pong.is_some()
                        || self.ping_due
                        || self.notices()
                        || self.ack_due
                        || self.datagrams.wants()))
    }
}
