//! A carrier: one port-forward through the API server to an agent's control port.
//!
//! kube's client sends the request, so that every way to log in works; the bytes are ours to move. They go as SPDY
//! (`/portforward` speaks it since Kubernetes 1.0). A WebSocket around it, or [`channels`] in one for servers before 1.31, is
//! for ways that let nothing else through: there every byte costs the API server a fifth more, and is masked.

mod channels;
mod detour;
mod halves;
mod spdy;
mod upgrade;
mod websocket;

use std::io;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Resource;
use kube::core::Request;
use kubetether_link::{CarrierRead, CarrierWrite};

pub(super) use self::detour::Detour;
use self::upgrade::Offer;
use super::{Cluster, api};
use crate::{Deadline, Error, ErrorCode, Result};

/// How long the first way may take, and at most half of the time there is: who does not know it may be silent.
const FIRST: Duration = Duration::from_secs(5);

/// Opens a carrier to a port on the loopback of a pod.
pub(crate) async fn dial(
    cluster: &Cluster,
    pod: &str,
    port: u16,
    deadline: Deadline,
) -> Result<(impl CarrierRead + use<>, impl CarrierWrite + use<>)> {
    let detour = cluster.detour();
    if detour.is_known() {
        return forward(cluster, pod, port, Offer::WebSocket, deadline).await;
    }
    let first = deadline.at_most(FIRST.min(deadline.left() / 2));
    match forward(cluster, pod, port, Offer::Spdy, first).await {
        Err(error) if !is_settled(&error) => {
            tracing::debug!(error = error.report(), "no SPDY to the node: trying a WebSocket");
        }
        settled => return settled,
    }
    let carrier = forward(cluster, pod, port, Offer::WebSocket, deadline).await?;
    detour.was_found();
    Ok(carrier)
}

/// Whether the other way would end alike: the API server or the node said why.
fn is_settled(error: &Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    source.is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) || api::is_settled(error)
}

async fn forward(
    cluster: &Cluster,
    pod: &str,
    port: u16,
    offer: Offer,
    deadline: Deadline,
) -> Result<(impl CarrierRead + use<>, impl CarrierWrite + use<>)> {
    let object = format!("pods/{pod}/portforward");
    let url = Pod::url_path(&(), Some(cluster.namespace()));
    let request = Request::new(url).portforward(pod, &[port]).map_err(|error| {
        Error::new(ErrorCode::Internal, "a port-forward request of ours is malformed").because(error)
    })?;
    let upgraded = upgrade::upgrade(cluster.client(), request, offer);
    let (stream, framing) = cluster.request("get", &object, deadline, upgraded).await?;
    let opened = tokio::time::timeout_at(deadline.instant(), halves::open(stream, framing, port)).await;
    let opened = opened.map_err(|_| Error::deadline(format_args!("opening a port-forward to pod {pod}")))?;
    opened.map_err(|error| {
        let text = format!("the port-forward to pod {pod} was not opened: {error}");
        Error::new(ErrorCode::AgentUnreachable, text).on(object.clone()).because(error)
    })
}

/// What went wrong, as the server said it.
fn refused(words: &[u8]) -> io::Error {
    let text = String::from_utf8_lossy(words).trim().to_owned();
    io::Error::new(io::ErrorKind::ConnectionRefused, text)
}
