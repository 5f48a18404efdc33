//! One carrier between two ends: bytes that take their time, and the ways in which it can die.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;
use kubetether_wire::FrameReader;

/// How long a driver waits for the agent's hello.
const HELLO: Duration = Duration::from_secs(5);

/// One direction of a carrier.
#[derive(Debug)]
pub(crate) struct Lane {
    /// What is under way, and when it arrives.
    queue: VecDeque<(Instant, Bytes)>,
    /// Bytes under way.
    under_way: usize,
    /// How long bytes take.
    pub(crate) delay: Duration,
    /// Bytes per second that get through; 0: any number.
    pub(crate) rate: u64,
    /// When the last byte will have been put on the line.
    free_at: Instant,
    /// Nothing arrives before this.
    pub(crate) stuck_until: Instant,
    /// Most bytes that arrive at once.
    pub(crate) chunk: usize,
    /// Bytes that went in so far.
    pub(crate) passed: u64,
    /// The carrier breaks when so many bytes went in.
    pub(crate) cut_at: Option<u64>,
}

/// Bytes that a sender may have under way: what socket buffers hold.
const CAPACITY: usize = 256 << 10;

impl Lane {
    fn new(now: Instant, path: Path) -> Self {
        Self {
            queue: VecDeque::new(),
            under_way: 0,
            delay: path.delay,
            rate: 0,
            free_at: now,
            stuck_until: now,
            chunk: path.chunk,
            passed: 0,
            cut_at: None,
        }
    }

    /// Whether the sender may put something in.
    pub(crate) fn has_room(&self) -> bool {
        self.under_way < CAPACITY
    }

    /// Takes bytes of the sender; `false` when that was too many and the carrier breaks.
    pub(crate) fn push(&mut self, mut bytes: Bytes, now: Instant) -> bool {
        let room = self.cut_at.map_or(u64::MAX, |cut| cut.saturating_sub(self.passed));
        let whole = bytes.len() as u64 <= room;
        bytes.truncate(usize::try_from(room).unwrap_or(usize::MAX));
        self.passed += bytes.len() as u64;
        self.under_way += bytes.len();
        let line =
            Duration::from_micros((bytes.len() as u64 * 1_000_000).checked_div(self.rate).unwrap_or(0));
        self.free_at = self.free_at.max(now) + line;
        // Bytes do not overtake each other, even when the delay has become shorter.
        let last = self.queue.back().map_or(now, |(at, _)| *at);
        let at = last.max(self.free_at + self.delay);
        while !bytes.is_empty() {
            self.queue.push_back((at, bytes.split_to(self.chunk.min(bytes.len()))));
        }
        whole
    }

    /// What has arrived.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<Bytes> {
        if self.next_at()? > now {
            return None;
        }
        let (_, bytes) = self.queue.pop_front()?;
        self.under_way -= bytes.len();
        Some(bytes)
    }

    /// When the next bytes arrive.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.queue.front().map(|(at, _)| (*at).max(self.stuck_until))
    }

    /// When the last bytes that are under way arrive.
    fn last_at(&self) -> Option<Instant> {
        self.queue.back().map(|(at, _)| (*at).max(self.stuck_until))
    }

    /// What is under way is lost.
    pub(crate) fn drop_all(&mut self) {
        self.queue.clear();
        self.under_way = 0;
    }
}

/// How carriers are at first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Path {
    /// How long bytes take.
    pub(crate) delay: Duration,
    /// Most bytes that arrive at once.
    pub(crate) chunk: usize,
}

/// How a carrier dies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Break {
    /// Whether what is under way still arrives, by the sender.
    pub(crate) keep: [bool; 2],
    /// When each end learns of it; never: only by hearing nothing.
    pub(crate) told: [Option<Duration>; 2],
}

const NOW: Option<Duration> = Some(Duration::ZERO);
const LATER: Option<Duration> = Some(Duration::from_millis(40));

/// The ways to die: both ends know at once, one before the other, or one never but by silence.
pub(crate) const BREAKS: [Break; 6] = [
    Break { keep: [true, true], told: [NOW, NOW] },
    Break { keep: [true, false], told: [NOW, LATER] },
    Break { keep: [false, true], told: [LATER, NOW] },
    Break { keep: [false, true], told: [NOW, None] },
    Break { keep: [true, false], told: [None, NOW] },
    Break { keep: [true, true], told: [None, None] },
];

/// The agent's side of a carrier before and after the client's hello.
#[derive(Debug)]
pub(crate) enum Door {
    /// The hello is not whole yet.
    Waiting(FrameReader),
    /// It belongs to the agent's link.
    Joined,
    /// It was turned away.
    Closed,
}

/// One carrier.
#[derive(Debug)]
pub(crate) struct Wire {
    /// By the end that sends.
    pub(crate) lanes: [Lane; 2],
    pub(crate) door: Door,
    /// Nothing goes in any more.
    pub(crate) broken: bool,
    /// When each end is told that it is over.
    pub(crate) told_at: [Option<Instant>; 2],
    /// When the client gives up to wait for the agent's hello.
    pub(crate) hello_by: Option<Instant>,
    /// Which ends are done with it.
    pub(crate) done: [bool; 2],
}

impl Wire {
    pub(crate) fn new(now: Instant, path: Path) -> Self {
        Self {
            lanes: [Lane::new(now, path), Lane::new(now, path)],
            door: Door::Waiting(FrameReader::default()),
            broken: false,
            told_at: [None; 2],
            hello_by: Some(now + HELLO),
            done: [false; 2],
        }
    }

    /// It dies.
    pub(crate) fn shatter(&mut self, how: Break, now: Instant) {
        if std::mem::replace(&mut self.broken, true) {
            return;
        }
        for end in [0, 1] {
            if !how.keep[end] {
                self.lanes[end].drop_all();
            }
            self.told_at[end] = how.told[end].map(|after| now + after);
        }
    }

    /// An end closes it in order: the other one learns it behind the last bytes.
    pub(crate) fn close(&mut self, by: usize, now: Instant) {
        self.done[by] = true;
        if std::mem::replace(&mut self.broken, true) {
            return;
        }
        let lane = &self.lanes[by];
        self.told_at[1 - by].get_or_insert_with(|| lane.last_at().unwrap_or(now + lane.delay));
    }

    /// When an end learns that it is over.
    pub(crate) fn over_at(&self, end: usize) -> Option<Instant> {
        self.told_at[end].into_iter().chain(self.hello_by.filter(|_| end == 0)).min()
    }

    /// When something happens on it next that one of the ends that are awake sees.
    pub(crate) fn next_at(&self, awake: [bool; 2]) -> Option<Instant> {
        let sees = |end: &usize| awake[*end] && !self.done[*end];
        let ends = || [0, 1].into_iter().filter(sees);
        let arrivals = ends().filter_map(|end| self.lanes[1 - end].next_at());
        arrivals.chain(ends().filter_map(|end| self.over_at(end))).min()
    }
}
