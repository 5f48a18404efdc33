//! What a command's connections tell while they go on.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::{Direction, Fault};

/// Faults that are told one by one; all are counted.
const FAULTS: usize = 200;
/// Times of answers that are remembered: 20 minutes of 50 a second.
const TIMES: usize = 60_000;

pub(super) struct Report {
    began: Instant,
    /// Threads that have not had their first answers.
    opening: AtomicU64,
    opened: AtomicU64,
    alive: AtomicU64,
    asked: AtomicU64,
    answered: AtomicU64,
    whole: [AtomicU64; 2],
    bytes: [AtomicU64; 2],
    stalled: AtomicU64,
    rest: Mutex<Rest>,
}

#[derive(Default)]
struct Rest {
    /// Microseconds, since the mark.
    times: Vec<u32>,
    last_answer: Option<Instant>,
    /// The longest time without an answer, since the mark, in milliseconds.
    gap: u128,
    faults: Vec<String>,
    fault_count: u64,
}

impl Report {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            opening: AtomicU64::default(),
            opened: AtomicU64::default(),
            alive: AtomicU64::default(),
            asked: AtomicU64::default(),
            answered: AtomicU64::default(),
            whole: Default::default(),
            bytes: Default::default(),
            stalled: AtomicU64::default(),
            rest: Mutex::default(),
        }
    }

    pub(super) fn opening(&self, threads: u64) {
        self.opening.fetch_add(threads, Ordering::AcqRel);
    }

    /// A thread's connections have all had their first answer.
    pub(super) fn open(&self) {
        self.opening.fetch_sub(1, Ordering::AcqRel);
    }

    /// An idle connection has had its first answer.
    pub(super) fn opened(&self) {
        self.opened.fetch_add(1, Ordering::Relaxed);
    }

    /// An idle connection has had its last answer and its end.
    pub(super) fn alive(&self) {
        self.alive.fetch_add(1, Ordering::Relaxed);
    }

    /// A stalled reader has got everything.
    pub(super) fn caught_up(&self) {
        self.stalled.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn asked(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn answered(&self, asked: Instant) {
        self.answered.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        let mut rest = self.rest();
        if let Some(last) = rest.last_answer.replace(now) {
            rest.gap = rest.gap.max(now.saturating_duration_since(last).as_millis());
        }
        if rest.times.len() < TIMES {
            let micros = now.saturating_duration_since(asked).as_micros();
            rest.times.push(u32::try_from(micros).unwrap_or(u32::MAX));
        }
    }

    pub(super) fn bytes(&self, direction: Direction, count: usize) {
        self.bytes[direction as usize].fetch_add(count as u64, Ordering::Relaxed);
    }

    /// A transfer has come whole and right.
    pub(super) fn whole(&self, direction: Direction) {
        self.whole[direction as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn fault(&self, fault: &Fault) {
        let at = self.began.elapsed().as_millis();
        let mut rest = self.rest();
        rest.fault_count += 1;
        if rest.faults.len() < FAULTS {
            rest.faults.push(format!("{at} {}", fault.0));
        }
    }

    /// Times of answers count from now on.
    pub(super) fn mark(&self) {
        let mut rest = self.rest();
        rest.times.clear();
        rest.gap = 0;
        rest.last_answer = Some(Instant::now());
    }

    pub(super) fn text(&self, over: bool) -> String {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let state = match (over, self.opening.load(Ordering::Acquire)) {
            (true, _) => "over",
            (false, 0) => "running",
            (false, _) => "opening",
        };
        let rest = self.rest();
        let mut times = rest.times.clone();
        times.sort_unstable();
        let at = |share: usize| {
            times.get(times.len() * share / 100).or_else(|| times.last()).copied().unwrap_or(0)
        };
        let mut text = format!("state {state}\nms {}\n", self.began.elapsed().as_millis());
        for (key, value) in [
            ("opened", read(&self.opened)),
            ("alive", read(&self.alive)),
            ("asked", read(&self.asked)),
            ("answered", read(&self.answered)),
            ("down", read(&self.whole[0])),
            ("up", read(&self.whole[1])),
            ("down_bytes", read(&self.bytes[0])),
            ("up_bytes", read(&self.bytes[1])),
            ("stalled", read(&self.stalled)),
            ("marked", times.len() as u64),
            ("p50_us", at(50).into()),
            ("p99_us", at(99).into()),
            ("max_us", at(100).into()),
            ("gap_ms", u64::try_from(rest.gap).unwrap_or(u64::MAX)),
            ("faults", rest.fault_count),
        ] {
            // Writing to a String does not fail.
            let _ = writeln!(text, "{key} {value}");
        }
        for fault in &rest.faults {
            let _ = writeln!(text, "fault {fault}");
        }
        text
    }

    fn rest(&self) -> MutexGuard<'_, Rest> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
