//! Reading and writing the Service itself.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Service};

use super::note::{Holder, Note};
use super::plan::{Look, Plan};
use super::put_back::is_taken;
use crate::backoff::{Backoff, Pace};
use crate::cluster::agent_file::Agent;
use crate::cluster::agent_pod::Host;
use crate::cluster::lease::judge::{Jury, Verdict};
use crate::cluster::lease::{self, Known, Recovery};
use crate::cluster::{Cluster, api, fields, names, quota};
use crate::{Deadline, Error, ErrorCode, Result};

/// Finds out whether the Service may be taken: refused when somebody else who lives holds it. Whether the holder lives may
/// have to be watched for half a minute, of which `tell` hears. Returns the Service as it is then, with the note of a dead
/// holder, or of an exchange of the `own` Lease that could not be put back, if there is one. Cancel-safe.
pub(crate) async fn claim(
    cluster: &Cluster,
    mut service: Service,
    own: &str,
    deadline: Deadline,
    tell: impl Fn(String),
) -> Result<(Service, Option<Note>)> {
    let name = service.metadata.name.clone().unwrap_or_default();
    loop {
        let Some(note) = Note::of(&service)? else { return Ok((service, None)) };
        let mut jury = Jury::default();
        let others: Vec<&Holder> = note.holders.iter().filter(|holder| holder.lease != own).collect();
        if others.is_empty() {
            return Ok((service, Some(note)));
        }
        others.iter().for_each(|holder| jury.summon(cluster.namespace(), &holder.lease));
        jury.look(cluster, deadline, |_| true).await?;
        let who: Vec<&str> = others.iter().map(|holder| who(&jury, cluster, holder)).collect();
        tell(format!(
            "services/{name} is held by {}; that session is watched for up to {} s: if it is dead, the Service is taken over",
            who.join(", "),
            lease::DURATION.as_secs()
        ));
        jury.judge(cluster, deadline).await?;
        for holder in &others {
            let known = jury.known(cluster.namespace(), &holder.lease);
            let dead = match (jury.verdict(cluster.namespace(), &holder.lease), known) {
                (Verdict::Dead, Some(known)) => lease::bury(cluster, known, deadline).await?,
                (verdict, _) => verdict == Verdict::Dead,
            };
            if !dead {
                return Err(held(&service, holder, known));
            }
            tracing::debug!(lease = holder.lease, service = name, "a dead session's Service is taken over");
        }
        // Meanwhile it may have been put back, or taken.
        let now: Service = cluster.get(&name, deadline).await?;
        let same = Note::of(&now)?.is_some_and(|now| now.holders == note.holders);
        service = now;
        if same {
            return Ok((service, Some(note)));
        }
    }
}

/// Whether a session may write to a Service that it took before.
pub(crate) enum Standing {
    /// Yes, under the Lease of this uid.
    Holds(String),
    /// Somebody put the Service back by hand.
    Recovered(Recovery),
    /// Not before there is a Lease again.
    NoLease(Error),
}

/// Reads the session's own Lease. Whoever takes a session for dead takes its Lease away before anything else.
pub(crate) async fn standing(
    cluster: &Cluster,
    lease: &str,
    service_uid: &str,
    deadline: Deadline,
) -> Result<Standing> {
    let Some(mut known) = lease::find(cluster, lease, deadline).await? else {
        let text = format!("leases/{lease} is gone: somebody took this session for dead");
        return Ok(Standing::NoLease(Error::new(ErrorCode::Lost, text).on(format!("leases/{lease}"))));
    };
    Ok(match known.recovered.services.remove(service_uid) {
        Some(recovery) => Standing::Recovered(recovery.plain()),
        None => Standing::Holds(known.uid),
    })
}

/// Who has taken a Service, for people.
pub(crate) async fn taken_by(cluster: &Cluster, live: &Service, lease: &str, deadline: Deadline) -> String {
    let name = live.metadata.name.as_deref().unwrap_or_default();
    let note = Note::of(live).ok().flatten();
    let since = note.and_then(|note| note.holders.into_iter().find(|holder| holder.lease == lease)?.since);
    let since = since.map(|since| format!(" since {since}")).unwrap_or_default();
    match lease::find(cluster, lease, deadline).await {
        Ok(Some(known)) => format!(
            "services/{name} was taken by {}{since} (session since {}, leases/{lease})",
            known.note.who, known.note.started
        ),
        _ => format!("services/{name} was taken by leases/{lease}{since}"),
    }
}

fn who<'a>(jury: &'a Jury, cluster: &Cluster, holder: &'a Holder) -> &'a str {
    jury.known(cluster.namespace(), &holder.lease).map_or(&*holder.lease, |known| &*known.note.who)
}

fn held(service: &Service, holder: &Holder, known: Option<&Known>) -> Error {
    let name = service.metadata.name.as_deref().unwrap_or_default();
    let ports: Vec<String> = holder.ports.iter().map(u16::to_string).collect();
    let (who, started) = known.map_or((&*holder.lease, "an unknown time"), |known| {
        (known.note.who.as_str(), known.note.started.as_str())
    });
    let since = holder.since.as_deref().map(|since| format!(" since {since}")).unwrap_or_default();
    Error::new(
        ErrorCode::Held,
        format!(
            "services/{name} is held by {who} ({} of port {}{since}, session since {started}, leases/{})",
            holder.mode,
            ports.join(", "),
            holder.lease
        ),
    )
    .on(format!("services/{name}"))
    .try_this(format!(
        "ask {who} to end it; `kubetether status` tells how it stands, `kubetether recover {name}` puts the Service back in spite of it"
    ))
}

/// A pod of the Service that the interceptor can borrow its image from.
pub(crate) async fn host(cluster: &Cluster, agent: &Agent, plan: &Plan, deadline: Deadline) -> Result<Host> {
    let selector: Vec<String> =
        plan.original.selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let selector = selector.join(",");
    let (pods, cpu_limit) =
        tokio::join!(cluster.list::<Pod>(&selector, deadline), quota::demands_cpu_limit(cluster, deadline));
    let pods = pods?;
    let host = match (pods.iter().find_map(Host::of), agent) {
        (Some(host), _) => Ok(host),
        (None, Agent::Image { image, .. }) => Ok(Host::of_image(image)),
        (None, Agent::Carried { .. }) => {
            let service = &plan.service;
            let why =
                if pods.is_empty() { "there is none" } else { "none of them runs in a network of its own" };
            Err(Error::new(
                ErrorCode::Unsupported,
                format!(
                    "services/{service} has no pod whose image the agent could run on: of {selector} {why}"
                ),
            )
            .on(format!("services/{service}"))
            .try_this("wait until a pod of it runs, or name an image of the agent in the settings"))
        }
    };
    Ok(host?.limit_cpu(cpu_limit))
}

/// Takes the Service, whatever was changed meanwhile, unless somebody else has taken it.
pub(crate) async fn take(
    cluster: &Cluster,
    plan: &Plan,
    note: &Note,
    lease: &str,
    dead: Option<&Note>,
    deadline: Deadline,
) -> Result<()> {
    let attempt = || async {
        let live: Service = cluster.get(&plan.service, deadline).await?;
        let found = Note::of(&live)?;
        if let Some(found) = found.filter(|found| !found.is_held_by(lease) && Some(found) != dead) {
            if let Some(holder) = found.holders.first() {
                let known = lease::find(cluster, &holder.lease, deadline).await?;
                return Err(held(&live, holder, known.as_ref()));
            }
            return Err(Error::new(
                ErrorCode::Held,
                format!("services/{} was taken by somebody else just now", plan.service),
            )
            .on(format!("services/{}", plan.service))
            .try_this("try again"));
        }
        if live.metadata.uid.as_ref() != Some(&plan.uid) {
            return Err(Error::new(ErrorCode::Lost, format!("services/{} is another one now", plan.service))
                .on(format!("services/{}", plan.service)));
        }
        if plan.original_now(&live).as_ref() != Ok(&plan.original) {
            return Err(Error::new(
                ErrorCode::Cluster,
                format!(
                    "services/{} was changed by somebody else meanwhile; it was left as it is",
                    plan.service
                ),
            )
            .on(format!("services/{}", plan.service))
            .try_this("try again"));
        }
        let patch = api::patch(plan.take(&live, note)?)?;
        cluster.json_patch::<Service>(&plan.service, patch, deadline).await.map(|_| ())
    };
    cluster.on_conflict_again(attempt).await
}

/// Puts the Service back as far as it is ours. A Service that is gone, is another one or is somebody
/// else's is left alone. Goes on after passing faults until the deadline. Whether there was something to put back.
pub(crate) async fn restore(cluster: &Cluster, plan: &Plan, lease: &str, deadline: Deadline) -> Result<bool> {
    let mut backoff = Backoff::new(AGAIN);
    loop {
        let error = match cluster.on_conflict_again(|| restore_once(cluster, plan, lease, deadline)).await {
            Err(error) if may_pass(&error) => error,
            done => return done.map_err(|error| not_restored(plan, error)),
        };
        let pause = backoff.after(&error);
        if deadline.left() <= pause {
            return Err(not_restored(plan, error));
        }
        tokio::time::sleep(pause).await;
    }
}

/// Whether the same may succeed a little later. What is refused counts: rights and credentials are renewed, and a Service
/// that is not put back stays so.
fn may_pass(error: &Error) -> bool {
    api::is_passing(error)
        || api::is_conflict(error)
        || matches!(error.code(), ErrorCode::Unauthorized | ErrorCode::Forbidden | ErrorCode::Cluster)
}

/// Between two tries to put a Service back.
const AGAIN: Pace = Pace { first: Duration::from_millis(300), last: Duration::from_secs(3) };

async fn restore_once(cluster: &Cluster, plan: &Plan, lease: &str, deadline: Deadline) -> Result<bool> {
    let Some(live) = cluster.find::<Service>(&plan.service, deadline).await? else { return Ok(false) };
    match plan.look(&live, lease) {
        Look::Replaced | Look::Taken(_) => return Ok(false),
        Look::Unreadable { .. } if !plan.is_nobody_elses(&live) => return Ok(false),
        Look::Unreadable { later: true, why } if is_taken(&live) => {
            return Err(Error::new(ErrorCode::Unsupported, why).on(format!("services/{}", plan.service)));
        }
        Look::Unreadable { later: true, .. } => return Ok(false),
        // A note that was damaged says nothing; what it was is known here.
        Look::Unreadable { later: false, .. } | Look::Ours | Look::Drifted(_) | Look::Reshaped(_) => {}
    }
    let operations = plan.restore(&live);
    let changes = operations.is_some();
    let restored = match operations {
        None => live,
        Some(operations) => {
            cluster.json_patch::<Service>(&plan.service, api::patch(operations)?, deadline).await?
        }
    };
    match fields::give_up(cluster, &restored, deadline).await {
        Err(error) if !api::is_conflict(&error) => {
            // It is as it was, and that is what counts.
            tracing::debug!(
                error = error.report(),
                "the cluster still has us for a manager of a Service's fields"
            );
            Ok(changes)
        }
        done => done.map(|()| changes),
    }
}

fn not_restored(plan: &Plan, error: Error) -> Error {
    let name = &plan.service;
    Error::new(ErrorCode::NotRestored, format!("services/{name} could not be put back: {error}"))
        .on(format!("services/{name}"))
        .try_this(format!(
            "its annotation {} holds the selector and target ports it had; the interceptor stays and passes its traffic to the original pods meanwhile",
            names::EXCHANGE
        ))
        .because(error)
}
