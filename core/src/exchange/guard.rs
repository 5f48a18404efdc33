//! Watches over an exchange in force: puts back what somebody else changes, finds the interceptor's
//! next pod when one is gone, and ends the exchange when that is asked for or cannot be helped.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Service;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::changes::{Seen, changes, editor};
use super::fallback::Fallback;
use super::inbound::{Inbound, Locals};
use super::note::Note;
use super::patience::{Unclaimed, patiently};
use super::plan::{Look, Plan};
use super::safe::Safe;
use super::start::{Kept, locals};
use super::{prove, service, stop};
use crate::backoff::{Backoff, Pace};
use crate::cluster::agent_link::Health;
use crate::cluster::pod_wait::{self, AgentPod, Controller};
use crate::cluster::{calls, names};
use crate::life::Life;
use crate::session::{Part, Reservation, Shared};
use crate::stats::Counters;
use crate::{ClientDeath, Deadline, Error, HandleState, InterceptorDeath, Result};

/// What somebody else changes is put back so often within [`WINDOW`], then it is theirs for a while.
const PUT_BACKS: usize = 3;
const WINDOW: Duration = Duration::from_secs(60);
/// A Service whose interceptor is gone for longer is put back meanwhile.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two tries to reach the interceptor's next pod.
const PACE: Pace = Pace { first: Duration::from_millis(500), last: Duration::from_secs(3) };
/// Between two looks at a Service that may not be watched.
const LOOK: Duration = Duration::from_secs(5);
/// One attempt to reach the interceptor's next pod, or to put a change back.
const ATTEMPT: Duration = Duration::from_secs(30);

/// The keeper of one exchange.
pub(crate) struct Guard {
    pub(crate) shared: Arc<Shared>,
    pub(crate) life: Arc<Life>,
    pub(crate) plan: Plan,
    pub(crate) counters: Counters,
    pub(super) safe: Safe,
    /// The net below the interceptor, where it is had.
    pub(super) fallback: Option<Fallback>,
    locals: Locals,
    /// Ends the connections that are open.
    ending: CancellationToken,
    put_backs: VecDeque<Instant>,
    /// When the Service may be put back again.
    look_again: Option<Instant>,
    /// Whether the Service may not be watched, so that it is looked at now and then.
    blind: bool,
    /// Whether somebody else has the Service for a while.
    theirs: bool,
    /// Whether bytes flow on the link to the interceptor.
    reached: bool,
    reservation: Option<Reservation>,
}

/// Why the watch over an exchange ended.
enum End {
    Wanted(Deadline),
    Lost(String),
}

impl Guard {
    pub(crate) fn new(shared: Arc<Shared>, life: Arc<Life>, plan: Plan, counters: Counters) -> Self {
        let locals = Arc::new(locals(&plan));
        Self {
            shared,
            safe: Safe::new(life.clone()),
            life,
            plan,
            counters,
            fallback: None,
            locals,
            ending: CancellationToken::new(),
            put_backs: VecDeque::new(),
            look_again: None,
            blind: false,
            theirs: false,
            reached: true,
            reservation: None,
        }
    }

    /// From now on the interceptor's callers are this exchange's.
    pub(crate) fn receive(&self, kept: &Kept) {
        kept.inbound.set(Some(Inbound {
            locals: self.locals.clone(),
            counters: self.counters.clone(),
            ending: self.ending.clone(),
        }));
    }

    /// The Service has just been taken: what holds callers when the interceptor does not.
    pub(crate) fn spread_nets(&mut self, kept: &Kept) {
        let nets = kept.interceptor.nets;
        if nets.restore {
            self.safe.change(|safety| safety.client = ClientDeath::Restored);
        }
        let Some(fallback) = kept.interceptor.fallback(&self.shared.cluster, &self.plan.service) else {
            return;
        };
        self.fallback = Some(fallback.clone());
        let safe = self.safe.clone();
        let caught = move || safe.change(|safety| safety.interceptor = InterceptorDeath::FallbackSlice);
        self.shared.tasks.spawn("fallback slice", fallback.keep(caught));
    }

    /// The right to work on the Service is the guard's from now on.
    pub(crate) fn own(&mut self, reservation: Option<Reservation>) {
        self.reservation = reservation;
    }

    pub(crate) fn release_reservation(&mut self) {
        self.reservation = None;
    }

    /// Ends the connections that are still open.
    pub(crate) fn end_connections(&self) {
        self.ending.cancel();
    }

    /// Runs until the exchange is over, and ends it.
    pub(crate) async fn watch(mut self, mut kept: Kept, note: Note) {
        let mut changes = changes(&self.shared, &self.plan.service);
        let mut health = kept.link.health();
        health.mark_changed();
        let _life = self.life.guard();
        let end = loop {
            let again = self.look_again.unwrap_or_else(Instant::now);
            tokio::select! {
                deadline = self.life.end_wanted() => break End::Wanted(deadline),
                seen = changes.next() => match seen {
                    Some(Seen::Blind(words)) => self.look_from_now_on(&words),
                    Some(Seen::Service(live)) => if let Err(reason) = self.changed(live.map(|live| *live), &note, &mut kept).await {
                        break End::Lost(reason);
                    },
                    // A watch has no end of its own.
                    None => changes = futures_util::stream::pending().boxed(),
                },
                () = tokio::time::sleep_until(again), if self.look_again.is_some() => {
                    self.look_again = self.blind.then(|| Instant::now() + LOOK);
                    let found = self.shared.cluster.find::<Service>(&self.plan.service, Deadline::after(ATTEMPT));
                    match found.await {
                        Ok(live) => if let Err(reason) = self.changed(live, &note, &mut kept).await {
                            break End::Lost(reason);
                        },
                        Err(_) => self.look_again = Some(Instant::now() + LOOK),
                    }
                }
                why = kept.link.leaving() => match self.next_pod(&mut kept, &note, &why).await {
                    None => {
                        health = kept.link.health();
                        health.mark_changed();
                    }
                    Some(end) => break end,
                },
                Ok(()) = health.changed() => {
                    let health = health.borrow_and_update().clone();
                    self.link_stands(health);
                }
            }
        };
        match end {
            End::Wanted(deadline) => stop::stop(self, kept, deadline, None).await,
            End::Lost(reason) => stop::stop(self, kept, Deadline::after(ATTEMPT), Some(reason)).await,
        }
    }

    /// How the link to the interceptor stands. Without it the interceptor passes through.
    fn link_stands(&mut self, health: Health) {
        self.shared.part(Part::Interceptor(self.life.id()), health.clone());
        self.reached = health == Health::Up;
        match health {
            Health::Up => self.active_again(),
            Health::Down(reason) => self.life.set(HandleState::PassThrough(reason)),
        }
    }

    fn active_again(&self) {
        if self.reached && !self.theirs && self.life.state().is_disturbed() {
            self.life.set(HandleState::Active);
        }
    }

    /// The Service may not be watched: it is looked at instead.
    fn look_from_now_on(&mut self, words: &str) {
        if std::mem::replace(&mut self.blind, true) {
            return;
        }
        self.look_again = Some(Instant::now() + LOOK);
        self.life.notice(format!(
            "what others do to services/{} is noticed only every {} s, since it may not be watched: {words}",
            self.plan.service,
            LOOK.as_secs()
        ));
    }

    /// Answers a change of the Service; `Err` with the reason when it is lost.
    async fn changed(&mut self, live: Option<Service>, note: &Note, kept: &mut Kept) -> Result<(), String> {
        let name = &self.plan.service;
        let Some(live) = live else { return Err(format!("services/{name} was deleted")) };
        let by = editor(&live);
        let next = match self.plan.look(&live, &names::lease(&self.shared.id)) {
            Look::Ours => return Ok(()),
            Look::Replaced => return Err(format!("services/{name} was deleted and made anew")),
            Look::Taken(lease) => return Err(format!("services/{name} was taken by leases/{lease}")),
            Look::Reshaped(what) => {
                return Err(format!(
                    "{by} gave services/{name} {what}, which the interceptor was not made for: start the exchange again"
                ));
            }
            Look::Drifted(next) => *next,
        };
        if next.original != self.plan.original {
            // First the way back, so that what is passed through goes where the Service leads now.
            let follow = kept.interceptor.follow(&self.shared.cluster, &next, Deadline::after(ATTEMPT));
            match follow.await {
                Ok(()) => kept.made_for = next.clone(),
                Err(error) => {
                    tracing::debug!(error = error.report(), "the way back does not follow the Service")
                }
            }
        }
        self.plan = next;
        self.put_backs.retain(|at| at.elapsed() < WINDOW);
        if self.put_backs.len() < PUT_BACKS {
            self.put_backs.push_back(Instant::now());
            self.take_again(note, &by).await;
        } else {
            self.give_in(&by).await;
            let allowed = self.put_backs.front().map(|oldest| *oldest + WINDOW);
            self.look_again = self.look_again.or(allowed);
        }
        Ok(())
    }

    async fn take_again(&mut self, note: &Note, by: &str) {
        let note = Note { original: self.plan.original.clone(), ..note.clone() };
        let (cluster, lease) = (&self.shared.cluster, names::lease(&self.shared.id));
        let taken = service::take(cluster, &self.plan, &note, &lease, None, Deadline::after(ATTEMPT)).await;
        match taken {
            Ok(()) => {
                self.theirs = false;
                self.life.notice(format!("{by} changed services/{}; it was taken again", self.plan.service));
                self.active_again();
            }
            Err(error) => {
                self.theirs = true;
                self.look_again = Some(Instant::now() + LOOK);
                self.life.set(HandleState::PassThrough(error.to_string()));
            }
        }
    }

    /// Lets somebody who insists have the Service for a while.
    async fn give_in(&mut self, by: &str) {
        self.theirs = true;
        let (cluster, lease) = (&self.shared.cluster, names::lease(&self.shared.id));
        // What still is ours must not stay beside what is theirs: callers would find nobody.
        if let Err(error) = service::restore(cluster, &self.plan, &lease, Deadline::after(ATTEMPT)).await {
            tracing::debug!(
                error = error.report(),
                "a Service that somebody keeps changing was not put back"
            );
        }
        self.life.set(HandleState::PassThrough(format!(
            "{by} keeps changing services/{}; it was put back {PUT_BACKS} times within a minute",
            self.plan.service
        )));
    }

    /// Waits for the interceptor's next pod and arms it. When that takes long the Service is put back
    /// meanwhile, and taken again afterwards.
    async fn next_pod(&mut self, kept: &mut Kept, note: &Note, why: &str) -> Option<End> {
        self.link_stands(Health::Down(format!(
            "the interceptor's pod is gone and its next one is awaited: {why}"
        )));
        let mut backoff = Backoff::new(PACE);
        let late = Instant::now() + PATIENCE;
        let (mut put_back, mut pause) = (false, None);
        let (pod, link) = loop {
            let tried = self.try_next(&kept.interceptor.name, pause);
            let error =
                match patiently(&self.life, tried, late, &mut put_back, || self.put_back_meanwhile()).await {
                    Err(deadline) => return Some(End::Wanted(deadline)),
                    Ok(Tried::Reached(pod, link)) => break (pod, link),
                    Ok(Tried::Bereft) => {
                        return Some(End::Lost(format!("services/{} was deleted", self.plan.service)));
                    }
                    Ok(Tried::NotYet(error)) => error,
                };
            tracing::debug!(error = error.report(), "the interceptor's next pod is not there yet");
            self.link_stands(Health::Down(error.to_string()));
            pause = Some(Instant::now() + backoff.after(&error));
        };
        kept.moved(&self.shared, *pod, link.hand_over());
        if put_back {
            self.take_again(note, "the loss of the interceptor").await;
        }
        if !self.theirs {
            let proven = prove::traffic_arrives(&kept.link, &self.plan, Deadline::after(ATTEMPT)).await;
            if let Err(error) = proven {
                self.life.notice(error.to_string());
            }
        }
        self.link_stands(Health::Up);
        None
    }

    async fn put_back_meanwhile(&self) {
        let (cluster, lease) = (&self.shared.cluster, names::lease(&self.shared.id));
        let restored = service::restore(cluster, &self.plan, &lease, Deadline::after(ATTEMPT)).await;
        self.life.notice(match restored {
            Ok(()) => {
                format!("services/{} is put back until its interceptor is there again", self.plan.service)
            }
            Err(error) => error.to_string(),
        });
    }

    /// Reaches for the interceptor's pod of now; after a failure not before this time, and not for a Service that is
    /// gone meanwhile.
    async fn try_next(&self, interceptor: &str, pause: Option<Instant>) -> Tried {
        if let Some(pause) = pause {
            let found =
                self.shared.cluster.find::<Service>(&self.plan.service, Deadline::after(ATTEMPT)).await;
            if matches!(found, Ok(None)) {
                return Tried::Bereft;
            }
            tokio::time::sleep_until(pause).await;
        }
        match self.reach_next(interceptor).await {
            Ok((pod, link)) => Tried::Reached(Box::new(pod), link),
            Err(error) => Tried::NotYet(error),
        }
    }

    /// Links to the interceptor's pod and arms it. Cancel-safe: a link that nobody takes over is closed.
    async fn reach_next(&self, interceptor: &str) -> Result<(AgentPod, Unclaimed)> {
        let deadline = Deadline::after(ATTEMPT);
        let (cluster, shared) = (&self.shared.cluster, &self.shared);
        let controller = Controller { kind: "ReplicaSet", instance: interceptor };
        // The old pod may still be shown as running for a moment; a dial to it fails, and this is tried again.
        let pod = pod_wait::running(cluster, controller, deadline).await?;
        let link = Unclaimed::new(shared.links.connect(cluster, &pod, deadline).await?);
        pod_wait::ready(cluster, &pod.name, deadline).await?;
        calls::arm(link.get(), self.plan.exposed(), &shared.who, deadline).await?;
        Ok((pod, link))
    }
}

/// What came of reaching for the interceptor's next pod.
enum Tried {
    Reached(Box<AgentPod>, Unclaimed),
    NotYet(Error),
    /// The Service is gone.
    Bereft,
}
