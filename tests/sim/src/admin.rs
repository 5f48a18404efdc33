//! `/sim/...` beside the API: orders to misbehave, for programs of any language.

use std::sync::Arc;

use http::{Method, Request};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cluster::Shared;
use crate::failure::Failure;
use crate::faults::Fault;
use crate::kinds;
use crate::rest::{Answer, json_answer, read_body, refusal};

/// What orders may carry.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Order {
    resource: Option<String>,
    reference: String,
    reason: Option<String>,
    signal: Option<String>,
    container: Option<String>,
}

/// Answers a request of `/sim`.
pub(crate) async fn serve(shared: &Arc<Shared>, request: Request<Incoming>) -> Answer {
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).skip(1).collect();
    let body = match read_body(request).await {
        Ok(body) => body,
        Err(failure) => return refusal(&failure),
    };
    match work(shared, &method, &parts, body) {
        Ok(value) => json_answer(200, &value),
        Err(failure) => refusal(&failure),
    }
}

fn work(shared: &Shared, method: &Method, parts: &[&str], body: Value) -> Result<Value, Failure> {
    let bad = |error: serde_json::Error| Failure::bad_request(error.to_string());
    if let (&Method::POST, ["faults"]) = (method, parts) {
        let fault: Fault = serde_json::from_value(body).map_err(bad)?;
        return Ok(json!({ "id": shared.faults.add(fault) }));
    }
    let order: Order = serde_json::from_value(body).map_err(bad)?;
    let done = |done: bool| if done { Ok(json!({})) } else { Err(Failure::no_such_path()) };
    match (method.as_str(), parts) {
        ("GET", ["faults"]) => serde_json::to_value(shared.faults.list()).map_err(bad),
        ("DELETE", ["faults"]) => {
            shared.faults.clear();
            Ok(json!({}))
        }
        ("DELETE", ["faults", id]) => done(id.parse().is_ok_and(|id| shared.faults.remove(id))),
        ("POST", ["cut"]) => Ok(json!({ "cut": shared.connections.cut(order.resource.as_deref()) })),
        ("POST", ["compact"]) => {
            shared.store.with(|store| store.compact());
            Ok(json!({}))
        }
        ("POST", ["images", "break"]) => {
            let why = order.reason.unwrap_or_else(|| "refused as ordered".to_owned());
            shared.kubelet.images.set_broken(&order.reference, Some(why));
            Ok(json!({}))
        }
        ("POST", ["images", "mend"]) => {
            shared.kubelet.images.set_broken(&order.reference, None);
            Ok(json!({}))
        }
        ("POST", ["nodes", called, "stop"]) => done(shared.kubelet.stop_node(called)),
        ("POST", ["nodes", called, "start"]) => done(shared.kubelet.start_node(called)),
        ("POST", ["pods", of, called, "evict"]) => {
            let why = order.reason.unwrap_or_else(|| "The node was low on resource: memory.".to_owned());
            done(shared.kubelet.evict(of, called, &why))
        }
        ("POST", ["pods", of, called, "kill"]) => {
            let signal = order.signal.as_deref().unwrap_or("KILL");
            signal_pod(shared, of, called, order.container.as_deref(), signal)
        }
        _ => Err(Failure::no_such_path()),
    }
}

/// Sends a signal to the processes of a pod's containers, or of one.
pub(crate) fn signal_pod(
    shared: &Shared,
    of: &str,
    called: &str,
    container: Option<&str>,
    signal: &str,
) -> Result<Value, Failure> {
    use rustix::process::Signal;
    let signal = match signal.trim_start_matches("SIG") {
        "KILL" => Signal::KILL,
        "TERM" => Signal::TERM,
        "INT" => Signal::INT,
        "HUP" => Signal::HUP,
        "STOP" => Signal::STOP,
        "CONT" => Signal::CONT,
        other => {
            return Err(Failure::bad_request(format!("{other} is none of KILL, TERM, INT, HUP, STOP, CONT")));
        }
    };
    let run = shared.kubelet.find(of, called);
    let run = run.ok_or_else(|| Failure::not_found(kinds::of("pods"), called))?;
    for one in run.containers() {
        if container.is_none_or(|wanted| wanted == one.name()) {
            one.signal(signal);
        }
    }
    Ok(json!({}))
}
