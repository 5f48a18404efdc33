use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};

use super::*;
use crate::To;

fn policy(name: &str, spec: Value) -> NetworkPolicy {
    serde_json::from_value(json!({ "metadata": { "name": name }, "spec": spec })).unwrap()
}

/// What an exchange of `orders` meets: port 80 to 8080, whose name in the pods is `web`.
fn met(policies: &[NetworkPolicy]) -> Vec<String> {
    let service: Service = serde_json::from_value(json!({
        "metadata": { "name": "orders", "uid": "u" },
        "spec": { "selector": { "app": "orders" }, "ports": [{ "port": 80, "targetPort": "web" }] },
    }))
    .unwrap();
    let plan = Plan::new(&service, "kt-0123456789".into(), &To::port(1), None).unwrap();
    let pod: Pod = serde_json::from_value(json!({
        "metadata": { "labels": { "app": "orders" } },
        "spec": { "containers": [{ "name": "c", "ports": [{ "name": "web", "containerPort": 8080 }] }] },
    }))
    .unwrap();
    let mut us = names::labels(names::ROLE_INTERCEPTOR, "kt-orders-0123456789");
    us.insert("app".into(), plan.value.clone());
    faults(policies, &plan, &us, &[pod])
}

#[test]
fn what_selects_nobody_of_ours_is_nothing_to_us() {
    assert!(met(&[]).is_empty());
    let other =
        json!({ "podSelector": { "matchLabels": { "app": "payments" } }, "policyTypes": ["Ingress"] });
    assert!(met(&[policy("payments", other)]).is_empty());
}

#[test]
fn default_deny_is_named_by_direction() {
    let told = met(&[policy("deny-in", json!({ "podSelector": {}, "policyTypes": ["Ingress"] }))]);
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[0], "networkpolicies/deny-in would let nobody reach the interceptor");
    let told = met(&[policy("deny-out", json!({ "podSelector": {}, "policyTypes": ["Egress"] }))]);
    assert_eq!(told, ["networkpolicies/deny-out would not let the interceptor reach the original pods"]);
    // Without types it is about what comes in.
    assert_eq!(met(&[policy("deny", json!({ "podSelector": {} }))]).len(), 2);
}

#[test]
fn what_another_policy_allows_is_allowed() {
    let deny = policy("deny", json!({ "podSelector": {}, "policyTypes": ["Ingress", "Egress"] }));
    let ours = json!({ "matchLabels": { "app.kubernetes.io/managed-by": "kubetether" } });
    let open = policy("kubetether", json!({ "podSelector": ours, "ingress": [{}], "egress": [{}] }));
    let callers = json!({ "podSelector": { "matchLabels": { "app": "orders" } }, "ingress": [{ "ports": [{ "port": "web" }] }] });
    assert_eq!(met(&[deny.clone(), open.clone()]).len(), 1, "the original pods are closed still");
    assert!(met(&[deny, open, policy("orders", callers)]).is_empty());
}

#[test]
fn a_rule_for_the_originals_port_is_none_for_the_interceptors() {
    let web = json!({ "podSelector": {}, "ingress": [{ "ports": [{ "port": 8080 }] }] });
    assert_eq!(met(&[policy("web", web)]), ["networkpolicies/web would let nobody reach the interceptor"]);
    let range = json!({ "podSelector": {}, "ingress": [{ "ports": [{ "port": 8000, "endPort": 50000 }] }] });
    assert!(met(&[policy("range", range)]).is_empty());
    let udp = json!({ "podSelector": {}, "ingress": [{ "ports": [{ "protocol": "UDP" }] }] });
    assert_eq!(met(&[policy("udp", udp)]).len(), 2);
}

#[test]
fn peers_are_judged_by_their_labels_where_they_can_be() {
    let rule = |from: Value| {
        let spec =
            json!({ "podSelector": { "matchLabels": { "app": "orders" } }, "ingress": [{ "from": from }] });
        met(&[policy("orders", spec)])
    };
    let closed = "networkpolicies/orders would not let the original pods be reached by the interceptor";
    assert_eq!(rule(json!([{ "podSelector": { "matchLabels": { "app": "shop" } } }])), [closed]);
    assert!(rule(json!([{ "podSelector": {} }])).is_empty());
    assert!(rule(json!([{ "ipBlock": { "cidr": "10.0.0.0/8" } }])).is_empty());
    let exists = json!({ "key": "kubetether.dev/role", "operator": "Exists" });
    assert!(rule(json!([{ "podSelector": { "matchExpressions": [exists] } }])).is_empty());
    let elsewhere = json!({ "namespaceSelector": {}, "podSelector": { "matchLabels": { "app": "shop" } } });
    assert!(rule(json!([elsewhere])).is_empty());
}
