//! Watches over an exchange in force: puts back what somebody else changes, finds the interceptor's
//! next pod when one is gone, and ends the exchange when that is asked for or cannot be helped.

mod foreign;
mod next;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Service;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::foreign::{LOOK_AFTER, Why};
use super::changes::{Seen, changes};
use super::companion::{Companion, Wanted};
use super::fallback::Fallback;
use super::inbound::{Inbound, Locals};
use super::kept::{Kept, locals};
use super::note::Note;
use super::plan::Plan;
use super::safe::{Nets, Safe};
use super::stop;
use crate::cluster::agent_link::Health;
use crate::flow::Counters;
use crate::life::Life;
use crate::session::{Part, Reservation, Shared};
use crate::{Deadline, Error, HandleState};

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
    pub(super) locals: Locals,
    /// Ends the connections that are open.
    ending: CancellationToken,
    put_backs: VecDeque<Instant>,
    /// When the Service may be put back again.
    look_again: Option<Instant>,
    /// Whether the Service may not be watched, so that it is looked at now and then.
    blind: bool,
    held: Held,
    /// When it is looked after what serves the Service.
    look_after: Instant,
    /// Whether it was told that somebody scales the interceptor.
    scaled: bool,
    /// Whether bytes flow on the link to the interceptor.
    reached: bool,
    /// When an interceptor that is not heard is taken for lost.
    lost_at: Option<Instant>,
    reservation: Option<Reservation>,
}

/// Whose the Service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    /// It leads to the interceptor.
    Ours,
    /// This exchange has put it back until its interceptor is heard again.
    Away,
    /// It is not to be had for the moment, and is looked at again.
    Theirs,
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
            held: Held::Ours,
            look_after: Instant::now() + LOOK_AFTER,
            scaled: false,
            reached: true,
            lost_at: None,
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
        let restored = kept.interceptor.nets.restore;
        // Those of an interceptor that was replaced count no more.
        self.safe.change(|nets| *nets = Nets { restored, ..Nets::default() });
        let Some(fallback) = kept.interceptor.fallback(&self.shared.cluster, &self.plan.service) else {
            return;
        };
        if self.held != Held::Ours {
            fallback.stand_aside();
        }
        self.fallback = Some(fallback.clone());
        let safe = self.safe.clone();
        let caught = move || safe.change(|nets| nets.caught = true);
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
                    Some(Seen::Service(told)) if self.is_as_left(told.as_deref()) => {}
                    Some(Seen::Service(_)) => match self.answer(&mut note, &mut kept).await {
                        None => health = fresh(&kept, health),
                        Some(end) => break end,
                    },
                    // A watch has no end of its own.
                    None => changes = futures_util::stream::pending().boxed(),
                },
                () = tokio::time::sleep_until(again), if self.look_again.is_some() => {
                    self.look_again = self.blind.then(|| Instant::now() + LOOK);
                    match self.answer(&mut note, &mut kept).await {
                        None => health = fresh(&kept, health),
                        Some(end) => break end,
                    }
                }
                () = tokio::time::sleep_until(self.look_after) => {
                    let fate = self.look_after(&kept).await;
                    match self.conclude(fate, &mut note, &mut kept).await {
                        None => health = fresh(&kept, health),
                        Some(end) => break end,
                    }
                }
                why = kept.link.leaving() => match self.next_pod(&mut kept, &mut note, &why).await {
                    None => health = fresh(&kept, health),
                    Some(end) => break end,
                },
                // Somebody took this session for dead, and may have put the Service back.
                Ok(()) = tenure.changed() => self.look_again = Some(Instant::now()),
                Ok(()) = health.changed() => {
                    let now = health.borrow_and_update().clone();
                    let back = now == Health::Up && self.held == Held::Away;
                    self.link_stands(now);
                    if back {
                        let fate = self.regain(Why::PutBack("the silence of the interceptor"), &note, &mut kept).await;
                        match self.conclude(fate, &mut note, &mut kept).await {
                            None => health = fresh(&kept, health),
                            Some(end) => break end,
                        }
                    }
                }
                () = tokio::time::sleep_until(lost), if self.lost_at.is_some() => tokio::select! {
                    deadline = life.end_wanted() => break End::Wanted(deadline),
                    away = self.lose() => {
                        if away {
                            self.held = Held::Away;
                        }
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
                let late = (self.held != Held::Away).then(|| Instant::now() + SILENT);
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
        self.put_back_meanwhile().await
    }

    fn active_again(&self) {
        if self.reached && self.held == Held::Ours && self.life.state().is_disturbed() {
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

#[cfg(test)]
mod tests;
