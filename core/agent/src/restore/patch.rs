//! What of a Service is put back, as data: the engine's rules (`core/src/exchange/put_back.rs`). A field is put back
//! only if its live value is ours; what somebody else wrote stays.

use serde_json::{Map, Value, json};

/// The note on an exchanged Service.
const NOTE: &str = "kubetether.dev/exchange";
/// Who we are in the cluster's record of who wrote which field.
pub(super) const MANAGER: &str = "kubetether";
/// Formats up to this are understood; fields that are not known are passed over.
const VERSION: u64 = 1;
/// Where interceptors listen.
const LISTEN: std::ops::Range<i64> = 47200..47300;

/// The JSON patch that puts `live` back; `None` when the Service is not, or not any more, of the session with this
/// Lease. It fails if the Service is changed meanwhile.
///
/// # Errors
/// The Service still leads to an interceptor, but nothing that can be understood says what was there before.
pub(super) fn put_back(live: &Value, lease: &str) -> Result<Option<Vec<Value>>, String> {
    let Some(note) = live["metadata"]["annotations"][NOTE].as_str() else {
        return if is_taken(live) { Err(format!("the annotation {NOTE} is gone")) } else { Ok(None) };
    };
    let note: Value = serde_json::from_str(note)
        .map_err(|error| format!("the annotation {NOTE} cannot be read: {error}"))?;
    if note["v"].as_u64().is_none_or(|version| version > VERSION) {
        return Err(format!("the annotation {NOTE} is of a later version"));
    }
    let holders = note["holders"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !holders.iter().any(|holder| holder["lease"] == lease) {
        return Ok(None);
    }
    Ok(Some(operations(live, &note["original"])))
}

/// The JSON patch that takes us out of the record of who wrote which field, once nothing of ours is left: a later
/// server-side apply by the Service's owner would be refused in our name (`core/src/cluster/fields.rs`).
pub(super) fn without_us(live: &Value) -> Option<Vec<Value>> {
    let all = live["metadata"]["managedFields"].as_array()?;
    let ours: Vec<usize> = (0..all.len()).filter(|at| all[*at]["manager"] == MANAGER).collect();
    let mut operations = unchanged(live);
    if ours.is_empty() {
        return None;
    }
    if ours.len() == all.len() {
        operations.push(json!({ "op": "replace", "path": "/metadata/managedFields", "value": [{}] }));
    } else {
        // From the end: each removal moves those behind it.
        let paths = ours.iter().rev().map(|at| format!("/metadata/managedFields/{at}"));
        operations.extend(paths.map(|path| json!({ "op": "remove", "path": path })));
    }
    Some(operations)
}

fn unchanged(live: &Value) -> Vec<Value> {
    let meta = &live["metadata"];
    vec![
        json!({ "op": "test", "path": "/metadata/uid", "value": meta["uid"] }),
        json!({ "op": "test", "path": "/metadata/resourceVersion", "value": meta["resourceVersion"] }),
    ]
}

fn operations(live: &Value, original: &Value) -> Vec<Value> {
    let mut operations = unchanged(live);
    if is_taken(live)
        && let Some(selector) = live["spec"]["selector"].as_object()
    {
        let restored = selector.iter().filter_map(|(key, value)| {
            // A key that nobody knows the value of would select no pod at all.
            let value = if is_ours(value) { original["selector"].get(key)? } else { value };
            Some((key.clone(), value.clone()))
        });
        let restored: Map<String, Value> = restored.collect();
        let value = if restored.is_empty() { original["selector"].clone() } else { restored.into() };
        operations.push(json!({ "op": "replace", "path": "/spec/selector", "value": value }));
    }
    let ports = live["spec"]["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
    for (at, port) in ports.iter().enumerate() {
        let known = &original["targetPorts"][key(port)];
        let listens = port["targetPort"].as_i64().is_some_and(|target| LISTEN.contains(&target));
        if listens && *known != port["targetPort"] {
            let path = format!("/spec/ports/{at}/targetPort");
            operations.push(json!({ "op": "add", "path": path, "value": target(port, ports, original) }));
        }
    }
    let annotation = format!("/metadata/annotations/{}", NOTE.replace('/', "~1"));
    operations.push(json!({ "op": "remove", "path": annotation }));
    operations
}

/// What the target of a port was. One that was given another number meanwhile is the only one that is missing.
fn target(port: &Value, ports: &[Value], original: &Value) -> Value {
    let targets = &original["targetPorts"];
    if !targets[key(port)].is_null() {
        return targets[key(port)].clone();
    }
    let targets = targets.as_object().into_iter().flatten();
    let mut missing = targets.filter(|(known, _)| !ports.iter().any(|port| key(port) == **known));
    match (missing.next(), missing.next()) {
        (Some((_, target)), None) => target.clone(),
        // What the API server takes for a port without a target.
        _ => port["port"].clone(),
    }
}

fn key(port: &Value) -> String {
    format!("{}/{}", port["port"], port["protocol"].as_str().unwrap_or("TCP"))
}

fn is_taken(live: &Value) -> bool {
    live["spec"]["selector"].as_object().is_some_and(|selector| selector.values().any(is_ours))
}

/// Whether a selector's value was written by a kubetether.
fn is_ours(value: &Value) -> bool {
    let hash = value.as_str().and_then(|value| value.strip_prefix("kt-"));
    hash.is_some_and(|hash| {
        hash.len() == 10 && hash.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

#[cfg(test)]
mod tests;
