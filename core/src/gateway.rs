//! The gateway: the agent that dials out into the cluster, shared by the sessions of a namespace.
//!
//! A session links to it when something needs it, and from then on a task keeps it so: when it is gone or about to go
//! while something rests on it, another one is found or made.

mod job;
mod standing;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use k8s_openapi::api::batch::v1::Job;
use tokio::sync::{Mutex, oneshot, watch};

use self::standing::{Standing, Teller};
use crate::backoff::{Backoff, Pace};
use crate::cluster::agent_link::{self, AgentLink, Health};
use crate::cluster::pod_wait::{self, Controller};
use crate::cluster::{agent_config_map, calls, gone, names};
use crate::session::{Part, Shared};
use crate::{Deadline, Error, ErrorCode, Result};

/// A gateway that did not start is taken away within this time.
const UNDO: Duration = Duration::from_secs(45);
/// Between two tries to get another one.
const PACE: Pace = Pace { first: Duration::from_millis(200), last: Duration::from_secs(5) };
/// One such try.
const ATTEMPT: Duration = Duration::from_secs(30);
/// A gateway that does not say within this time whether it may be taken away is asked no longer.
const ASK: Duration = Duration::from_secs(5);
/// A gateway of others that cannot be linked to within this time, while the API server answers, is of no use to them
/// either.
const PATIENCE: Duration = Duration::from_secs(12);

/// The session's gateway, once something needed one.
#[derive(Debug, Default)]
pub(crate) struct GatewaySlot {
    slot: Arc<Mutex<Option<Gateway>>>,
    /// How many need it.
    users: Arc<AtomicUsize>,
    standing: Standing,
}

/// Needs the gateway until dropped: while there is one, a gateway that is lost is replaced.
#[derive(Debug)]
pub(crate) struct User(Arc<AtomicUsize>);

impl Drop for User {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Clone, Debug)]
struct Gateway {
    name: String,
    link: AgentLink,
    /// The Job's, which the agent's ConfigMap knows as an owner.
    uid: String,
}

impl GatewaySlot {
    /// From now on the session needs a gateway.
    pub(crate) fn user(&self) -> User {
        self.users.fetch_add(1, Ordering::Relaxed);
        User(self.users.clone())
    }

    /// How it stands, now and from now on; up before there is one.
    pub(crate) fn health(&self) -> watch::Receiver<Health> {
        self.standing.subscribe()
    }

    /// The link to a gateway that is up: the session's, or another one if that is gone or about to go.
    pub(crate) async fn link(&self, shared: &Arc<Shared>, deadline: Deadline) -> Result<AgentLink> {
        let mut slot = tokio::time::timeout_at(deadline.instant(), self.slot.clone().lock_owned())
            .await
            .map_err(|_| Error::deadline("waiting for the gateway"))?;
        if let Some(gateway) = slot.as_ref().filter(|gateway| gateway.link.is_usable()) {
            return Ok(gateway.link.clone());
        }
        // A task of the session goes on when the caller gives up, so that what it makes is not lost.
        let (tell, told) = oneshot::channel();
        let owner = shared.clone();
        shared.tasks.spawn("start of the gateway", async move {
            let started = attach(&owner, deadline).await;
            if let Ok(gateway) = &started {
                *slot = Some(gateway.clone());
                let teller = owner.gateway.standing.next();
                owner.gateway.stands(&owner, teller, Health::Up);
                let watch = watch_over(owner.clone(), gateway.link.clone(), teller);
                owner.tasks.spawn("watch over the gateway", watch);
            }
            let _ = tell.send(started.map(|gateway| gateway.link));
        });
        told.await.unwrap_or_else(|_| Err(Error::closed("the session")))
    }

    /// Takes the gateway away unless other sessions use it.
    pub(crate) async fn release(&self, shared: &Arc<Shared>, deadline: Deadline) -> Result<()> {
        let slot = tokio::time::timeout_at(deadline.instant(), self.slot.lock()).await;
        let mut slot = slot.map_err(|_| Error::deadline("waiting for the gateway that is being started"))?;
        let Some(gateway) = slot.take() else { return Ok(()) };
        let asked = match calls::drain(&gateway.link, deadline.at_most(ASK)).await {
            // Its pod may be another one by now, or there may be none.
            Err(error) => {
                tracing::debug!(error = error.report(), "the gateway was not drained");
                ask_again(shared, &gateway, deadline).await
            }
            asked => asked,
        };
        match asked {
            Ok(true) => {}
            // Others use it, and the last of them takes it away.
            Ok(false) => {
                gateway.link.close(kubetether_link::GoodbyeCode::Closed, "the session ended");
                return Ok(());
            }
            // One that runs and cannot be asked is without clients soon, and ends by itself; its Job goes after it.
            Err(error) => {
                tracing::debug!(error = error.report(), "the gateway is left to end by itself");
                gateway.link.close(kubetether_link::GoodbyeCode::Closed, "the session ended");
                return Ok(());
            }
        }
        job::remove(&shared.cluster, shared.agent()?, &gateway.name, &gateway.uid, deadline).await
    }

    fn stands(&self, shared: &Shared, teller: Teller, health: Health) {
        self.standing.tell(teller, health, |health| shared.part(Part::Gateway, health));
    }
}

/// Tells how a gateway stands; when it is gone or about to go while something needs one, gets another.
fn watch_over(shared: Arc<Shared>, link: AgentLink, teller: Teller) -> BoxFuture<'static, ()> {
    Box::pin(keep(shared, link, teller))
}

async fn keep(shared: Arc<Shared>, link: AgentLink, teller: Teller) {
    let slot = &shared.gateway;
    let mut health = link.health();
    // It may have changed since the link was made.
    health.mark_changed();
    let why = loop {
        tokio::select! {
            biased;
            why = link.leaving() => break why,
            Ok(()) = health.changed() => slot.stands(&shared, teller, health.borrow_and_update().clone()),
        }
    };
    drop((health, link));
    let mut reason = format!("the gateway is gone and another one is awaited: {why}");
    let mut backoff = Backoff::new(PACE);
    loop {
        if slot.users.load(Ordering::Relaxed) == 0 || shared.ending.is_asked() {
            // Whoever needs one next starts it.
            slot.standing.tell(teller, Health::Up, |_| shared.part_gone(Part::Gateway));
            return;
        }
        slot.stands(&shared, teller, Health::Down(reason));
        match Box::pin(slot.link(&shared, Deadline::after(ATTEMPT))).await {
            // Which has a task of its own that watches over it.
            Ok(_) => return,
            Err(error) => {
                tracing::debug!(error = error.report(), "no gateway");
                reason = error.to_string();
                tokio::time::sleep(backoff.after(&error)).await;
            }
        }
    }
}

/// Asks the gateway's pod of now whether it may be taken away; it may when it has none that runs.
async fn ask_again(shared: &Shared, gateway: &Gateway, deadline: Deadline) -> Result<bool> {
    let cluster = &shared.cluster;
    match job::find_same(cluster, &gateway.name, &gateway.uid, deadline).await? {
        Some(job) if !job::is_bereft(cluster, &job, deadline).await? => {}
        _ => return Ok(true),
    }
    let limit = deadline.at_most(ASK);
    let pod = pod_wait::running(cluster, Controller { kind: "Job", instance: &gateway.name }, limit).await?;
    let link = shared.links.connect(cluster, &pod, limit).await?;
    let asked = calls::drain(&link, deadline.at_most(ASK)).await;
    link.close(kubetether_link::GoodbyeCode::Closed, "the session ended");
    asked
}

/// Finds or makes the namespace's gateway for this agent, and links to it.
async fn attach(shared: &Shared, deadline: Deadline) -> Result<Gateway> {
    let agent = shared.agent()?;
    let (cluster, name) = (&shared.cluster, names::gateway(agent.hash()));
    loop {
        let (job, ours) = match Box::pin(job::find_or_create(shared, agent, &name, deadline)).await {
            Ok(found) => found,
            Err(error) => {
                // The ConfigMap may be there for nobody now.
                if let Err(left) =
                    agent_config_map::disown(cluster, agent.piece(), "", Deadline::after(UNDO)).await
                {
                    tracing::warn!(error = left.report(), "a ConfigMap that nobody uses is left behind");
                }
                return Err(error);
            }
        };
        let uid = job.metadata.uid.clone().unwrap_or_default();
        let controller = Controller { kind: "Job", instance: &name };
        let linked = async {
            let pod = pod_wait::running(cluster, controller, deadline).await?;
            let limit = if ours { deadline } else { deadline.at_most(PATIENCE) };
            shared.links.connect(cluster, &pod, limit).await
        };
        match linked.await {
            Ok(link) => return Ok(Gateway { name, link, uid }),
            // Its last session is taking it away right now, or its pod has just gone.
            Err(error) if agent_link::is_leaving(&error) => leave(shared, &job, &name, deadline).await?,
            // It runs, and the way there is open, but it does not answer: on a node that is lost, say.
            Err(error)
                if !ours && error.code() == ErrorCode::AgentUnreachable && deadline.left() > PATIENCE =>
            {
                tracing::debug!(error = error.report(), "a gateway of no use is replaced");
                job::discard(cluster, &job, deadline).await?;
            }
            // Another session was done with it before this one came, so it ended, and well.
            Err(error)
                if error.code() == ErrorCode::AgentStart
                    && deadline.left() > PATIENCE
                    && job::has_ended_well(cluster, &job, deadline).await? =>
            {
                tracing::debug!(error = error.report(), "a gateway that has ended is replaced");
                job::remove(cluster, agent, &name, &uid, deadline).await?;
            }
            Err(error) => {
                // One that does not start for us does not start for others; one that runs may be theirs.
                let useless = ours || error.code() == ErrorCode::AgentStart;
                if useless
                    && let Err(left) = job::remove(cluster, agent, &name, &uid, Deadline::after(UNDO)).await
                {
                    tracing::warn!(
                        error = left.report(),
                        "a gateway that could not be started is left behind"
                    );
                }
                return Err(error);
            }
        }
    }
}

/// Waits for the end of a Job whose session takes it away, a moment; takes it away when nobody does.
async fn leave(shared: &Shared, job: &Job, name: &str, deadline: Deadline) -> Result<()> {
    const MOMENT: Duration = Duration::from_secs(2);
    match gone::wait::<Job>(&shared.cluster, name, deadline.at_most(MOMENT)).await {
        Err(error) if error.code() == ErrorCode::Deadline && deadline.left() > MOMENT => {
            job::discard(&shared.cluster, job, deadline).await
        }
        other => other,
    }
}
