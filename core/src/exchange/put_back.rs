//! Putting a Service back without whoever took it: by what is written on it, or, where that is gone, by the Service that
//! leads back to its pods. Nothing here talks to a cluster.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Value, json};

use super::note::{Original, port_key};
use super::plan::{annotation_path, is_any_listen, live_ports, set_target, target_of, unchanged};
use crate::cluster::names;

/// The JSON patch that puts `live` back: each field whose value is a kubetether's, and our annotation off; values of
/// somebody else's stay. `None` when there is nothing to put back. It fails if the Service is changed meanwhile.
pub(crate) fn put_back(live: &Service, original: &Original) -> Option<Value> {
    put_back_by(live, original, |_| None)
}

/// The same for somebody who may know of a port what its target was, though its number is not the original one.
pub(super) fn put_back_by(
    live: &Service,
    original: &Original,
    known: impl Fn(&ServicePort) -> Option<IntOrString>,
) -> Option<Value> {
    let mut operations = unchanged(live);
    let tests = operations.len();
    if let Some(selector) = live.spec.as_ref().and_then(|spec| spec.selector.as_ref())
        && selector.values().any(|value| names::is_selector_value(value))
    {
        let restored = selector.iter().filter_map(|(key, value)| {
            // A key that nobody knows the value of would select no pod at all.
            let value = if names::is_selector_value(value) { original.selector.get(key)? } else { value };
            Some((key, value))
        });
        let mut restored: BTreeMap<&String, &String> = restored.collect();
        if restored.is_empty() {
            restored = original.selector.iter().collect();
        }
        operations.push(json!({ "op": "replace", "path": "/spec/selector", "value": restored }));
    }
    let ports = live_ports(live);
    for (at, port) in ports.iter().enumerate().filter(|(_, port)| leads_to_interceptor(port, original)) {
        let target = known(port).unwrap_or_else(|| original_target(port, &ports, original));
        operations.push(set_target(at, &target));
    }
    if live.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(names::EXCHANGE)) {
        operations.push(json!({ "op": "remove", "path": annotation_path() }));
    }
    (operations.len() > tests).then(|| operations.into())
}

/// Whether a Service holds a value of a kubetether, with or without a note that says so.
pub(crate) fn is_taken(live: &Service) -> bool {
    let selector = live.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    selector.is_some_and(|selector| selector.values().any(|value| names::is_selector_value(value)))
}

/// What a Service was, by the Service that leads back to its pods.
pub(crate) fn by_way_back(back: &Service) -> Original {
    let ports = live_ports(back);
    let target_ports =
        ports.iter().map(|port| (port_key(port.port, port.protocol.as_deref()), target_of(port)));
    Original {
        selector: back.spec.as_ref().and_then(|spec| spec.selector.clone()).unwrap_or_default(),
        target_ports: target_ports.collect(),
        ..Original::default()
    }
}

fn leads_to_interceptor(port: &ServicePort, original: &Original) -> bool {
    let known = original.target_ports.get(&port_key(port.port, port.protocol.as_deref()));
    is_any_listen(port) && known != Some(&target_of(port))
}

/// What the target of a port was. One that was given another number meanwhile is the only one that is missing.
fn original_target(port: &ServicePort, ports: &[ServicePort], original: &Original) -> IntOrString {
    let key = |port: &ServicePort| port_key(port.port, port.protocol.as_deref());
    if let Some(target) = original.target_ports.get(&key(port)) {
        return target.clone();
    }
    let mut missing =
        original.target_ports.iter().filter(|(known, _)| !ports.iter().any(|port| key(port) == **known));
    match (missing.next(), missing.next()) {
        (Some((_, target)), None) => target.clone(),
        // What the API server takes for a port without a target.
        _ => IntOrString::Int(port.port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(selector: Value, ports: Value) -> Service {
        serde_json::from_value(json!({
            "metadata": {
                "name": "orders", "uid": "u1", "resourceVersion": "7",
                "annotations": { names::EXCHANGE: "{}", "theirs": "stays" },
            },
            "spec": { "selector": selector, "ports": ports },
        }))
        .unwrap()
    }

    fn original() -> Original {
        serde_json::from_value(json!({
            "selector": { "app": "orders", "tier": "web" },
            "targetPorts": { "80/TCP": "web", "53/UDP": 5353 },
        }))
        .unwrap()
    }

    fn apply(live: &Service, original: &Original) -> Service {
        let patch: json_patch::Patch = serde_json::from_value(put_back(live, original).unwrap()).unwrap();
        let mut document = serde_json::to_value(live).unwrap();
        json_patch::patch(&mut document, &patch).unwrap();
        serde_json::from_value(document).unwrap()
    }

    fn shape(service: &Service) -> (Value, Vec<IntOrString>) {
        let selector = service.spec.as_ref().and_then(|spec| spec.selector.clone());
        (json!(selector), live_ports(service).iter().map(target_of).collect())
    }

    #[test]
    fn what_is_ours_goes_and_what_is_theirs_stays() {
        let taken = service(
            json!({ "app": "kt-0123456789", "tier": "kt-0123456789" }),
            json!([{ "port": 80, "targetPort": 47200 }, { "port": 53, "protocol": "UDP", "targetPort": 47201 }]),
        );
        assert!(is_taken(&taken));
        let after = apply(&taken, &original());
        let targets = vec![IntOrString::String("web".into()), IntOrString::Int(5353)];
        assert_eq!(shape(&after), (json!({ "app": "orders", "tier": "web" }), targets));
        assert_eq!(after.metadata.annotations.unwrap().into_keys().collect::<Vec<_>>(), ["theirs"]);

        let edited = service(
            json!({ "app": "theirs", "tier": "kt-0123456789" }),
            json!([{ "port": 80, "targetPort": 9090 }, { "port": 53, "protocol": "UDP", "targetPort": 47201 }]),
        );
        let targets = vec![IntOrString::Int(9090), IntOrString::Int(5353)];
        assert_eq!(shape(&apply(&edited, &original())), (json!({ "app": "theirs", "tier": "web" }), targets));
    }

    #[test]
    fn a_port_with_another_number_and_a_key_that_nobody_knows() {
        let edited = service(
            json!({ "app": "kt-0123456789", "new": "kt-0123456789" }),
            json!([{ "port": 81, "targetPort": 47200 }, { "port": 53, "protocol": "UDP", "targetPort": 47201 }]),
        );
        let targets = vec![IntOrString::String("web".into()), IntOrString::Int(5353)];
        assert_eq!(shape(&apply(&edited, &original())), (json!({ "app": "orders" }), targets));
        let edited =
            service(json!({ "other": "kt-0123456789" }), json!([{ "port": 80, "targetPort": 47200 }]));
        let (selector, _) = shape(&apply(&edited, &original()));
        assert_eq!(selector, json!({ "app": "orders", "tier": "web" }));
    }

    /// Both who put a Service back go by these.
    #[test]
    fn the_table_that_is_shared_with_the_agent() {
        let table: Value = serde_json::from_str(include_str!("../../put-back.json")).unwrap();
        let original: Original = serde_json::from_value(table["original"].clone()).unwrap();
        for case in table["cases"].as_array().unwrap() {
            let mut expected = case["changes"].as_array().unwrap().clone();
            expected.push(json!({ "op": "remove", "path": annotation_path() }));
            let live = service(case["selector"].clone(), case["ports"].clone());
            let told = put_back(&live, &original).unwrap();
            assert_eq!(told.as_array().unwrap()[2..], expected, "{}", case["what"]);
        }
    }

    #[test]
    fn nothing_to_do_is_told() {
        let mut free = service(json!({ "app": "orders" }), json!([{ "port": 80, "targetPort": 8080 }]));
        free.metadata.annotations = None;
        assert!(!is_taken(&free));
        assert_eq!(put_back(&free, &original()), None);
    }

    #[test]
    fn the_way_back_tells_what_was() {
        let back = service(json!({ "app": "orders" }), json!([{ "port": 80, "targetPort": "web" }]));
        let original = by_way_back(&back);
        assert_eq!(original.selector, BTreeMap::from([("app".into(), "orders".into())]));
        assert_eq!(original.target_ports["80/TCP"], IntOrString::String("web".into()));
    }
}
