//! The interceptor's next pod, or another interceptor: the exchange goes on with it under the same handle.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use tokio::time::Instant;

use super::foreign::Why;
use super::{ATTEMPT, End, Fate, Guard, Held};
use crate::backoff::{Backoff, Pace};
use crate::cluster::agent_link::Health;
use crate::cluster::pod_wait::{self, AgentPod, Controller};
use crate::cluster::{calls, names};
use crate::exchange::companion::Companion;
use crate::exchange::fallback::aside;
use crate::exchange::interceptor::Interceptor;
use crate::exchange::kept::Kept;
use crate::exchange::note::Note;
use crate::exchange::patience::{Patience, Unclaimed};
use crate::exchange::plan::Plan;
use crate::exchange::prove;
use crate::exchange::removal;
use crate::exchange::start::Start;
use crate::{Deadline, Error, ErrorCode, Result};

/// One attempt to put the Service back; it is tried again.
const PUT_BACK: Duration = Duration::from_secs(10);
/// Between two tries to reach the interceptor's next pod.
const PACE: Pace = Pace { first: Duration::from_millis(500), last: Duration::from_secs(3) };

/// Why an interceptor was not reached.
enum Gone {
    /// It is gone for good, or others take it away. Why, for people.
    Anew(String),
    /// The Service is not this exchange's any more. Why, for people.
    Lost(String),
    /// It may be reached later.
    Later(Error),
}

impl Guard {
    /// Waits for the interceptor's next pod and arms it. When that takes long the Service is put back
    /// meanwhile, and taken again afterwards.
    pub(super) async fn next_pod(&mut self, kept: &mut Kept, note: &mut Note, why: &str) -> Option<End> {
        self.link_stands(Health::Down(format!(
            "the interceptor's pod is gone and its next one is awaited: {why}"
        )));
        let mut backoff = Backoff::new(PACE);
        let (mut patience, mut pause, mut again) = (Patience::new(), Instant::now(), false);
        let (pod, link) = loop {
            let tried = self.try_next(&kept.interceptor, pause, again);
            // Callers come here by the second interceptor, while it is there.
            let tried = patience.during(&self.life, tried, || is_beside(kept), || self.put_back_meanwhile());
            let error = match tried.await {
                Err(deadline) => return Some(End::Wanted(deadline)),
                Ok(Ok((pod, link))) => break (*pod, link),
                Ok(Err(Gone::Lost(reason))) => return Some(End::Lost(reason)),
                Ok(Err(Gone::Anew(why))) => return Box::pin(self.anew(kept, note, &why)).await,
                Ok(Err(Gone::Later(error))) => error,
            };
            tracing::debug!(error = error.report(), "the interceptor's next pod is not there yet");
            again = true;
            self.link_stands(Health::Down(error.to_string()));
            pause = Instant::now() + backoff.after(&error);
        };
        kept.moved(&self.shared, pod, link.hand_over());
        let fate = self.arrive(Why::PutBack("the loss of the interceptor"), kept, note).await;
        self.conclude(fate, note, kept).await
    }

    /// Another interceptor, under the same handle: the one there was is gone for good, or others take it away.
    pub(super) async fn anew(&mut self, kept: &mut Kept, note: &mut Note, why: &str) -> Option<End> {
        tracing::debug!(why, service = self.plan.service, "another interceptor is made");
        self.link_stands(Health::Down(format!("another interceptor is made: {why}")));
        let (shared, life) = (self.shared.clone(), self.life.clone());
        let mut backoff = Backoff::new(PACE);
        let (mut patience, mut pause) = (Patience::new(), Instant::now());
        let (new, plan) = loop {
            let mut start = Start::anew(&shared, &life, ATTEMPT);
            let tried = self.try_anew(&mut start, pause);
            let tried = patience.during(&life, tried, || false, || self.put_back_meanwhile());
            let error = match tried.await {
                Ok(Ok(made)) => break made,
                Ok(Err(Gone::Later(error))) => error,
                Ok(Err(Gone::Anew(why))) => Error::new(ErrorCode::Lost, why),
                Ok(Err(Gone::Lost(reason))) => {
                    start.undo().await;
                    return Some(End::Lost(reason));
                }
                Err(deadline) => {
                    start.undo().await;
                    return Some(End::Wanted(deadline));
                }
            };
            start.undo().await;
            tracing::debug!(error = error.report(), "another interceptor could not be made yet");
            self.link_stands(Health::Down(error.to_string()));
            pause = Instant::now() + backoff.after(&error);
        };
        let old = std::mem::replace(kept, new);
        self.plan = plan;
        // They serve until then.
        let nets = self.fallback.take();
        for holder in &mut note.holders {
            holder.interceptor.clone_from(&kept.interceptor.name);
        }
        self.receive(kept);
        let fate = self.arrive(Why::Anew("the loss of the interceptor"), kept, note).await;
        let old = old.succeeded();
        self.spread_nets(kept);
        kept.companion = self.second(kept);
        self.shared.chore("interceptor that was replaced", async move {
            if let Some(nets) = nets {
                let _ = nets.end(Deadline::after(ATTEMPT)).await;
            }
        });
        removal::in_background(&self.shared, old);
        self.conclude(fate, note, kept).await
    }

    /// The interceptor is reached: the Service is taken, if it was put back, and led here again.
    async fn arrive(&mut self, why: Why, kept: &mut Kept, note: &Note) -> Fate {
        // What somebody insists on is looked at again by itself.
        let insisted = self.held == Held::Theirs && !matches!(why, Why::Anew(_));
        let fate = if insisted { Fate::Settled } else { self.regain(why, note, kept).await };
        if matches!(fate, Fate::Lost(_) | Fate::Anew(_)) {
            return fate;
        }
        // A proof wants every connection at one place.
        if self.held == Held::Ours && !is_beside(kept) {
            let proven = prove::traffic_arrives(&kept.link, &self.plan, Deadline::after(ATTEMPT));
            tokio::select! {
                _ = self.life.end_wanted() => {}
                proven = proven => if let Err(error) = proven {
                    self.life.notice(error.to_string());
                },
            }
        }
        self.link_stands(Health::Up);
        fate
    }

    /// Puts the Service back until its interceptor is there; whether it did.
    pub(super) async fn put_back_meanwhile(&self) -> bool {
        let restored = self.restore(Deadline::after(PUT_BACK)).await;
        let done = restored.is_ok();
        self.life.notice(match restored {
            Ok(_) => {
                format!("services/{} is put back until its interceptor is there again", self.plan.service)
            }
            Err(error) => error.to_string(),
        });
        done
    }

    /// Puts the Service back, with the net below its interceptor out of the way.
    pub(super) async fn restore(&self, deadline: Deadline) -> Result<bool> {
        let (cluster, lease) = (&self.shared.cluster, names::lease(&self.shared.id));
        aside::restore(cluster, &self.plan, &lease, self.fallback.as_ref(), deadline).await
    }

    /// Reaches for the interceptor's pod of now, not before `pause`, as long as there is an interceptor to reach for.
    async fn try_next(
        &self,
        interceptor: &Interceptor,
        pause: Instant,
        again: bool,
    ) -> Result<(Box<AgentPod>, Unclaimed), Gone> {
        tokio::time::sleep_until(pause).await;
        let (cluster, deadline) = (&self.shared.cluster, Deadline::after(ATTEMPT));
        // Nothing is done before it is clear whose the Service is.
        if let Ok(live) = cluster.find::<Service>(&self.plan.service, deadline).await {
            self.look(live.as_ref(), "somebody").await.map_err(Gone::Lost)?;
        }
        if let Ok(found) = cluster.find::<Deployment>(&interceptor.name, deadline).await
            && found.is_none_or(|found| found.metadata.deletion_timestamp.is_some())
        {
            return Err(Gone::Anew(format!("deployments/{} was deleted", interceptor.name)));
        }
        if again && let Err(error) = interceptor.restock(&self.shared, deadline).await {
            tracing::debug!(
                error = error.report(),
                "what the interceptor's pods are made from may be missing"
            );
        }
        let (pod, link) = self.reach_next(&interceptor.name).await.map_err(Gone::Later)?;
        Ok((Box::new(pod), link))
    }

    /// Makes another interceptor, not before `pause`, as long as the Service may be taken.
    async fn try_anew(&self, start: &mut Start<'_>, pause: Instant) -> Result<(Kept, Plan), Gone> {
        tokio::time::sleep_until(pause).await;
        let found = self.shared.cluster.find::<Service>(&self.plan.service, Deadline::after(ATTEMPT)).await;
        let live = found.map_err(Gone::Later)?;
        let next = self.look(live.as_ref(), "somebody").await.map_err(Gone::Lost)?;
        match self.standing().await {
            Fate::Settled => {}
            Fate::Anew(why) => return Err(Gone::Anew(why)),
            Fate::Lost(reason) => return Err(Gone::Lost(reason)),
            Fate::Later(error) => return Err(Gone::Later(error)),
        }
        let Some(live) = live else {
            return Err(Gone::Lost(format!("services/{} was deleted", self.plan.service)));
        };
        let plan = next.unwrap_or_else(|| self.plan.clone());
        let kept = Box::pin(start.stand_anew(&live, &plan)).await.map_err(Gone::Later)?;
        Ok((kept, plan))
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

/// Whether there is a second interceptor that callers reach this machine by.
fn is_beside(kept: &Kept) -> bool {
    kept.companion.as_ref().is_some_and(Companion::is_up)
}
