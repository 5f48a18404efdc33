//! What can happen to two ends and their carriers, as four bytes each: random ones, shrunk ones, those of a corpus.

use std::time::Duration;

use crate::support::lane::{BREAKS, Break};

/// One thing that happens. `pick` chooses among the streams or carriers that there are.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Op {
    /// Time passes.
    Pass(Duration),
    /// An end opens a stream.
    Open {
        end: usize,
    },
    /// The client makes a call, which the agent answers by itself.
    Call,
    /// An end accepts a stream that was offered to it, or refuses it.
    Answer {
        end: usize,
        pick: u8,
        accept: bool,
    },
    /// An end writes once.
    Write {
        end: usize,
        pick: u8,
        length: usize,
    },
    /// An end writes so much more as it is told that there is room.
    Flow {
        end: usize,
        pick: u8,
        length: usize,
    },
    /// An end reads once.
    Read {
        end: usize,
        pick: u8,
        most: usize,
    },
    /// From now on an end reads as it is told that there is something, or no longer.
    Drain {
        end: usize,
        pick: u8,
        reads: bool,
    },
    /// An end is done with its direction, or with the whole stream.
    Finish {
        end: usize,
        pick: u8,
    },
    Reset {
        end: usize,
        pick: u8,
        code: u8,
        after_data: bool,
    },
    Stop {
        end: usize,
        pick: u8,
    },
    Release {
        end: usize,
        pick: u8,
    },
    /// An end opens an association.
    Associate {
        end: usize,
    },
    /// An end sends a datagram.
    Datagram {
        end: usize,
        pick: u8,
        length: usize,
    },
    /// An end cuts an association, or is done with it.
    Dissociate {
        end: usize,
        pick: u8,
        release: bool,
    },
    /// The client keeps so many carriers up.
    Want(usize),
    /// A carrier breaks.
    Cut {
        pick: u8,
        how: Break,
    },
    /// All carriers break, and none can be made for a time.
    Blackout {
        how: Break,
        time: Duration,
    },
    /// Nothing arrives on a direction of a carrier for a time.
    Stick {
        pick: u8,
        sender: usize,
        time: Duration,
    },
    /// A direction of a carrier is so long, and lets so much through in a second (0: all there is).
    Line {
        pick: u8,
        sender: usize,
        delay: Duration,
        rate: u64,
    },
    /// How new carriers are.
    Path {
        delay: Duration,
        chunk: usize,
    },
    /// An end does nothing for a time.
    Freeze {
        end: usize,
        time: Duration,
    },
    /// An end retires a carrier.
    Retire {
        end: usize,
        pick: u8,
    },
    /// The agent's process is another one.
    Restart,
}

impl Op {
    /// Any four bytes are an operation. Zeros are the most harmless one.
    pub(crate) fn decode([kind, pick, size, bits]: [u8; 4]) -> Self {
        let end = usize::from(bits & 1);
        let how = BREAKS[usize::from(size) % BREAKS.len()];
        // From a few bytes to a few times what a window may have.
        let length = (1_usize << (size % 18)) + usize::from(size) * 3;
        let millis = |most: u64| Duration::from_millis(u64::from(size) * most / 255);
        match kind {
            0..22 => Self::Pass(millis(100)),
            22..26 => Self::Associate { end },
            26..39 => Self::Datagram { end, pick, length: length.min(65_490) },
            39 => Self::Dissociate { end, pick, release: bits & 2 != 0 },
            40..44 => Self::Pass(millis(4000)),
            44..60 => Self::Open { end },
            60..66 => Self::Call,
            66..82 => Self::Answer { end, pick, accept: bits & 0xe != 0 },
            82..112 => Self::Write { end, pick, length },
            112..128 => Self::Flow { end, pick, length: length * 2 },
            128..150 => Self::Read { end, pick, most: length },
            150..170 => Self::Drain { end, pick, reads: bits & 6 != 0 },
            170..182 => Self::Finish { end, pick },
            182..190 => Self::Reset { end, pick, code: size, after_data: bits & 2 != 0 },
            190..194 => Self::Stop { end, pick },
            194..202 => Self::Release { end, pick },
            202..208 => Self::Want(usize::from(size % 5)),
            208..222 => Self::Cut { pick, how },
            222..226 => Self::Blackout { how, time: millis(if bits & 6 == 6 { 30_000 } else { 6000 }) },
            226..236 => Self::Stick { pick, sender: end, time: millis(3000) },
            236..242 => Self::Line {
                pick,
                sender: end,
                delay: millis(300),
                rate: [0, 20_000, 125_000, 2_000_000][usize::from(bits >> 6)],
            },
            242..248 => {
                Self::Path { delay: millis(200), chunk: [usize::MAX, 1000, 37, 5][usize::from(bits >> 6)] }
            }
            248..254 => Self::Freeze { end, time: millis(if bits & 6 == 6 { 40_000 } else { 5000 }) },
            _ if bits == 0xff => Self::Restart,
            254 => Self::Retire { end, pick },
            _ => Self::Pass(millis(20)),
        }
    }

    /// All operations of some bytes.
    pub(crate) fn decode_all(bytes: &[u8]) -> Vec<Self> {
        bytes.as_chunks().0.iter().map(|four| Self::decode(*four)).collect()
    }
}
