//! A carrier: one port-forward through the API server to an agent's control port.
//!
//! kube's client sends the request, so that every way to log in works; the bytes are ours to move. They go as SPDY
//! (`/portforward` speaks it since Kubernetes 1.0). A WebSocket around it, or [`channels`] in one for servers before 1.31, is
//! for ways that let nothing else through: it costs downloads a sixth.

mod channels;
mod detour;
mod halves;
mod spdy;
mod upgrade;
mod websocket;

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use k8s_openapi::api::core::v1::Pod;
use kube::Resource;
use kube::core::Request;
use kubetether_link::{CarrierRead, CarrierWrite};

pub(super) use self::detour::Detour;
use self::upgrade::Offer;
use super::{Cluster, api};
use crate::{Deadline, Error, ErrorCode, Result};

/// Bytes below which a piece of a big buffer is copied, since it may be kept for long.
const SMALL: usize = 16 << 10;

/// Opens a carrier to a port on the loopback of a pod.
pub(crate) async fn dial(
    cluster: &Cluster,
    pod: &str,
    port: u16,
    deadline: Deadline,
) -> Result<(impl CarrierRead + use<>, impl CarrierWrite + use<>)> {
    let (detour, mut offer) = (cluster.detour(), cluster.detour().offer());
    let mut done = forward(cluster, pod, port, offer, deadline).await;
    if offer == Offer::Spdy && done.as_ref().is_err_and(api::is_not_understood) {
        offer = Offer::WebSocket;
        done = forward(cluster, pod, port, offer, deadline).await;
    }
    match &done {
        Ok(_) => detour.did(offer),
        Err(error) if api::is_not_understood(error) || api::is_unanswered(error) => detour.did_not(offer),
        // What the API server or the node decided has nothing to do with the way.
        Err(_) => {}
    }
    done
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

/// Takes bytes from the front. Little in a big buffer is copied out of it.
fn take(input: &mut BytesMut, count: usize) -> Bytes {
    if count < SMALL && input.len() < SMALL {
        let copy = Bytes::copy_from_slice(&input[..count]);
        input.advance(count);
        return copy;
    }
    input.split_to(count).freeze()
}

/// What went wrong, as the server said it.
fn refused(words: &[u8]) -> io::Error {
    let text = String::from_utf8_lossy(words).trim().to_owned();
    io::Error::new(io::ErrorKind::ConnectionRefused, text)
}
