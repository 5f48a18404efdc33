//! EndpointSlices and Endpoints of every Service that has a selector.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::pods;
use crate::kinds;
use crate::object::{
    controlled_by, controller, hash, is_deleting, is_set, list, name, namespace, text, texts, uid,
};
use crate::select::map_matches;
use crate::store::{Deletion, Inner, Object};

const MANAGER: &str = "endpointslice-controller.k8s.io";

pub(super) fn reconcile(store: &mut Inner) {
    let (services, endpoints) = (kinds::of("services"), kinds::of("endpoints"));
    let all = store.list(services, "");
    for service in &all {
        let selector = texts(service, "/spec/selector");
        if selector.is_empty() || is_deleting(service) || text(service, "/spec/type") == "ExternalName" {
            continue;
        }
        let members: Vec<Object> = store
            .list(kinds::of("pods"), namespace(service))
            .into_iter()
            .filter(|pod| map_matches(&selector, pod) && !text(pod, "/status/podIP").is_empty())
            .filter(|pod| !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed"))
            .collect();
        let groups = group(service, &members);
        slices_of(store, service, &groups);
        endpoints_of(store, service, &groups);
    }
    // Endpoints have no owner: they go with the Service of their name.
    for one in store.list(endpoints, "") {
        let without =
            store.get(services, namespace(&one), name(&one)).is_none_or(|service| is_deleting(&service));
        let ours = one["metadata"]["labels"]["endpoints.kubernetes.io/managed-by"] == "endpoint-controller";
        if without && ours && !is_deleting(&one) {
            let _ = store.delete(endpoints, namespace(&one), name(&one), &Deletion::background());
        }
    }
}

/// The members by the ports they answer the Service's ports at: names may differ from pod to pod.
fn group(service: &Value, members: &[Object]) -> BTreeMap<String, (Value, Vec<Object>)> {
    let mut groups: BTreeMap<String, (Value, Vec<Object>)> = BTreeMap::new();
    for pod in members {
        let ports: Vec<Value> =
            list(service, "/spec/ports").iter().filter_map(|port| resolved(port, pod)).collect();
        let ports = Value::from(ports);
        groups.entry(ports.to_string()).or_insert_with(|| (ports, Vec::new())).1.push(pod.clone());
    }
    if groups.is_empty() {
        groups.insert("none".into(), (json!([]), Vec::new()));
    }
    groups
}

/// A Service's port as this pod serves it.
fn resolved(port: &Value, pod: &Value) -> Option<Value> {
    let target = match port["targetPort"].as_str() {
        Some(called) => list(pod, "/spec/containers")
            .iter()
            .flat_map(|container| list(container, "/ports"))
            .find(|one| text(one, "/name") == called && text(one, "/protocol") == text(port, "/protocol"))
            .map(|one| one["containerPort"].clone())?,
        None => port["targetPort"].clone(),
    };
    let mut resolved = json!({ "name": text(port, "/name"), "port": target, "protocol": port["protocol"] });
    if let Some(protocol) = port.get("appProtocol") {
        resolved["appProtocol"] = protocol.clone();
    }
    Some(resolved)
}

fn conditions(service: &Value, pod: &Value) -> Value {
    let serving = pods::is_ready(pod);
    let always = is_set(service, "/spec/publishNotReadyAddresses");
    json!({
        "ready": always || (serving && !is_deleting(pod)), "serving": serving, "terminating": is_deleting(pod),
    })
}

fn reference(pod: &Value) -> Value {
    json!({ "kind": "Pod", "name": name(pod), "namespace": namespace(pod), "uid": uid(pod) })
}

fn slices_of(store: &mut Inner, service: &Value, groups: &BTreeMap<String, (Value, Vec<Object>)>) {
    let kind = kinds::of("endpointslices");
    let mut wanted = BTreeMap::new();
    for (key, (ports, members)) in groups {
        let endpoints: Vec<Value> = members
            .iter()
            .map(|pod| {
                let mut endpoint = json!({
                    "addresses": [text(pod, "/status/podIP")], "conditions": conditions(service, pod),
                    "nodeName": text(pod, "/spec/nodeName"), "targetRef": reference(pod),
                });
                let hostname = text(pod, "/spec/hostname");
                if !hostname.is_empty() && text(pod, "/spec/subdomain") == name(service) {
                    endpoint["hostname"] = hostname.into();
                }
                endpoint
            })
            .collect();
        // The one without pods is the one that gets the first.
        let digest = if key == "none" || groups.len() == 1 { "only" } else { key.as_str() };
        wanted.insert(slice_name(service, digest), (endpoints, ports.clone()));
    }
    let own: Vec<Object> = store
        .list(kind, namespace(service))
        .into_iter()
        .filter(|slice| controller(slice) == Some(uid(service)) && !is_deleting(slice))
        .filter(|slice| slice["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"] == MANAGER)
        .collect();
    for slice in &own {
        match wanted.remove(name(slice)) {
            Some((endpoints, ports)) => store.change(kind, namespace(slice), name(slice), |slice| {
                slice["endpoints"] = endpoints.into();
                slice["ports"] = ports;
            }),
            None => {
                let _ = store.delete(kind, namespace(slice), name(slice), &Deletion::only(uid(slice)));
            }
        }
    }
    for (called, (endpoints, ports)) in wanted {
        let mut slice = json!({
            "metadata": {
                "name": called, "namespace": namespace(service),
                "labels": service["metadata"].get("labels").cloned().unwrap_or_else(|| json!({})),
                "ownerReferences": controlled_by(kinds::of("services"), service),
            },
            "addressType": "IPv4", "endpoints": endpoints, "ports": ports,
        });
        slice["metadata"]["labels"]["kubernetes.io/service-name"] = name(service).into();
        slice["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"] = MANAGER.into();
        // A namespace that ends takes none.
        let _ = store.create(kind, slice);
    }
}

fn slice_name(service: &Value, digest: &str) -> String {
    let prefix: String = name(service).chars().take(50).collect();
    format!("{prefix}-{}", &hash(&format!("{}{digest}", uid(service)))[..5])
}

fn endpoints_of(store: &mut Inner, service: &Value, groups: &BTreeMap<String, (Value, Vec<Object>)>) {
    let kind = kinds::of("endpoints");
    let mut subsets = Vec::new();
    for (ports, members) in groups.values() {
        let mut lists = [Vec::new(), Vec::new()];
        for pod in members {
            let conditions = conditions(service, pod);
            if is_deleting(pod) && !is_set(&conditions, "/ready") {
                continue;
            }
            let address = json!({
                "ip": text(pod, "/status/podIP"), "nodeName": text(pod, "/spec/nodeName"), "targetRef": reference(pod),
            });
            lists[usize::from(!is_set(&conditions, "/ready"))].push(address);
        }
        let mut subset = json!({ "ports": ports });
        for (key, addresses) in ["addresses", "notReadyAddresses"].into_iter().zip(lists) {
            if !addresses.is_empty() {
                subset[key] = addresses.into();
            }
        }
        if subset.as_object().is_some_and(|map| map.len() > 1) {
            subsets.push(subset);
        }
    }
    if store.get(kind, namespace(service), name(service)).is_some() {
        store.change(kind, namespace(service), name(service), |endpoints| {
            if subsets.is_empty() {
                if let Some(map) = endpoints.as_object_mut() {
                    map.remove("subsets");
                }
            } else {
                endpoints["subsets"] = subsets.into();
            }
        });
        return;
    }
    let mut new = json!({
        "metadata": {
            "name": name(service), "namespace": namespace(service),
            "labels": { "endpoints.kubernetes.io/managed-by": "endpoint-controller" },
        },
    });
    if !subsets.is_empty() {
        new["subsets"] = subsets.into();
    }
    let _ = store.create(kind, new);
}
