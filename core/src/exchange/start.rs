//! The start of an exchange. Nothing of the user's is changed before everything else stands; what was
//! begun is undone when a step fails or the caller gives up.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Service;

use super::fallback::{Fallback, aside};
use super::guard::Guard;
use super::interceptor::Interceptor;
use super::kept::Kept;
use super::note::Note;
use super::plan::Plan;
use super::removal::{self, Useless};
use super::{Exchange, ExchangedPort, interceptor, policies, prove, service, wait};
use crate::cluster::agent_pod::Host;
use crate::cluster::pod_wait::{self, Controller};
use crate::cluster::{calls, lease, names};
use crate::life::Life;
use crate::session::{Reservation, Shared};
use crate::target::Protocol;
use crate::target::{Target, TargetKind};
use crate::to::To;
use crate::{Deadline, Error, ErrorCode, HandleState, Result};

const STEPS: u32 = 6;
/// To see whether the holder of a Service lives takes as long as a Lease holds, and a little.
const JUDGING: Duration = lease::DURATION.saturating_add(Duration::from_secs(15));
/// An undone start is granted this much, whatever its own deadline was: more than a pod is given to end.
const UNDO: Duration = Duration::from_secs(45);
/// A start waits so long for the net below the interceptor; it comes later where that is not enough.
const NET: Duration = Duration::from_secs(1);

/// Starts an exchange; with `renewable` it gets so much time anew once it is clear whether the Service is free, for which it waits `until` then. On success a task of the session watches over it.
pub(crate) async fn start(
    shared: &Arc<Shared>,
    life: &Arc<Life>,
    target: &Target,
    to: &To,
    deadline: Deadline,
    renewable: Option<Duration>,
    until: Deadline,
) -> Result<Exchange> {
    if target.kind() != TargetKind::Service {
        return Err(Error::new(
            ErrorCode::Unsupported,
            format!("{target} cannot be exchanged: this version exchanges Services"),
        )
        .on(target.to_string())
        .try_this("name the Service that leads to it"));
    }
    // Held until what was begun is undone, should it come to that.
    let mut reservation = Some(shared.reserve(target.name())?);
    let mut start = Start {
        shared,
        life,
        deadline,
        renewable,
        until,
        plan: None,
        kept: None,
        unfinished: None,
        taken: false,
        fallback: None,
    };
    match Box::pin(start.run(target.name(), to, &mut reservation)).await {
        Ok(exchange) => Ok(exchange),
        Err(error) => {
            start.undo().await;
            drop(reservation);
            Err(error)
        }
    }
}

pub(super) struct Start<'a> {
    shared: &'a Arc<Shared>,
    life: &'a Arc<Life>,
    deadline: Deadline,
    renewable: Option<Duration>,
    /// To wait for a Service that somebody else holds.
    until: Deadline,
    plan: Option<Plan>,
    /// What stands.
    kept: Option<Kept>,
    /// What was begun, and for what.
    unfinished: Option<(Interceptor, Plan)>,
    /// Whether the Service may have been changed.
    taken: bool,
    /// The net below the interceptor.
    fallback: Option<Fallback>,
}

impl<'a> Start<'a> {
    /// For another interceptor of an exchange that is in force.
    pub(super) fn anew(shared: &'a Arc<Shared>, life: &'a Arc<Life>, limit: Duration) -> Self {
        let deadline = Deadline::after(limit);
        Self {
            shared,
            life,
            deadline,
            renewable: None,
            until: deadline.at_most(Duration::ZERO),
            plan: None,
            kept: None,
            unfinished: None,
            fallback: None,
            taken: false,
        }
    }

    /// An interceptor under a name that none had before, which reaches the originals and is armed. What was begun before an
    /// error, or when this is dropped, [`undo`](Self::undo) takes away.
    pub(super) async fn stand_anew(&mut self, found: &Service, plan: &Plan) -> Result<Kept> {
        self.shared.next_generation();
        self.stand(found, plan).await?;
        let Some(kept) = &self.kept else { return Err(Error::new(ErrorCode::Internal, "no interceptor")) };
        let ready = pod_wait::ready(&self.shared.cluster, &kept.pod.name, self.deadline);
        let originals = prove::originals_answer(&kept.link, plan, self.deadline);
        self.or_cancelled(async { tokio::try_join!(ready, originals) }).await?;
        calls::arm(&kept.link, plan.exposed(), &self.shared.who, self.deadline).await?;
        self.kept.take().ok_or_else(|| Error::new(ErrorCode::Internal, "no interceptor"))
    }

    async fn run(&mut self, name: &str, to: &To, reservation: &mut Option<Reservation>) -> Result<Exchange> {
        let cluster = &self.shared.cluster;
        self.life.progress(1, STEPS, format!("reading services/{name}"));
        let found: Service = cluster.named(name, self.deadline).await?;
        let lease = names::lease(&self.shared.id);
        let (found, dead) = self.claim(found, &lease).await?;
        let deadline = self.deadline;
        let uid = found.metadata.uid.clone().unwrap_or_default();
        let value = names::selector_value(&uid, &self.shared.id);
        let plan = Plan::new(&found, value, to, dead.as_ref())?;
        self.plan = Some(plan.clone());

        self.life.progress(2, STEPS, "starting the interceptor");
        let counters = self.shared.flows.handle(self.life.id(), "exchange", Protocol::Tcp);
        self.stand(&found, &plan).await?;
        let Some(kept) = &self.kept else { return Err(Error::new(ErrorCode::Internal, "no interceptor")) };
        let (link, pod, interceptor) = (kept.link.clone(), kept.pod.clone(), kept.interceptor.name.clone());

        self.life.progress(3, STEPS, "reaching the original pods through it");
        // So that the Service has an endpoint the moment it is taken.
        let ready = pod_wait::ready(cluster, &pod.name, deadline);
        let originals = prove::originals_answer(&link, &plan, deadline);
        self.or_cancelled(async { tokio::try_join!(ready, originals) }).await?;

        self.life.progress(4, STEPS, format!("taking services/{name}"));
        calls::arm(&link, plan.exposed(), &self.shared.who, deadline).await?;
        let note = Note::exchange(plan.original.clone(), lease.clone(), plan.exposed(), interceptor);
        let note = note.since(&lease::time_for_people());
        let mut guard = Guard::new(self.shared.clone(), self.life.clone(), plan.clone(), counters.clone());
        // From here on callers may come: somebody must be there for them.
        guard.receive(kept);
        self.taken = true;
        service::take(cluster, &plan, &note, &lease, dead.as_ref(), deadline).await?;
        if let Some(kept) = &mut self.kept {
            // It is this exchange's by now, with originals of its own.
            kept.taken_as = None;
            guard.spread_nets(kept);
        }
        self.fallback.clone_from(&guard.fallback);

        self.life.progress(5, STEPS, "proving that its traffic arrives here");
        self.or_cancelled(prove::traffic_arrives(&link, &plan, deadline)).await?;
        if self.fallback.is_some() {
            guard.safe.caught(NET).await;
        }

        self.life.progress(6, STEPS, "done");
        self.life.notice("connections that were open before stay with the original pods until they end");
        let ports = plan
            .ports
            .iter()
            .filter_map(|port| Some(ExchangedPort { service_port: port.number, local: port.local.clone()? }));
        let exchange = Exchange {
            life: self.life.clone(),
            service: plan.service.clone(),
            ports: ports.collect(),
            passed: plan.ports.iter().filter(|port| port.local.is_none()).map(|port| port.number).collect(),
            counters,
            safe: guard.safe.clone(),
        };
        let Some(kept) = self.kept.take() else {
            return Err(Error::new(ErrorCode::Internal, "no interceptor"));
        };
        guard.own(reservation.take());
        self.life.set(HandleState::Active);
        let absent = guard.locals.clone().tell_absent(self.life.clone());
        self.shared.tasks.spawn("look for listeners", absent);
        self.shared.tasks.spawn("guard of an exchange", guard.watch(kept, note));
        if let Some(dead) = dead {
            let leftovers = removal::of_the_dead(self.shared.clone(), plan, dead);
            self.shared.chore("leftovers of a dead session", leftovers);
        }
        Ok(exchange)
    }

    /// The Service, once it is clear that nobody who lives holds it. To watch whether a holder lives takes half a minute,
    /// which does not count against the time of the start unless the caller gave it one of its own.
    async fn claim(&mut self, found: Service, own: &str) -> Result<(Service, Option<Note>)> {
        let (cluster, life) = (&self.shared.cluster, self.life);
        let limit = self.deadline.at_least(if self.renewable.is_some() { JUDGING } else { Duration::ZERO });
        let left = self.deadline.left();
        let uid = found.metadata.uid.clone().unwrap_or_default();
        let claimed = tokio::select! {
            claimed = wait::claim(cluster, life, found, own, limit, self.until) => claimed?,
            _ = life.end_wanted() => return Err(Error::closed("the exchange's start was cancelled; it")),
        };
        if !self.until.left().is_zero() {
            // Waiting does not count.
            self.deadline = self.deadline.at_least(left);
        }
        if let Some(duration) = self.renewable {
            self.deadline = self.deadline.at_least(duration);
        }
        // What was put back by hand before is wanted again.
        lease::unmark_recovered(cluster, own, &uid, self.deadline).await?;
        Ok(claimed)
    }

    /// An interceptor for this Service with a link to it: one that was kept, or a new one.
    async fn stand(&mut self, found: &Service, plan: &Plan) -> Result<()> {
        if let Some(kept) = self.shared.take_kept(&plan.uid) {
            if kept.fits(plan) && kept.made_under == self.shared.tenure.now().uid {
                let kept = self.kept.insert(kept);
                // A proof wants every connection at one place.
                if let Some(companion) = kept.companion.take() {
                    companion.remove(self.shared, self.deadline).await?;
                }
                return Ok(());
            }
            if let Err(error) = kept.remove(self.shared, Deadline::after(UNDO)).await {
                self.shared.keep(kept);
                return Err(error);
            }
        }
        let (cluster, deadline) = (&self.shared.cluster, self.deadline);
        let agent = self.shared.agent()?;
        let name = self.shared.interceptor_name(&plan.service, &plan.uid);
        if let Some(useless) = self.shared.take_left(&name)
            && let Err(error) = useless.remove(self.shared, Deadline::after(UNDO)).await
        {
            self.shared.leave(useless);
            return Err(error);
        }
        let labels = interceptor::pod_labels(&name, plan);
        let looked = async {
            tokio::try_join!(
                service::host(cluster, agent, plan, deadline),
                policies::check(cluster, plan, &labels, deadline)
            )
        };
        let (host, ()): (Host, ()) = self.or_cancelled(looked).await?;
        let (interceptor, _) = self.unfinished.insert((Interceptor::new(name.clone()), plan.clone()));
        Box::pin(interceptor.create(self.shared, &host, found, plan, deadline)).await?;
        let controller = Controller { kind: "ReplicaSet", instance: &name };
        let pod = self.or_cancelled(pod_wait::running(cluster, controller, deadline)).await?;
        let link = self.shared.links.connect(cluster, &pod, deadline);
        let link = self.or_cancelled(link).await?;
        let Some((interceptor, plan)) = self.unfinished.take() else {
            return Err(Error::new(ErrorCode::Internal, "no interceptor"));
        };
        self.kept = Some(Kept::new(self.shared, interceptor, pod, link, plan));
        Ok(())
    }

    /// Waits for something that changes nothing, unless the caller gives up or the time is over.
    async fn or_cancelled<T>(&self, wait: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            done = wait => done,
            _ = self.life.end_wanted() => Err(Error::closed("the exchange's start was cancelled; it")),
            () = tokio::time::sleep_until(self.deadline.instant() + Duration::from_millis(500)) => {
                Err(Error::deadline("the start of the exchange"))
            }
        }
    }

    /// Puts back and takes away what was begun; an interceptor that stands is kept for a next try.
    pub(super) async fn undo(&mut self) {
        let deadline = Deadline::after(UNDO);
        let (cluster, lease) = (&self.shared.cluster, names::lease(&self.shared.id));
        let fallback = self.fallback.take();
        let restored = match (self.taken, &self.plan) {
            (true, Some(plan)) => aside::restore(cluster, plan, &lease, fallback.as_ref(), deadline).await,
            _ => Ok(false),
        };
        if let Some(fallback) = fallback {
            let _ = fallback.end(deadline).await;
        }
        if let Err(error) = &restored {
            tracing::warn!(error = error.report(), "an exchange that could not be started is not undone");
            self.life.notice(error.report());
        }
        if let Some(mut kept) = self.kept.take() {
            if self.taken {
                kept.taken_as.clone_from(&self.plan);
                kept.interceptor.needed_for(self.shared.config.linger);
            }
            // Unarmed it passes everything through.
            let _ = calls::disarm(&kept.link, deadline).await;
            kept.inbound.set(None);
            self.shared.keep(kept);
        }
        self.undo_interceptor().await;
    }

    async fn undo_interceptor(&mut self) {
        let Some((interceptor, plan)) = self.unfinished.take() else { return };
        let useless = Useless::Begun(Box::new((interceptor, plan)));
        if let Err(error) = useless.remove(self.shared, Deadline::after(UNDO)).await {
            tracing::warn!(error = error.report(), "an interceptor that could not be started is left behind");
            self.life.notice(error.report());
            self.shared.leave(useless);
        }
    }
}
