//! Lines and columns for `kubectl get`: the few that tell how things are.

use serde_json::{Value, json};

use crate::kinds::Kind;
use crate::object::{age, is_deleting, is_set, list, name, number, text, texts};
use crate::store::Object;

/// A `Table` object. With `meta` it is a list's.
pub(super) fn table(kind: &Kind, objects: &[Object], meta: Option<Value>) -> Value {
    let mut columns = vec!["Name"];
    columns.extend(headings(kind.plural));
    columns.push("Age");
    let definitions: Vec<Value> = columns
        .iter()
        .map(|column| {
            let format = if *column == "Name" { "name" } else { "" };
            json!({ "name": column, "type": "string", "format": format, "description": "", "priority": 0 })
        })
        .collect();
    let rows: Vec<Value> = objects.iter().map(|object| row(kind, object)).collect();
    let meta = meta.unwrap_or_else(|| {
        let version = objects.first().map(|object| object["metadata"]["resourceVersion"].clone());
        json!({ "resourceVersion": version })
    });
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": meta, "columnDefinitions": definitions,
        "rows": rows,
    })
}

fn row(kind: &Kind, object: &Object) -> Value {
    let mut cells = vec![name(object).to_owned()];
    cells.extend(fields(kind.plural, object));
    cells.push(age(text(object, "/metadata/creationTimestamp")).map_or_else(|| "?".into(), in_words));
    let about = json!({
        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"],
    });
    json!({ "cells": cells, "object": about })
}

fn headings(plural: &str) -> &'static [&'static str] {
    match plural {
        "pods" => &["Ready", "Status", "Restarts", "IP"],
        "services" => &["Type", "Cluster-IP", "Port(s)", "Selector"],
        "deployments" => &["Ready", "Up-to-date", "Available"],
        "replicasets" => &["Desired", "Current", "Ready"],
        "statefulsets" => &["Ready"],
        "jobs" => &["Status", "Completions"],
        "namespaces" => &["Status"],
        "nodes" => &["Status"],
        "endpointslices" => &["Ports", "Endpoints"],
        "configmaps" => &["Data"],
        "leases" => &["Holder"],
        "events" => &["Type", "Reason", "Object", "Message"],
        _ => &[],
    }
}

fn fields(plural: &str, object: &Value) -> Vec<String> {
    let count = |pointer: &str| number(object, pointer).unwrap_or(0).to_string();
    let owned = |pointer: &str| text(object, pointer).to_owned();
    match plural {
        "pods" => {
            let statuses = list(object, "/status/containerStatuses");
            let ready = statuses.iter().filter(|one| is_set(one, "/ready")).count();
            let restarts: i64 = statuses.iter().filter_map(|one| number(one, "/restartCount")).sum();
            let waiting =
                statuses.iter().map(|one| text(one, "/state/waiting/reason")).find(|why| !why.is_empty());
            let status = if is_deleting(object) {
                "Terminating"
            } else {
                waiting.unwrap_or_else(|| text(object, "/status/phase"))
            };
            let total = list(object, "/spec/containers").len();
            vec![format!("{ready}/{total}"), status.to_owned(), restarts.to_string(), owned("/status/podIP")]
        }
        "services" => {
            let ports = list(object, "/spec/ports").iter();
            let ports: Vec<String> =
                ports.map(|port| format!("{}/{}", port["port"], text(port, "/protocol"))).collect();
            let selector: Vec<String> =
                texts(object, "/spec/selector").iter().map(|(key, value)| format!("{key}={value}")).collect();
            vec![owned("/spec/type"), owned("/spec/clusterIP"), ports.join(","), selector.join(",")]
        }
        "deployments" => vec![
            format!("{}/{}", count("/status/readyReplicas"), count("/spec/replicas")),
            count("/status/updatedReplicas"),
            count("/status/availableReplicas"),
        ],
        "replicasets" => {
            vec![count("/spec/replicas"), count("/status/replicas"), count("/status/readyReplicas")]
        }
        "statefulsets" => vec![format!("{}/{}", count("/status/readyReplicas"), count("/spec/replicas"))],
        "jobs" => {
            let over =
                ["Complete", "Failed"].into_iter().find(|kind| crate::object::has_condition(object, kind));
            let done = format!("{}/{}", count("/status/succeeded"), count("/spec/completions"));
            vec![over.unwrap_or("Running").to_owned(), done]
        }
        "namespaces" => vec![owned("/status/phase")],
        "nodes" => {
            let ready = crate::object::has_condition(object, "Ready");
            vec![if ready { "Ready" } else { "NotReady" }.to_owned()]
        }
        "endpointslices" => {
            let ports: Vec<String> =
                list(object, "/ports").iter().map(|port| port["port"].to_string()).collect();
            let all = list(object, "/endpoints").iter();
            let all: Vec<&str> = all.filter_map(|one| list(one, "/addresses").first()?.as_str()).collect();
            vec![ports.join(","), all.join(",")]
        }
        "configmaps" => {
            let size = |key: &str| object.get(key).and_then(Value::as_object).map_or(0, serde_json::Map::len);
            vec![(size("data") + size("binaryData")).to_string()]
        }
        "leases" => vec![owned("/spec/holderIdentity")],
        "events" => {
            let about = format!(
                "{}/{}",
                text(object, "/involvedObject/kind").to_lowercase(),
                text(object, "/involvedObject/name")
            );
            vec![owned("/type"), owned("/reason"), about, owned("/message")]
        }
        _ => Vec::new(),
    }
}

/// As kubectl tells ages.
fn in_words(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        _ => format!("{}h", seconds / 3600),
    }
}
