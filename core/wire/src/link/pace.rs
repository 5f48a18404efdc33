//! How much may be under way.
//!
//! A carrier takes megabytes into sockets and proxies on its way; on a slow line a small request would wait behind them for
//! seconds. So what is under way (sent and not acknowledged) is bounded for each carrier by a window that follows what
//! arrives: judged once in a round trip, by the time that what was sent in it took to be acknowledged. That time should be at
//! most a quarter and 60 ms above the shortest that the line was seen to take ([`Shortest`]); the window shrinks and grows by
//! the ratio, and four times as fast as long as nothing queues at all. Both ends tell their clocks, so that what an answer
//! waited on its way back ([`Reverse`]) is known and not taken for a wait in this direction: else two directions that are both
//! full would settle at any share of the line. So it settles at what the line bears in the time
//! allowed: at 1 Mbit/s and 200 ms that is 39 KB, of which 14 KB wait; at 300 MB/s and 1 ms it is 18 MB, far more than
//! needed. The shortest time is each carrier's own, once it was seen while nothing was under way on others, and shared until then;
//! the least that is always allowed is shared.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::reverse::Reverse;

/// What all carriers of a link together may have under way at least, at first and at most.
const LEAST: u64 = 24 << 10;
const FIRST: u64 = 64 << 10;
const MOST: u64 = 256 << 20;
/// And each of them.
const LEAST_EACH: u64 = 4 << 10;
/// How long bytes may wait on their way beyond a quarter of the round trip; what an acknowledgement waits is part of it.
const SLACK: Duration = Duration::from_millis(60);
/// Less waiting than this, and an eighth of the round trip, is none.
const NONE: Duration = Duration::from_millis(5);
/// After so many rounds in which nothing waited too long, windows grow fast again.
const CALM: u32 = 8;
/// Each time that nothing was sent for this long, half of the window is believed no more, down to four times the first: the
/// line may have become another. Careful beside RFC 7661, which believes all of it for five minutes.
const IDLE: Duration = Duration::from_secs(30);
/// Of those who go first, this share of the window may be under way beyond it.
const AHEAD: u64 = 4;

/// What else a link has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Others {
    /// Carriers in all.
    pub(super) carriers: usize,
    /// Nothing is under way on the others.
    pub(super) are_quiet: bool,
}

/// What one carrier may have under way.
#[derive(Debug)]
pub(super) struct Pace {
    window: u64,
    /// Bytes of data sent and not acknowledged.
    under_way: u64,
    /// What was sent and when, by the number of the last frame of each portion.
    marks: VecDeque<(u64, Instant)>,
    /// The frame whose acknowledgement ends the round.
    round_end: u64,
    /// The times of the round's portions, how many there were, their bytes, and the most that was under way.
    times: Duration,
    portions: u32,
    moved: u64,
    peak: u64,
    /// More would have been sent in this round.
    limited: bool,
    /// Rounds since something waited too long.
    calm: u32,
    /// The shortest time seen here since the line was last found to be longer, and whether it was seen while nothing was
    /// under way on others: then it is the carrier's own, else it may be that of a line that was full.
    own: Option<Duration>,
    is_sound: bool,
    longer: u32,
    /// How long acknowledgements wait on their way back, and the sum of that for the round's portions.
    reverse: Reverse,
    back: Duration,
    /// The usual time, smoothed.
    usual: Option<Duration>,
    sent_at: Option<Instant>,
    /// When something was last acknowledged.
    progress: Option<Instant>,
}

impl Pace {
    /// For one of so many carriers.
    pub(super) fn new(carriers: usize) -> Self {
        Self {
            window: (FIRST / carriers.max(1) as u64).max(16 << 10),
            under_way: 0,
            marks: VecDeque::new(),
            round_end: 0,
            times: Duration::ZERO,
            portions: 0,
            moved: 0,
            peak: 0,
            limited: false,
            calm: CALM,
            own: None,
            is_sound: false,
            longer: 0,
            reverse: Reverse::default(),
            back: Duration::ZERO,
            usual: None,
            sent_at: None,
            progress: None,
        }
    }

    /// How many bytes of data may be sent now, by everyone or by those who go first.
    pub(super) fn room(&self, carriers: usize, shortest: &Shortest, first: bool) -> u64 {
        let least = least(carriers);
        let window = if shortest.is_sought() { LEAST_EACH } else { self.window.max(least) };
        let window = if first { window + window / AHEAD } else { window };
        window.saturating_sub(self.under_way)
    }

    /// Bytes of a stream that are sent at once: little where the line is slow, so that others have their turn soon.
    pub(super) fn turn(&self, most: usize) -> usize {
        usize::try_from(self.window / 8).unwrap_or(most).clamp(2 << 10, most)
    }

    /// More would have been sent.
    pub(super) fn hold_back(&mut self) {
        self.limited = true;
    }

    /// A portion was sent, `bytes` of data, up to the frame of this number.
    pub(super) fn sent(&mut self, number: u64, bytes: u64, now: Instant) {
        let idle = self.sent_at.replace(now).map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        if idle >= IDLE {
            let halvings = u32::try_from(idle.as_secs() / IDLE.as_secs()).unwrap_or(u32::MAX);
            let left = self.window.checked_shr(halvings).unwrap_or(0);
            self.window = self.window.min(left.max(FIRST * 4));
        }
        if self.marks.is_empty() {
            self.round_end = number;
        }
        self.marks.push_back((number, now));
        self.under_way += bytes;
        self.peak = self.peak.max(self.under_way);
    }

    /// All frames up to this number are acknowledged, `bytes` of data by this; our clock is so much `ahead` of what the peer's
    /// was then.
    pub(super) fn acknowledged(
        &mut self,
        number: u64,
        bytes: u64,
        ahead: Option<i64>,
        now: Instant,
        others: Others,
        shortest: &mut Shortest,
    ) {
        self.under_way -= bytes;
        self.moved += bytes;
        self.progress = Some(now);
        self.follow(shortest);
        let mut back = None;
        while let Some((_, at)) = self.marks.pop_front_if(|(last, _)| *last <= number) {
            let time = now.saturating_duration_since(at);
            self.usual = Some(self.usual.map_or(time, |usual| (usual * 7 + time) / 8));
            // What the answer waited behind the peer's bytes says nothing about ours.
            let back = *back.get_or_insert_with(|| {
                ahead.map_or(Duration::ZERO, |ahead| self.reverse.waited(ahead, time, now))
            });
            self.times += time.saturating_sub(back);
            self.back += back;
            self.portions += 1;
            self.see(time.saturating_sub(back), others.are_quiet || shortest.is_sought_since(at), shortest);
            shortest.seek(time, self.usual.unwrap_or(time), at, now);
        }
        if number >= self.round_end && self.portions > 0 {
            self.judge(least(others.carriers), shortest, now);
            self.round_end = self.marks.back().map_or(number, |(last, _)| *last);
        }
    }

    /// Something took this time, with nothing else under way or not.
    pub(super) fn see(&mut self, time: Duration, is_quiet: bool, shortest: &mut Shortest) {
        self.follow(shortest);
        self.own = Some(self.own.map_or(time, |own| own.min(time)));
        self.is_sound |= is_quiet;
        shortest.see(time);
    }

    /// Forgets what was known of a line that was found to be longer.
    fn follow(&mut self, shortest: &Shortest) {
        if std::mem::replace(&mut self.longer, shortest.longer) != shortest.longer {
            (self.own, self.is_sound, self.reverse) = (None, false, Reverse::default());
        }
    }

    /// The shortest that is to be expected here: a carrier may take a longer way than others.
    fn shortest(&self, shortest: &Shortest) -> Option<Duration> {
        if self.is_sound { self.own } else { shortest.time() }
    }

    fn judge(&mut self, least: u64, shortest: &mut Shortest, now: Instant) {
        let portions = std::mem::take(&mut self.portions);
        let time = (std::mem::take(&mut self.times) / portions).max(Duration::from_micros(1));
        let back = std::mem::take(&mut self.back) / portions;
        let (limited, peak) =
            (std::mem::take(&mut self.limited), std::mem::replace(&mut self.peak, self.under_way));
        let moved = std::mem::take(&mut self.moved);
        let Some(base) = self.shortest(shortest).filter(|_| !shortest.is_sought()) else {
            return;
        };
        let wanted = base + may_wait(base, back);
        let ratio = (wanted.as_secs_f64() / time.as_secs_f64()).clamp(0.5, 2.0);
        if time > wanted {
            self.calm = 0;
            if peak >= self.window / 2 {
                self.window = ((self.window as f64 * ratio) as u64).max(least);
            }
            // Nothing waits any more, and still it takes long: perhaps the line has become longer.
            if self.window <= least {
                shortest.doubt(now);
            }
            return;
        }
        self.calm = self.calm.saturating_add(1);
        if limited && moved >= self.window / 2 {
            // Fast only where nothing waits in either direction.
            // Where it was too much lately, four times as much would be again.
            let most = if self.calm < CALM { 2.0 } else { 4.0 };
            let ratio = if time + back <= base + base / 8 + NONE { most } else { ratio.min(most) };
            self.window = ((self.window as f64 * ratio) as u64).min(MOST);
        }
    }

    /// Since when something is under way without any acknowledgement.
    pub(super) fn waits_since(&self) -> Option<Instant> {
        let (_, oldest) = self.marks.front()?;
        Some(self.progress.map_or(*oldest, |progress| progress.max(*oldest)))
    }

    /// The usual time until something is acknowledged.
    pub(super) fn usual(&self) -> Option<Duration> {
        self.usual
    }

    /// Whether what is sent here takes so much longer than where it takes this time that only bulk is to go here.
    pub(super) fn lags(&self, best: Duration) -> bool {
        self.usual.is_some_and(|usual| usual > best * 2 + SLACK / 2)
    }

    /// Bytes of data sent and not acknowledged.
    pub(super) fn under_way(&self) -> u64 {
        self.under_way
    }

    /// The process did not run for a while: nobody had a chance to acknowledge.
    pub(super) fn excuse(&mut self, now: Instant) {
        self.progress = Some(now);
        self.limited = false;
        (self.times, self.back, self.portions, self.moved) = (Duration::ZERO, Duration::ZERO, 0, 0);
    }
}

/// How long it may take where so much is the shortest.
fn allowed(shortest: Duration) -> Duration {
    shortest + shortest / 4 + SLACK
}

/// How long what is sent may wait where the shortest is so long, and answers wait so long on their way back: both directions
/// share what there is for a round trip, and none gets less than its half.
fn may_wait(shortest: Duration, back: Duration) -> Duration {
    let all = allowed(shortest) - shortest;
    all.saturating_sub(back).max(all / 2)
}

/// What one of so many carriers may always have under way.
fn least(carriers: usize) -> u64 {
    (LEAST / carriers.max(1) as u64).max(LEAST_EACH)
}

/// The shortest time that the line takes, there and back, as far as is known. Seen whenever nothing waits on the way; when that
/// was not for long, all carriers pause until it is seen again, which also finds out that a line has become longer.
#[derive(Debug, Default)]
pub(super) struct Shortest {
    time: Option<Duration>,
    /// When it was last seen, or nearly.
    seen: Option<Instant>,
    sought: Option<Sought>,
    /// How often the line was found to be longer than was known.
    longer: u32,
}

#[derive(Debug)]
struct Sought {
    since: Instant,
    /// The shortest that something took that was sent since, and when that began.
    found: Option<(Duration, Instant)>,
}

/// After this long it is sought again; where it is doubted, sooner.
const AGAIN: Duration = Duration::from_secs(30);
const DOUBT: Duration = Duration::from_secs(10);
/// How long it is sought at most.
const SOUGHT: Duration = Duration::from_secs(3);

impl Shortest {
    pub(super) fn time(&self) -> Option<Duration> {
        self.time
    }

    /// The round trip of the line itself, where lately it was `usual`: what takes longer because windows are wide is no reason
    /// to widen them, but the line may have become longer than is known yet.
    pub(super) fn round_trip(&self, usual: Option<Duration>) -> Option<Duration> {
        self.time.filter(|known| usual.is_none_or(|usual| usual <= allowed(*known))).or(usual)
    }

    /// Whether everyone pauses so that it can be seen.
    pub(super) fn is_sought(&self) -> bool {
        self.sought.is_some()
    }

    /// Whether everyone has paused since before then.
    fn is_sought_since(&self, sent: Instant) -> bool {
        self.sought.as_ref().is_some_and(|sought| sent > sought.since)
    }

    /// Something took this time.
    fn see(&mut self, time: Duration) {
        self.time = Some(self.time.map_or(time, |known| known.min(time)));
    }

    /// Bytes that were sent at this time took that long.
    fn seek(&mut self, time: Duration, usual: Duration, sent: Instant, now: Instant) {
        if self.time.is_some_and(|known| time <= known + known / 8 + NONE) {
            self.seen = Some(now);
        }
        let seen = *self.seen.get_or_insert(now);
        let Some(sought) = &mut self.sought else {
            if now.saturating_duration_since(seen) > AGAIN {
                self.sought = Some(Sought { since: now, found: None });
            }
            return;
        };
        // While it is sought, something is sent only when little is under way.
        if sent > sought.since {
            let (found, since) = sought.found.get_or_insert((time, now));
            *found = time.min(*found);
            // Other carriers may have had more under way.
            if now.saturating_duration_since(*since) >= *found {
                // Longer than it was, though nothing of ours waits: what the peer sends may be what takes time, but not where
                // the pause has changed nothing.
                let longer = self.time.is_some_and(|known| *found > allowed(known)) && *found > usual / 5 * 4;
                self.time = if longer { Some(*found) } else { self.time };
                self.longer += u32::from(longer);
                (self.seen, self.sought) = (Some(now), None);
                return;
            }
        }
        if now.saturating_duration_since(sought.since) > SOUGHT.max(self.time.unwrap_or_default() * 4) {
            (self.seen, self.sought) = (Some(now), None);
        }
    }

    /// What is known does not fit what is seen.
    fn doubt(&mut self, now: Instant) {
        if self.sought.is_none() && self.seen.is_none_or(|seen| now.saturating_duration_since(seen) > DOUBT) {
            self.sought = Some(Sought { since: now, found: None });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_on_the_way_is_not_the_lines_round_trip() {
        let ms = Duration::from_millis;
        let mut shortest = Shortest::default();
        assert_eq!((shortest.round_trip(None), shortest.round_trip(Some(ms(30)))), (None, Some(ms(30))));
        shortest.see(ms(1));
        assert_eq!(
            (shortest.round_trip(None), shortest.round_trip(Some(ms(60)))),
            (Some(ms(1)), Some(ms(1)))
        );
        // More than ever waits by our own doing.
        assert_eq!(shortest.round_trip(Some(ms(300))), Some(ms(300)));
    }
}
