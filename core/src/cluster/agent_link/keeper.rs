//! Keeps the carriers of one link: does what [`Carriers`] decides, and tells whether bytes can flow.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use kubetether_link::{CarrierId, GoodbyeCode};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use super::{DIAL, Dialled, Health, Way};
use crate::backoff::Failure;
use crate::cluster::carriers::{Carriers, Id, Limits, Step};
use crate::cluster::observed::Facts;
use crate::{Deadline, ErrorCode, Result};

/// Between two looks at how much has gone over the carriers.
const LOOK: Duration = Duration::from_secs(1);
/// A gap without a carrier is not told before it has lasted this long, unless a dial has failed.
const BLINK: Duration = Duration::from_secs(1);
/// Who comes this much too late was asleep, or stopped.
const ASLEEP: Duration = Duration::from_secs(2);

pub(super) struct Keeper {
    way: Way,
    carriers: Carriers,
    live: Vec<Live>,
    /// Bytes of carriers that are over.
    moved: u64,
    next_id: Id,
    dials: FuturesUnordered<BoxFuture<'static, Result<Dialled>>>,
    health: watch::Sender<Health>,
    /// Nothing was heard for this long: bytes do not flow.
    silence: Duration,
    /// Since when there is no carrier.
    without: Option<Instant>,
    /// Why the last carrier ended, or the last dial failed.
    why: Option<String>,
    /// Whether a dial has failed since the last carrier ended.
    failed: bool,
}

struct Live {
    id: Id,
    carrier: CarrierId,
    facts: std::sync::Arc<Facts>,
}

impl Keeper {
    /// With `silence`, bytes do not flow on a carrier on which nothing came for so long.
    pub(super) fn new(
        way: Way,
        limits: Limits,
        silence: Duration,
        first: Dialled,
    ) -> (Self, watch::Receiver<Health>) {
        let (health, told) = watch::channel(Health::Up);
        let mut keeper = Self {
            way,
            carriers: Carriers::new(limits),
            live: Vec::new(),
            moved: 0,
            next_id: 0,
            dials: FuturesUnordered::new(),
            health,
            silence,
            without: None,
            why: None,
            failed: false,
        };
        keeper.came(first);
        (keeper, told)
    }

    /// Runs until the link is closed.
    pub(super) async fn run(mut self) {
        let link = self.way.link.clone();
        let keeper = self.way.keeper.clone();
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let reason = loop {
            let until = self.act();
            let before = Instant::now();
            tokio::select! {
                reason = link.closed() => break reason,
                Some(dialled) = self.dials.next() => self.dialled(dialled),
                () = keeper.notified() => {}
                _ = look.tick() => {}
                () = tokio::time::sleep_until(until) => {}
            }
            if before.elapsed() > LOOK + ASLEEP {
                self.carriers.woke(Instant::now());
            }
            self.look();
            self.judge();
        };
        self.tell(Health::Down(format!("the link to the agent in pods/{} ended: {reason}", self.way.pod)));
    }

    /// Does what there is to do; until when nothing more is.
    fn act(&mut self) -> Instant {
        let now = Instant::now();
        let wait = loop {
            match self.carriers.next(now) {
                Step::Dial => {
                    self.dials.push(self.way.dial(Deadline::after(DIAL)));
                }
                Step::Retire(id) => self.retire(id),
                Step::Wait(until) => break until,
            }
        };
        let judged = match (self.carriers.last_heard(), self.without) {
            (Some(heard), _) => heard + self.silence,
            (None, since) => since.unwrap_or(now) + BLINK,
        };
        [wait, Some(judged)].into_iter().flatten().filter(|at| *at > now).min().unwrap_or(now + LOOK)
    }

    fn retire(&mut self, id: Id) {
        let Some(at) = self.live.iter().position(|live| live.id == id) else { return };
        let live = self.live.remove(at);
        self.moved += live.facts.moved();
        tracing::debug!(pod = &*self.way.pod, "a carrier is given up");
        self.way.link.retire(live.carrier);
    }

    fn dialled(&mut self, dialled: Result<Dialled>) {
        let error = match dialled {
            Ok(dialled) => return self.came(dialled),
            Err(error) => error,
        };
        tracing::debug!(pod = &*self.way.pod, error = error.report(), "no carrier");
        if error.code() == ErrorCode::NoSuchTarget {
            // The pod is gone for good, and its streams with it.
            self.way.link.close(GoodbyeCode::AgentRestarted, "the agent's pod is gone");
        }
        self.carriers.failed(Failure::of(&error), rand::random(), Instant::now());
        self.failed = true;
        self.why = Some(error.to_string());
    }

    fn came(&mut self, (carrier, facts): Dialled) {
        let id = self.next_id;
        self.next_id += 1;
        self.carriers.up(id, Instant::now());
        self.live.push(Live { id, carrier, facts });
    }

    /// Sees what became of the carriers.
    fn look(&mut self) {
        let now = Instant::now();
        let (pod, silence) = (&*self.way.pod, self.silence);
        let (carriers, moved, why, failed) =
            (&mut self.carriers, &mut self.moved, &mut self.why, &mut self.failed);
        self.live.retain(|live| {
            if !live.facts.is_over() {
                carriers.heard(live.id, live.facts.heard());
                return true;
            }
            carriers.down(live.id, now);
            *moved += live.facts.moved();
            let words = match live.facts.why() {
                Some(words) => format!("the connection to the agent in pods/{pod} was lost: {words}"),
                None if now.saturating_duration_since(live.facts.heard()) >= silence => unheard(pod),
                None => format!("the connection to the agent in pods/{pod} was given up"),
            };
            tracing::debug!(pod, words, "a carrier ended");
            (*why, *failed) = (Some(words), false);
            false
        });
        let live: u64 = self.live.iter().map(|live| live.facts.moved()).sum();
        self.carriers.moved(self.moved + live, now);
    }

    /// Tells whether bytes can flow.
    fn judge(&mut self) {
        let now = Instant::now();
        let health = match self.carriers.last_heard() {
            Some(heard) => {
                self.without = None;
                match now < heard + self.silence {
                    true => Health::Up,
                    false if self.failed => Health::Down(self.why.clone().unwrap_or_default()),
                    false => Health::Down(unheard(&self.way.pod)),
                }
            }
            None => {
                let since = *self.without.get_or_insert(now);
                if !self.failed && now < since + BLINK {
                    return;
                }
                Health::Down(self.why.clone().unwrap_or_else(|| unheard(&self.way.pod)))
            }
        };
        if health == Health::Up {
            self.failed = false;
        }
        self.tell(health);
    }

    fn tell(&self, health: Health) {
        self.health.send_if_modified(|now| {
            let changes = *now != health;
            *now = health;
            changes
        });
    }
}

fn unheard(pod: &str) -> String {
    format!("nothing is heard from the agent in pods/{pod}")
}
