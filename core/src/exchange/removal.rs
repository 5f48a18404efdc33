//! The one way by which an interceptor goes. As long as its Service may lead to it, it stays, whatever became of its
//! client: it passes callers through to the original pods, and without it nobody would answer them.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;

use super::companion::Companion;
use super::fallback::aside;
use super::interceptor::Interceptor;
use super::kept::Kept;
use super::note::{Holder, Note};
use super::plan::Plan;
use crate::backoff::{Backoff, Pace};
use crate::cluster::agent_link::AgentLink;
use crate::cluster::{Cluster, api, calls, names};
use crate::session::Shared;
use crate::{Deadline, Error, ErrorCode, Result};

/// One removal in the background is granted this much: more than a pod is given to end.
const LIMIT: Duration = Duration::from_secs(60);
/// Between two looks at a Service while the API server does not answer.
const AGAIN: Pace = Pace { first: Duration::from_millis(300), last: Duration::from_secs(3) };

/// Says that no Service leads to an interceptor any more. Made here only; the deletion of its objects demands it.
pub(super) struct Unneeded(());

/// The Service that an interceptor serves.
#[derive(Clone, Debug)]
pub(super) struct Served {
    pub(super) service: String,
    pub(super) uid: String,
    /// The value of its selector that leads to the interceptors of one session.
    pub(super) value: String,
}

impl Served {
    pub(super) fn by(plan: &Plan) -> Self {
        Self { service: plan.service.clone(), uid: plan.uid.clone(), value: plan.value.clone() }
    }
}

/// An interceptor that is to go.
pub(super) struct Leaving<'a> {
    pub(super) interceptor: &'a Interceptor,
    pub(super) served: Served,
    /// How its Service was taken, where it may not have been put back: it is, first.
    pub(super) taken_as: Option<&'a Plan>,
    pub(super) companion: Option<&'a Companion>,
    pub(super) link: Option<&'a AgentLink>,
}

/// Takes an interceptor away and waits until it is gone, once it is certain that its Service leads elsewhere, and the nodes
/// have had time to learn that.
///
/// # Errors
/// [`NotRestored`](ErrorCode::NotRestored) when the Service leads to it and cannot be put back: it stays then.
pub(super) async fn remove(shared: &Shared, leaving: &Leaving<'_>, deadline: Deadline) -> Result<()> {
    let unneeded = unneeded(shared, leaving, deadline).await?;
    if let Some(companion) = leaving.companion {
        companion.remove(shared, deadline).await?;
    }
    if let Some(link) = leaving.link.filter(|link| *link.carriers().borrow() > 0) {
        let _ = calls::drain(link, deadline).await;
    }
    leaving.interceptor.delete(shared, unneeded, deadline).await
}

async fn unneeded(shared: &Shared, leaving: &Leaving<'_>, deadline: Deadline) -> Result<Unneeded> {
    let (cluster, served) = (&shared.cluster, &leaving.served);
    if let Some(plan) = leaving.taken_as {
        let fallback = leaving.interceptor.fallback(cluster, &plan.service);
        let lease = names::lease(&shared.id);
        if aside::restore(cluster, plan, &lease, fallback.as_ref(), deadline).await? {
            leaving.interceptor.needed_for(shared.config.linger);
        }
    }
    // Late callers are passed through until the nodes know.
    leaving.interceptor.no_longer_needed(deadline).await;
    let live = read(cluster, &served.service, deadline).await?;
    let name = &leaving.interceptor.name;
    if live.is_some_and(|live| leads_to(&live, served, name)) {
        let service = &served.service;
        let text = format!("deployments/{name} stays: services/{service} still leads to it");
        return Err(Error::new(ErrorCode::NotRestored, text)
            .on(format!("services/{service}"))
            .try_this(format!("`kubetether recover {service}` puts it back")));
    }
    Ok(Unneeded(()))
}

/// Whether callers of the Service may be led to this interceptor: it holds the value of that one's session, and no note
/// says that another one of that session receives them.
fn leads_to(live: &Service, served: &Served, interceptor: &str) -> bool {
    if live.metadata.uid.as_ref() != Some(&served.uid) {
        return false;
    }
    let selector = live.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    let selects = selector.is_some_and(|selector| selector.values().any(|value| *value == served.value));
    let another = |note: &Note| {
        !note.holders.is_empty() && note.holders.iter().all(|holder| holder.interceptor != interceptor)
    };
    selects && !matches!(Note::of(live), Ok(Some(note)) if another(&note))
}

async fn read(cluster: &Cluster, service: &str, deadline: Deadline) -> Result<Option<Service>> {
    let mut backoff = Backoff::new(AGAIN);
    loop {
        let error = match cluster.find::<Service>(service, deadline).await {
            Err(error) if api::is_passing(&error) => error,
            done => return done,
        };
        let pause = backoff.after(&error);
        if deadline.left() <= pause {
            return Err(error);
        }
        tokio::time::sleep(pause).await;
    }
}

/// An interceptor of this session that is of no use any more.
#[derive(Debug)]
pub(crate) enum Useless {
    /// One that was up.
    Kept(Box<Kept>),
    /// One whose start failed, for a Service that was to be taken like this.
    Begun(Box<(Interceptor, Plan)>),
}

impl Useless {
    pub(crate) async fn remove(&self, shared: &Shared, deadline: Deadline) -> Result<()> {
        match self {
            Self::Kept(kept) => kept.remove(shared, deadline).await,
            Self::Begun(begun) => {
                let (interceptor, plan) = &**begun;
                let served = Served::by(plan);
                let leaving = Leaving { interceptor, served, taken_as: None, companion: None, link: None };
                Box::pin(remove(shared, &leaving, deadline)).await
            }
        }
    }

    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Kept(kept) => kept.name(),
            Self::Begun(begun) => &begun.0.name,
        }
    }
}

/// Takes an interceptor away in the background. One that has to stay is tried again at the session's end.
pub(crate) fn in_background(shared: &Arc<Shared>, useless: Useless) {
    let session = shared.clone();
    shared.chore("end of an interceptor", async move {
        if let Err(error) = useless.remove(&session, Deadline::after(LIMIT)).await {
            tracing::debug!(error = error.report(), "an interceptor stays for now");
            session.leave(useless);
        }
    });
}

/// Takes away the interceptors of dead sessions, who held a Service that was taken over from them.
pub(super) async fn of_the_dead(shared: Arc<Shared>, plan: Plan, dead: Note) {
    let own = names::lease(&shared.id);
    // What this session left itself is kept, or went, by the session's own knowledge.
    for holder in dead.holders.iter().filter(|holder| holder.lease != own) {
        if let Err(error) = of_dead_holder(&shared, &plan, holder).await {
            tracing::warn!(error = error.report(), "the interceptor of a dead session is left behind");
        }
    }
}

async fn of_dead_holder(shared: &Shared, plan: &Plan, holder: &Holder) -> Result<()> {
    let deadline = Deadline::after(LIMIT);
    let found = shared.cluster.find::<Deployment>(&holder.interceptor, deadline).await?;
    let Some(interceptor) = found.as_ref().and_then(Interceptor::left_behind) else { return Ok(()) };
    // Until all nodes know that its Service leads elsewhere.
    interceptor.needed_for(shared.config.linger);
    let session = names::session_of_lease(&holder.lease).unwrap_or_default();
    let served = Served { value: names::selector_value(&plan.uid, session), ..Served::by(plan) };
    let leaving = Leaving { interceptor: &interceptor, served, taken_as: None, companion: None, link: None };
    remove(shared, &leaving, deadline).await
}

#[cfg(test)]
mod tests;
