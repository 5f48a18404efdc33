//! How many carriers bulk makes use of: one more is tried while much goes on, and stays if that made it faster.

use std::time::Duration;

use tokio::time::Instant;

/// Rates are taken over at least this long.
const SAMPLE: Duration = Duration::from_secs(1);
/// A transfer of fewer bytes a second is no bulk: more carriers would not make a line of that width faster.
const BULK: f64 = 512.0 * 1024.0;
/// Samples of bulk in a row before a try, and over which what came of it is judged.
const SAMPLES: u32 = 2;
/// One more carrier has to give this much to stay.
const GAIN: f64 = 1.15;
/// After a try that gave nothing.
const REST: Duration = Duration::from_secs(60);
/// Bulk has been over for this long when what it made use of is given back.
const IDLE: Duration = Duration::from_secs(15);

#[derive(Debug, Default)]
pub(super) struct Need {
    extra: usize,
    last: Option<(u64, Instant)>,
    /// Whether the last sample was one of bulk, on all carriers that are wanted.
    running: bool,
    /// Samples of bulk since the last decision, and their sum.
    samples: u32,
    sum: f64,
    /// The rate before the try that is under way.
    trial: Option<f64>,
    no_trial_before: Option<Instant>,
    last_bulk: Option<Instant>,
}

impl Need {
    /// Carriers beyond the least.
    pub(super) fn extra(&self) -> usize {
        self.extra
    }

    /// So many bytes since the beginning. At most `room` carriers may be added; with `settled`, those wanted are there.
    pub(super) fn sample(&mut self, bytes: u64, now: Instant, room: usize, settled: bool) {
        let Some((before, at)) = self.last else {
            self.last = Some((bytes, now));
            return;
        };
        let elapsed = now.saturating_duration_since(at);
        if elapsed < SAMPLE {
            return;
        }
        self.last = Some((bytes, now));
        let rate = bytes.saturating_sub(before) as f64 / elapsed.as_secs_f64();
        if rate < BULK {
            (self.running, self.samples, self.sum, self.trial) = (false, 0, 0.0, None);
            if self.last_bulk.is_none_or(|last| now.saturating_duration_since(last) >= IDLE) {
                self.extra = 0;
            }
            return;
        }
        self.last_bulk = Some(now);
        // A transfer that has begun just now, or on carriers that have, is still getting up to speed.
        if !std::mem::replace(&mut self.running, settled) || !settled {
            (self.samples, self.sum) = (0, 0.0);
            return;
        }
        self.samples += 1;
        self.sum += rate;
        if self.samples >= SAMPLES {
            let mean = self.sum / f64::from(self.samples);
            (self.samples, self.sum) = (0, 0.0);
            self.decide(mean, now, room);
        }
    }

    /// What was measured before a sleep is not comparable.
    pub(super) fn woke(&mut self) {
        (self.last, self.running, self.samples, self.sum, self.trial) = (None, false, 0, 0.0, None);
    }

    fn decide(&mut self, rate: f64, now: Instant, room: usize) {
        if let Some(before) = self.trial.take()
            && rate < before * GAIN
        {
            self.extra = self.extra.saturating_sub(1);
            self.no_trial_before = Some(now + REST);
            return;
        }
        let may = self.no_trial_before.is_none_or(|at| now >= at);
        if may && self.extra < room {
            self.extra += 1;
            self.trial = Some(rate);
        }
    }
}
