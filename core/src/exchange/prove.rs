//! Proofs, made in the cluster: that the originals can be reached from the interceptor, and where the
//! Service's traffic arrives.

use std::net::SocketAddr;
use std::time::Duration;

use kubetether_link::Link;

use super::plan::{Plan, Port};
use crate::cluster::calls::{self, Proof};
use crate::target::Protocol;
use crate::{Deadline, Error, ErrorCode, Result};

/// Connections in a row that have to arrive at the interceptor. While a node knows it beside an original, each
/// arrives by chance: with one original, all of these do once in 4,096 times.
const ARRIVALS: u8 = 12;
/// Connections in a row that must not arrive at the interceptor any more. Fewer, since one that does is
/// passed through, and an original that says nothing takes a second each.
const DEPARTURES: u8 = 3;
/// A network that takes this long to follow a change does not follow it; whose deadline came sooner knows nothing of that.
const ENOUGH: Duration = Duration::from_secs(5);
/// Between two tries, while the nodes learn of a change.
const AGAIN: Duration = Duration::from_millis(15);
/// Originals that do not answer for this long will not.
const ORIGINALS: Duration = Duration::from_secs(10);

/// Every TCP port's originals accept connections from the interceptor. Nothing has been changed yet.
pub(crate) async fn originals_answer(link: &Link, plan: &Plan, deadline: Deadline) -> Result<()> {
    let limit = deadline.at_most(ORIGINALS);
    for port in tcp(plan) {
        loop {
            let Err(reason) = calls::probe(link, port.number, limit).await? else { break };
            if limit.left() <= AGAIN {
                return Err(Error::new(
                    ErrorCode::PassThrough,
                    format!("the original pods of services/{} do not answer the agent on port {}: {reason}", plan.service, port.number),
                )
                .on(format!("services/{}", plan.service))
                .try_this("see that its pods are ready and listen, and that no NetworkPolicy keeps pods of the namespace from them; nothing was changed"));
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
    Ok(())
}

/// Connections to each exposed port of the Service arrive at the interceptor.
pub(crate) async fn traffic_arrives(link: &Link, plan: &Plan, deadline: Deadline) -> Result<()> {
    let hurried = deadline.left() < ENOUGH;
    for port in tcp(plan).filter(|port| port.local.is_some()) {
        until(link, plan, port, ARRIVALS, deadline, |proof| proof.here == ARRIVALS).await.map_err(|(error, last)| {
            if hurried {
                return not_proven(ErrorCode::Deadline, error, plan, port, last)
                    .try_this("give the start a later deadline; the Service was put back");
            }
            not_proven(ErrorCode::NotProven, error, plan, port, last)
                .try_this("a network that does not let a pod reach itself through a Service (no hairpin), or a proxy that does not follow the Service, may be the cause; the Service was put back")
        })?;
    }
    Ok(())
}

/// Connections to the Service arrive at its originals again: none at the interceptor.
pub(crate) async fn originals_are_back(link: &Link, plan: &Plan, deadline: Deadline) -> Result<()> {
    for port in tcp(plan).filter(|port| port.local.is_some()) {
        // Refused counts as well: the originals may all have left meanwhile.
        until(link, plan, port, DEPARTURES, deadline, |proof| proof.here == 0)
            .await
            .map_err(|(error, last)| not_proven(ErrorCode::NotProven, error, plan, port, last))?;
    }
    Ok(())
}

fn tcp(plan: &Plan) -> impl Iterator<Item = &Port> {
    plan.ports.iter().filter(|port| port.protocol == Protocol::Tcp)
}

/// By each address of the Service: both families where it has two.
async fn until(
    link: &Link,
    plan: &Plan,
    port: &Port,
    times: u8,
    deadline: Deadline,
    right: impl Fn(&Proof) -> bool,
) -> Result<(), (Option<Error>, Option<Proof>)> {
    for address in &plan.addresses {
        let address = SocketAddr::new(*address, port.number);
        let mut last = None;
        loop {
            match calls::prove(link, port.number, address, times, deadline).await {
                Ok(proof) if right(&proof) => break,
                Ok(proof) => last = Some(proof),
                // The link may be without a carrier for a moment.
                Err(_) if link.close_reason().is_none() && deadline.left() > AGAIN => {}
                Err(error) => return Err((Some(error), last)),
            }
            if deadline.left() <= AGAIN {
                return Err((None, last));
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
    Ok(())
}

fn not_proven(code: ErrorCode, error: Option<Error>, plan: &Plan, port: &Port, last: Option<Proof>) -> Error {
    let seen = last.map_or_else(String::new, |proof| {
        format!(
            "; of the last connections from the agent {} arrived there, {} elsewhere, {} failed{}{}",
            proof.here,
            proof.elsewhere,
            proof.failed,
            if proof.last_error.is_empty() { "" } else { ": " },
            proof.last_error
        )
    });
    let message = format!(
        "traffic of services/{} port {} does not take the expected way{seen}",
        plan.service, port.number
    );
    let new = Error::new(code, message).on(format!("services/{}", plan.service));
    match error {
        Some(error) => new.because(error),
        None => new,
    }
}
