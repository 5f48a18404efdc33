use std::collections::BTreeMap;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const LIMITS: Limits = Limits { least: 2, most: 4, silence: Duration::from_secs(3) };

/// A line with carriers on it: dials take a moment, and things happen to carriers.
struct World {
    carriers: Carriers,
    start: Instant,
    now: Instant,
    next_id: Id,
    /// Births of those that are up.
    up: BTreeMap<Id, Instant>,
    dialing: Vec<Instant>,
    dials: usize,
    /// Times at which no carrier was up.
    without: usize,
    /// The line carries nothing, and dials do not end.
    dark: bool,
    /// On this one nothing comes.
    deaf: Option<Id>,
    /// What dials bring.
    fails: Option<Failure>,
    /// Proxies cut older ones.
    age_limit: Option<Duration>,
    bytes: u64,
    /// Bytes per second, by the number of carriers.
    rate: Rate,
}

type Rate = fn(usize) -> u64;

impl World {
    fn new() -> Self {
        let now = Instant::now();
        let mut world = Self {
            carriers: Carriers::new(LIMITS),
            start: now,
            now,
            next_id: 0,
            up: BTreeMap::new(),
            dialing: Vec::new(),
            dials: 0,
            without: 0,
            dark: false,
            deaf: None,
            fails: None,
            age_limit: None,
            bytes: 0,
            rate: |_| 0,
        };
        world.run(SECOND);
        assert_eq!(world.up.len(), 2);
        world.without = 0;
        world
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.steps();
            self.now += Duration::from_millis(10);
            self.happen();
        }
    }

    fn steps(&mut self) {
        for round in 0.. {
            assert!(round < 10, "it does not come to rest");
            match self.carriers.next(self.now) {
                Step::Dial => {
                    self.dials += 1;
                    self.dialing.push(self.now + Duration::from_millis(20));
                }
                Step::Retire(id) => assert!(self.up.remove(&id).is_some()),
                Step::Wait(until) => {
                    assert!(until.is_none_or(|until| until > self.now), "it waits for what has passed");
                    return;
                }
            }
        }
    }

    fn happen(&mut self) {
        let now = self.now;
        if !self.dark {
            let due = self.dialing.iter().filter(|at| **at <= now).count();
            self.dialing.retain(|at| *at > now);
            for _ in 0..due {
                match self.fails {
                    Some(failure) => self.carriers.failed(failure, 1.0, now),
                    None => {
                        self.carriers.up(self.next_id, now);
                        self.up.insert(self.next_id, now);
                        self.next_id += 1;
                    }
                }
            }
            let heard = self.up.keys().filter(|id| self.deaf != Some(**id));
            heard.for_each(|id| self.carriers.heard(*id, now));
        }
        if let Some(limit) = self.age_limit {
            let old: Vec<Id> =
                self.up.iter().filter(|(_, born)| now - **born >= limit).map(|(id, _)| *id).collect();
            old.into_iter().for_each(|id| self.cut(id));
        }
        self.bytes += (self.rate)(self.up.len()) / 100;
        self.carriers.moved(self.bytes, now);
        self.without += usize::from(self.up.is_empty());
    }

    fn cut(&mut self, id: Id) {
        self.up.remove(&id).expect("it is up");
        self.carriers.down(id, self.now);
    }

    fn cut_all(&mut self) {
        self.up.keys().copied().collect::<Vec<_>>().into_iter().for_each(|id| self.cut(id));
    }
}

#[test]
fn what_is_lost_is_dialled_again_at_once() {
    let mut world = World::new();
    world.cut_all();
    world.run(Duration::from_millis(100));
    assert_eq!((world.up.len(), world.dials), (2, 4));
}

#[test]
fn failures_are_backed_off_and_a_success_ends_that() {
    let mut world = World::new();
    world.fails = Some(Failure::Passing);
    world.cut_all();
    world.run(SECOND * 60);
    // 0.1 + 0.2 + 0.4 + 0.8 + 1.6 s, then every 3 s.
    assert!((20..30).contains(&world.dials), "{}", world.dials);
    world.fails = None;
    world.run(SECOND * 4);
    assert_eq!(world.up.len(), 2);
    let before = world.dials;
    world.cut_all();
    world.run(Duration::from_millis(100));
    assert_eq!((world.up.len(), world.dials), (2, before + 2));
}

#[test]
fn a_server_that_says_when_is_asked_then() {
    let mut world = World::new();
    world.fails = Some(Failure::Told(SECOND * 7));
    world.cut_all();
    world.run(SECOND);
    let before = world.dials;
    world.run(SECOND * 5);
    assert_eq!(world.dials, before);
    world.fails = None;
    world.run(SECOND * 2);
    assert_eq!(world.up.len(), 2);
}

#[test]
fn who_is_not_let_in_does_not_knock_all_the_time() {
    let mut world = World::new();
    world.fails = Some(Failure::Denied);
    world.cut_all();
    world.run(SECOND * 300);
    assert!(world.dials < 12, "{}", world.dials);
}

#[test]
fn a_silent_carrier_is_replaced_before_it_goes() {
    let mut world = World::new();
    let deaf = *world.up.keys().next().unwrap();
    world.deaf = Some(deaf);
    world.run(SECOND * 2);
    // Still within what heartbeats allow.
    assert_eq!(world.dials, 2);
    world.run(SECOND * 2);
    assert_eq!((world.dials, world.carriers.count(), world.up.len()), (3, 2, 2));
    assert!(!world.up.contains_key(&deaf));
    assert_eq!(world.without, 0);
}

#[test]
fn a_dark_line_is_dialled_a_few_times_at_once_and_no_more() {
    let mut world = World::new();
    world.dark = true;
    world.run(SECOND * 30);
    assert_eq!(world.dialing.len(), DIALS);
    world.dark = false;
    world.run(SECOND);
    assert_eq!(world.up.len(), 2);
    assert_eq!(world.without, 0);
}

#[test]
fn the_age_that_carriers_die_at_is_learned() {
    let mut world = World::new();
    world.age_limit = Some(SECOND * 60);
    world.run(SECOND * 180);
    let (learned, dials) = (world.without, world.dials);
    world.run(SECOND * 3600);
    // Nothing died since, and the replacements were no more than it takes.
    assert_eq!(world.without, learned);
    assert!(world.up.values().all(|born| world.now - *born < SECOND * 60));
    let replacements = world.dials - dials;
    assert!((120..200).contains(&replacements), "{replacements}");
    let born: Vec<Instant> = world.up.values().copied().collect();
    assert!(born[1] - born[0] > SECOND * 4, "{:?}", born[1] - born[0]);
}

#[test]
fn cuts_by_the_clock_are_not_taken_for_an_age_for_ever() {
    let mut world = World::new();
    for _ in 0..60 {
        world.run(SECOND * 60);
        world.cut_all();
    }
    // Two for each cut, and now and then a guess.
    assert!(world.dials < 60 * 6, "{}", world.dials);
}

#[test]
fn young_deaths_teach_nothing() {
    let mut world = World::new();
    for _ in 0..20 {
        world.run(SECOND * 5);
        world.cut_all();
    }
    world.run(SECOND * 600);
    assert_eq!((world.dials, world.up.len()), (42, 2));
}

#[test]
fn bulk_gets_as_many_as_make_it_faster() {
    const MIB: u64 = 1 << 20;
    let rows: [(Rate, usize); 5] = [
        (|_| 0, 2),
        (|_| 100 * MIB, 2),
        (|carriers| carriers as u64 * 10 * MIB, 4),
        (|carriers| carriers.min(3) as u64 * 10 * MIB, 3),
        // A narrow line is full with one.
        (|carriers| carriers as u64 * 100 * 1024, 2),
    ];
    for (rate, expected) in rows {
        let mut world = World::new();
        world.rate = rate;
        world.run(SECOND * 50);
        assert_eq!(world.up.len(), expected, "{rate:?}: {}", rate(2));
        world.rate = |_| 0;
        world.run(SECOND * 30);
        assert_eq!(world.up.len(), 2, "what bulk made use of is given back");
        assert_eq!(world.without, 0);
    }
}

#[test]
fn a_try_that_gave_nothing_is_not_repeated_all_the_time() {
    let mut world = World::new();
    world.rate = |_| 100 << 20;
    world.run(SECOND * 600);
    assert!(world.dials < 2 + 12, "{}", world.dials);
}

#[test]
fn a_day_idle_needs_no_dial() {
    let mut world = World::new();
    let end = world.start + SECOND * 24 * 3600;
    while world.now < end {
        world.now += SECOND;
        world.happen();
        world.steps();
    }
    assert_eq!((world.dials, world.up.len()), (2, 2));
}

#[test]
fn sleep_is_not_silence() {
    let mut world = World::new();
    world.now += SECOND * 8 * 3600;
    world.carriers.woke(world.now);
    world.steps();
    assert_eq!(world.dials, 2);
}
