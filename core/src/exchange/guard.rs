//! Watches over an exchange in force: puts back what somebody else changes, finds the interceptor's
//! next pod when one is gone, and ends the exchange when that is asked for or cannot be helped.

mod next;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Service;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::changes::{Seen, changes, editor};
use super::companion::{Companion, Wanted};
use super::fallback::Fallback;
use super::inbound::{Inbound, Locals};
use super::note::Note;
use super::plan::{Look, Plan};
use super::safe::Safe;
use super::service::Standing;
use super::start::{Kept, locals};
use super::{service, stop};
use crate::cluster::agent_link::Health;
use crate::cluster::names;
use crate::life::Life;
use crate::session::{Part, Reservation, Shared};
use crate::stats::Counters;
use crate::{ClientDeath, Deadline, Error, ErrorCode, HandleState, InterceptorDeath};

/// What somebody else changes is put back so often within [`WINDOW`], then it is theirs for a while.
const PUT_BACKS: usize = 3;
const WINDOW: Duration = Duration::from_secs(60);
/// A link that was told to be down for this long, while the API server answers, may be one to a node that is lost: its
/// interceptor passes nobody through, and nobody notices before the node's own lease is over (40 s and more).
const SILENT: Duration = Duration::from_secs(3);
/// Whether the API server answers is seen within this time.
const ANSWER: Duration = Duration::from_secs(2);
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
    /// When an interceptor that is not heard is taken for lost.
    lost_at: Option<Instant>,
    /// Whether the Service is put back until its interceptor is heard again.
    away: bool,
    reservation: Option<Reservation>,
}

/// Why the watch over an exchange ended.
enum End {
    Wanted(Deadline),
    Lost(String),
}

/// What is to be done about an interceptor, or a Service that was changed.
enum Fate {
    /// Nothing further.
    Settled,
    /// The interceptor is gone for good, or others take it away: another one is needed. Why, for people.
    Anew(String),
    /// The Service is not this exchange's any more. Why, for people.
    Lost(String),
    /// It cannot be said, or done, now.
    Later(Error),
}

impl Guard {
    pub(crate) fn new(shared: Arc<Shared>, life: Arc<Life>, plan: Plan, counters: Counters) -> Self {
        let locals = Locals::new(locals(&plan));
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
            lost_at: None,
            away: false,
            reservation: None,
        }
    }

    /// From now on the interceptor's callers are this exchange's.
    pub(crate) fn receive(&self, kept: &Kept) {
        kept.inbound.set(Some(Inbound {
            life: self.life.clone(),
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

    /// A second interceptor, where that is the net to be had.
    fn second(&self, kept: &Kept) -> Option<Companion> {
        let (base, template) = kept.interceptor.second()?;
        let selected = self.plan.original.selector.keys().map(|key| (key.clone(), self.plan.value.clone()));
        Some(Companion::start(Wanted {
            shared: self.shared.clone(),
            base,
            template,
            selected: selected.collect(),
            exposed: self.plan.exposed(),
            inbound: kept.inbound.clone(),
            safe: self.safe.clone(),
        }))
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
    pub(crate) async fn watch(mut self, mut kept: Kept, mut note: Note) {
        let mut changes = changes(&self.shared, &self.plan.service);
        let mut tenure = self.shared.tenure.watch();
        let mut health = kept.link.health();
        health.mark_changed();
        let life = self.life.clone();
        let _life = life.guard();
        kept.companion = self.second(&kept);
        let end = loop {
            let again = self.look_again.unwrap_or_else(Instant::now);
            let lost = self.lost_at.unwrap_or_else(Instant::now);
            tokio::select! {
                deadline = self.life.end_wanted() => break End::Wanted(deadline),
                seen = changes.next() => match seen {
                    Some(Seen::Blind(words)) => self.look_from_now_on(&words),
                    Some(Seen::Service(live)) => match self.answer(live.map(|live| *live), &mut note, &mut kept).await {
                        None => health = fresh(&kept, health),
                        Some(end) => break end,
                    },
                    // A watch has no end of its own.
                    None => changes = futures_util::stream::pending().boxed(),
                },
                () = tokio::time::sleep_until(again), if self.look_again.is_some() => {
                    self.look_again = self.blind.then(|| Instant::now() + LOOK);
                    let found = self.shared.cluster.find::<Service>(&self.plan.service, Deadline::after(ATTEMPT));
                    match found.await {
                        Ok(live) => match self.answer(live, &mut note, &mut kept).await {
                            None => health = fresh(&kept, health),
                            Some(end) => break end,
                        },
                        Err(_) => self.look_again = Some(Instant::now() + LOOK),
                    }
                }
                why = kept.link.leaving() => match self.next_pod(&mut kept, &mut note, &why).await {
                    None => health = fresh(&kept, health),
                    Some(end) => break end,
                },
                // Somebody took this session for dead, and may have put the Service back.
                Ok(()) = tenure.changed() => self.look_again = Some(Instant::now()),
                Ok(()) = health.changed() => {
                    let health = health.borrow_and_update().clone();
                    let heard = health == Health::Up;
                    self.link_stands(health);
                    if heard && self.away {
                        self.away = false;
                        self.take_again(&note, "the silence of the interceptor").await;
                    }
                }
                () = tokio::time::sleep_until(lost), if self.lost_at.is_some() => tokio::select! {
                    deadline = life.end_wanted() => break End::Wanted(deadline),
                    away = self.lose() => {
                        self.away = away;
                        self.lost_at = (!away).then(|| Instant::now() + SILENT);
                    }
                },
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
            Health::Up => {
                self.lost_at = None;
                self.active_again();
            }
            Health::Down(reason) => {
                let late = (!self.away).then(|| Instant::now() + SILENT);
                self.lost_at = self.lost_at.or(late);
                self.life.set(HandleState::PassThrough(reason));
            }
        }
    }

    /// The interceptor is not heard for long: its node may be gone, and callers with it. Puts the Service back if that can
    /// be done now, else later; whether it did. Cancel-safe.
    async fn lose(&self) -> bool {
        let live = self.shared.cluster.find::<Service>(&self.plan.service, Deadline::after(ANSWER)).await;
        if let Err(error) = live {
            // What is wrong is the way to the cluster.
            tracing::debug!(
                error = error.report(),
                "an interceptor is not heard, and the API server neither"
            );
            return false;
        }
        self.put_back_meanwhile().await;
        true
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

    /// Answers a change of the Service, with another interceptor where that is needed.
    async fn answer(&mut self, live: Option<Service>, note: &mut Note, kept: &mut Kept) -> Option<End> {
        match self.changed(live, note, kept).await {
            Fate::Settled | Fate::Later(_) => None,
            Fate::Lost(reason) => Some(End::Lost(reason)),
            Fate::Anew(why) => Box::pin(self.anew(kept, note, &why)).await,
        }
    }

    /// Takes a Service that was changed again, where that is right.
    async fn changed(&mut self, live: Option<Service>, note: &Note, kept: &mut Kept) -> Fate {
        let by = live.as_ref().map(editor).unwrap_or_default();
        let next = match self.look(live.as_ref(), &by).await {
            Ok(None) => return Fate::Settled,
            Ok(Some(next)) => next,
            Err(reason) => return Fate::Lost(reason),
        };
        match self.standing().await {
            Fate::Settled => {}
            Fate::Later(error) => {
                self.not_now(&error);
                return Fate::Later(error);
            }
            other => return other,
        }
        if kept.made_under != self.shared.tenure.now().uid {
            self.plan = next;
            return Fate::Anew("this session was taken for dead, and its interceptor with it".to_owned());
        }
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
        if self.away {
            return Fate::Settled;
        }
        if !self.reached {
            // Whoever put it back may have taken the interceptor away, too.
            let text = "the interceptor cannot be reached at the moment";
            let error = Error::new(ErrorCode::AgentUnreachable, text);
            self.not_now(&error);
            return Fate::Later(error);
        }
        self.put_backs.retain(|at| at.elapsed() < WINDOW);
        if self.put_backs.len() < PUT_BACKS {
            self.put_backs.push_back(Instant::now());
            self.take_again(note, &by).await;
        } else {
            self.give_in(&by).await;
            let allowed = self.put_backs.front().map(|oldest| *oldest + WINDOW);
            self.look_again = self.look_again.or(allowed);
        }
        Fate::Settled
    }

    /// What the Service has become: `None` as it was left, else how it would be taken again; `Err` when it is lost.
    async fn look(&self, live: Option<&Service>, by: &str) -> Result<Option<Plan>, String> {
        let name = &self.plan.service;
        let Some(live) = live else { return Err(format!("services/{name} was deleted")) };
        match self.plan.look(live, &names::lease(&self.shared.id)) {
            Look::Ours => Ok(None),
            Look::Replaced => Err(format!("services/{name} was deleted and made anew")),
            Look::Taken(lease) => {
                let deadline = Deadline::after(ATTEMPT);
                Err(service::taken_by(&self.shared.cluster, live, &lease, deadline).await)
            }
            Look::Reshaped(what) => Err(format!(
                "{by} gave services/{name} {what}, which the interceptor was not made for: start the exchange again"
            )),
            Look::Drifted(next) => Ok(Some(*next)),
        }
    }

    /// Whether the Service may be taken again, by the session's own Lease.
    async fn standing(&self) -> Fate {
        let (cluster, lease) = (&self.shared.cluster, names::lease(&self.shared.id));
        match service::standing(cluster, &lease, &self.plan.uid, Deadline::after(ATTEMPT)).await {
            Ok(Standing::Holds(uid)) => {
                self.shared.tenure.stands(&uid);
                Fate::Settled
            }
            Ok(Standing::Recovered(recovery)) => Fate::Lost(format!(
                "services/{} was put back by {} (kubetether recover or clean, {})",
                self.plan.service, recovery.by, recovery.at
            )),
            Ok(Standing::NoLease(error)) => {
                // It is made anew as soon as that is seen.
                self.shared.look.notify_one();
                Fate::Later(error)
            }
            Err(error) => Fate::Later(error),
        }
    }

    /// The Service is not ours for the moment, and is looked at again soon.
    fn not_now(&mut self, error: &Error) {
        self.theirs = true;
        self.look_again = Some(Instant::now() + LOOK);
        self.life.set(HandleState::PassThrough(error.to_string()));
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
            Err(error) => self.not_now(&error),
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
}

/// How the link stands that is there now.
fn fresh(kept: &Kept, before: watch::Receiver<Health>) -> watch::Receiver<Health> {
    let mut now = kept.link.health();
    if !now.same_channel(&before) {
        now.mark_changed();
        return now;
    }
    before
}
