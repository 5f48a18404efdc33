//! What can be done with a pod besides reading and writing it.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::upgrade::Upgraded;
use serde_json::json;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::answer::{json_answer, read_json, text_answer};
use super::{Answer, Asked};
use crate::cluster::Shared;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::kinds;
use crate::kubelet::{Container, Line, Log, Run};
use crate::object::{number, text, uid};
use crate::select::label_selector_matches;
use crate::store::Deletion;
use crate::{exec, port_forward, spdy};

/// Namespace and name.
type Place<'a> = (&'a str, &'a str);

const SPDY: &str = "SPDY/3.1";
const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
const CHANNELS: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];

fn running(shared: &Shared, of: &str, called: &str) -> Result<Arc<Run>, Failure> {
    let pod = shared.store.with(|store| store.need(kinds::of("pods"), of, called))?;
    shared.kubelet.find(of, called).ok_or_else(|| match text(&pod, "/spec/nodeName") {
        "" => Failure::bad_request(format!("pod {called} does not have a host assigned")),
        node => Failure::new(500, "InternalError", format!("error dialing backend: {node} does not answer")),
    })
}

fn container(run: &Run, called: &str, of: &str) -> Result<Arc<Container>, Failure> {
    let found = run.container(called);
    found
        .cloned()
        .ok_or_else(|| Failure::bad_request(format!("container {called} is not valid for pod {of}")))
}

pub(super) fn log(shared: &Shared, asked: &Asked, of: &str, called: &str) -> Result<Answer, Failure> {
    let run = running(shared, of, called)?;
    let container = container(&run, asked.param("container"), called)?;
    let previous = asked.is_on("previous");
    let Some(log) = container.log(previous) else {
        if previous {
            let message = format!(
                "previous terminated container \"{}\" in pod \"{called}\" not found",
                container.name()
            );
            return Err(Failure::bad_request(message));
        }
        let message = format!(
            "container \"{}\" in pod \"{called}\" is waiting to start: ContainerCreating",
            container.name()
        );
        return Err(Failure::bad_request(message));
    };
    let (mut lines, next) = log.since(0);
    if let Ok(seconds) = asked.param("sinceSeconds").parse::<i64>() {
        let since = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(seconds);
        lines.retain(|line| line.time >= since);
    }
    if let Ok(tail) = asked.param("tailLines").parse::<usize>() {
        lines.drain(..lines.len().saturating_sub(tail));
    }
    let timestamps = asked.is_on("timestamps");
    let mut bytes: Vec<u8> = lines.iter().flat_map(|line| written(line, timestamps)).collect();
    if let Ok(limit) = asked.param("limitBytes").parse::<usize>() {
        bytes.truncate(limit);
    }
    if !asked.is_on("follow") {
        return Ok(text_answer(200, "text/plain", bytes));
    }
    let stop = shared.stop.clone();
    let chunks = stream::unfold((log, next, Some(bytes)), move |(log, next, pending)| {
        let stop = stop.clone();
        async move {
            if let Some(bytes) = pending.filter(|bytes| !bytes.is_empty()) {
                return Some((frame(bytes), (log, next, None)));
            }
            tokio::select! {
                more = more(&log, next, timestamps) => {
                    let (bytes, next) = more?;
                    Some((frame(bytes), (log, next, None)))
                }
                () = stop.cancelled() => None,
            }
        }
    });
    let mut answer = Response::new(StreamBody::new(chunks).boxed());
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(answer)
}

fn frame(bytes: Vec<u8>) -> Result<Frame<Bytes>, Infallible> {
    Ok(Frame::data(bytes.into()))
}

/// What is written after line `next`; none after the last.
async fn more(log: &Log, next: u64, timestamps: bool) -> Option<(Vec<u8>, u64)> {
    let mut count = log.subscribe();
    loop {
        let over = *count.borrow_and_update() == u64::MAX;
        let (lines, after) = log.since(next);
        if !lines.is_empty() {
            return Some((lines.iter().flat_map(|line| written(line, timestamps)).collect(), after));
        }
        if over {
            return None;
        }
        count.changed().await.ok()?;
    }
}

fn written(line: &Line, timestamps: bool) -> Vec<u8> {
    let mut bytes = if timestamps { format!("{} ", line.time).into_bytes() } else { Vec::new() };
    bytes.extend_from_slice(&line.text);
    bytes.push(b'\n');
    bytes
}

pub(super) fn port_forward(
    shared: &Arc<Shared>,
    connection: &Arc<Connection>,
    asked: &Asked,
    (of, called): Place<'_>,
    mut request: Request<Incoming>,
) -> Result<Answer, Failure> {
    let run = running(shared, of, called)?;
    if asks_for_spdy(&request) {
        if !shared.spdy {
            // What the API server says when a proxy has left out what it does not know.
            return Err(Failure::bad_request("Upgrade request required"));
        }
        upgraded(shared, connection, &mut request, move |stream| spdy::serve(stream, run.address()));
        let mut answer = switching(SPDY);
        let named = HeaderValue::from_static("portforward.k8s.io");
        answer.headers_mut().insert("x-stream-protocol-version", named);
        return Ok(answer);
    }
    let offered = protocols(&request);
    let Some(protocol) =
        [TUNNEL, CHANNELS[1]].into_iter().find(|known| offered.iter().any(|one| one == known))
    else {
        return Err(refused(&offered, &[TUNNEL, CHANNELS[1]]));
    };
    let tunnel = protocol == TUNNEL;
    let ports: Vec<u16> =
        asked.params("ports").flat_map(|list| list.split(',')).filter_map(|port| port.parse().ok()).collect();
    if ports.is_empty() && !tunnel {
        return Err(Failure::bad_request("query parameter \"port\" is required"));
    }
    upgraded(shared, connection, &mut request, move |stream| async move {
        if tunnel {
            spdy::serve_in_websocket(stream, run.address()).await;
        } else {
            port_forward::serve(stream, run.address(), &ports).await;
        }
    });
    Ok(switching_to_websocket(&request, protocol))
}

pub(super) fn exec(
    shared: &Arc<Shared>,
    connection: &Arc<Connection>,
    asked: &Asked,
    (of, called): Place<'_>,
    mut request: Request<Incoming>,
) -> Result<Answer, Failure> {
    let run = running(shared, of, called)?;
    let container = container(&run, asked.param("container"), called)?;
    if !container.is_running() {
        let message = format!("unable to upgrade connection: container not found (\"{}\")", container.name());
        return Err(Failure::new(500, "InternalError", message));
    }
    let offered = protocols(&request);
    let Some(protocol) = CHANNELS.into_iter().find(|known| offered.iter().any(|one| one == known)) else {
        return Err(refused(&offered, &CHANNELS));
    };
    let wanted = exec::Wanted {
        command: asked.params("command").map(str::to_owned).collect(),
        stdin: asked.is_on("stdin"),
        stdout: asked.is_on("stdout"),
        stderr: asked.is_on("stderr"),
        tty: asked.is_on("tty"),
    };
    upgraded(shared, connection, &mut request, move |stream| async move {
        exec::serve(stream, &run, &container, wanted).await;
    });
    Ok(switching_to_websocket(&request, protocol))
}

/// Once the connection speaks the other protocol, serves it, until it or this cluster ends.
fn upgraded<F>(
    shared: &Arc<Shared>,
    connection: &Arc<Connection>,
    request: &mut Request<Incoming>,
    serve: impl FnOnce(Upgraded) -> F + Send + 'static,
) where
    F: Future<Output = ()> + Send,
{
    let upgrade = hyper::upgrade::on(request);
    let (connection, stop) = (connection.clone(), shared.stop.clone());
    shared.tasks.spawn(async move {
        let Ok(stream) = upgrade.await else { return };
        tokio::select! {
            () = serve(stream) => {}
            () = connection.until_cut() => {}
            () = stop.cancelled() => {}
        }
    });
}

fn asks_for_spdy(request: &Request<Incoming>) -> bool {
    request
        .headers()
        .get(header::UPGRADE)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(SPDY.as_bytes()))
}

/// The WebSocket subprotocols that the client offers.
fn protocols(request: &Request<Incoming>) -> Vec<String> {
    let all = request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let all = all.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    all.map(|one| one.trim().to_owned()).collect()
}

fn refused(offered: &[String], known: &[&str]) -> Failure {
    let message = format!(
        "unable to upgrade: the client offers {offered:?}, the embedded cluster speaks {known:?} by WebSocket"
    );
    Failure::forbidden(message)
}

fn switching(protocol: &'static str) -> Answer {
    let mut answer = Response::new(Empty::new().boxed());
    *answer.status_mut() = http::StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static(protocol));
    answer
}

fn switching_to_websocket(request: &Request<Incoming>, protocol: &'static str) -> Answer {
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
    let mut answer = switching("websocket");
    let headers = answer.headers_mut();
    if let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key)) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    answer
}

pub(super) fn evict(shared: &Shared, of: &str, called: &str, body: &[u8]) -> Result<Answer, Failure> {
    let eviction = read_json(body)?;
    let pods = kinds::of("pods");
    shared.store.with(|store| {
        let pod = store.need(pods, of, called)?;
        let budgets = kinds::of("poddisruptionbudgets");
        for budget in store.list(budgets, of) {
            let guards = label_selector_matches(&budget["spec"]["selector"], &pod);
            let only_ready = text(&budget, "/spec/unhealthyPodEvictionPolicy") == "AlwaysAllow";
            let counts = crate::object::has_condition(&pod, "Ready") || !only_ready;
            let none_left = number(&budget, "/status/disruptionsAllowed").unwrap_or(0) == 0;
            if guards && none_left && counts {
                let message = "Cannot evict pod as it would violate the pod's disruption budget.";
                return Err(Failure::new(429, "TooManyRequests", message));
            }
        }
        let mut how = Deletion::only(uid(&pod));
        if let Some(grace) = number(&eviction, "/deleteOptions/gracePeriodSeconds") {
            how = how.with_grace(grace);
        }
        store.delete(pods, of, called, &how).map(drop)
    })?;
    Ok(json_answer(
        201,
        &json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201 }),
    ))
}
