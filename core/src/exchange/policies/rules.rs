//! What NetworkPolicies say: a pod that none selects may do everything, one that some select what any of them allows.

use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::Labels;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Ingress,
    Egress,
}

/// A port of the pod that is connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Port {
    pub(super) protocol: String,
    pub(super) number: i32,
    /// Its name in the pod.
    pub(super) name: Option<String>,
}

impl Port {
    pub(super) fn number(protocol: &str, number: i32) -> Self {
        Self { protocol: protocol.to_owned(), number, name: None }
    }
}

/// The policies that together keep `subject` from connections at `port` with `peer`, a pod of the namespace or, when
/// `None`, anybody; empty when they allow them.
pub(super) fn refusing<'a>(
    policies: &'a [NetworkPolicy],
    direction: Direction,
    subject: &Labels,
    port: &Port,
    peer: Option<&Labels>,
) -> Vec<&'a str> {
    let isolating: Vec<&NetworkPolicy> =
        policies.iter().filter(|policy| isolates(policy, direction, subject)).collect();
    let allowed = isolating.iter().any(|policy| allows(policy, direction, port, peer));
    if allowed {
        return Vec::new();
    }
    isolating.iter().filter_map(|policy| policy.metadata.name.as_deref()).collect()
}

fn isolates(policy: &NetworkPolicy, direction: Direction, subject: &Labels) -> bool {
    let Some(spec) = &policy.spec else { return false };
    let applies = match (&spec.policy_types, direction) {
        (Some(types), Direction::Ingress) => types.iter().any(|one| one == "Ingress"),
        (Some(types), Direction::Egress) => types.iter().any(|one| one == "Egress"),
        (None, Direction::Ingress) => true,
        (None, Direction::Egress) => spec.egress.is_some(),
    };
    // No selector selects all, as an empty one does.
    applies && spec.pod_selector.as_ref().is_none_or(|selector| selects(selector, subject))
}

fn allows(policy: &NetworkPolicy, direction: Direction, port: &Port, peer: Option<&Labels>) -> bool {
    let Some(spec) = &policy.spec else { return false };
    let admits = |peers: Option<&[NetworkPolicyPeer]>, ports: Option<&[NetworkPolicyPort]>| {
        let (peers, ports) = (peers.unwrap_or_default(), ports.unwrap_or_default());
        let met = peers.is_empty() || peers.iter().any(|one| is_met(one, peer));
        met && (ports.is_empty() || ports.iter().any(|one| covers(one, port)))
    };
    match direction {
        Direction::Ingress => {
            spec.ingress.iter().flatten().any(|rule| admits(rule.from.as_deref(), rule.ports.as_deref()))
        }
        Direction::Egress => {
            spec.egress.iter().flatten().any(|rule| admits(rule.to.as_deref(), rule.ports.as_deref()))
        }
    }
}

fn is_met(rule: &NetworkPolicyPeer, peer: Option<&Labels>) -> bool {
    // Addresses and other namespaces are not judged.
    match (&rule.pod_selector, peer) {
        (Some(selector), Some(peer)) if rule.namespace_selector.is_none() => selects(selector, peer),
        _ => true,
    }
}

fn covers(rule: &NetworkPolicyPort, port: &Port) -> bool {
    if rule.protocol.as_deref().unwrap_or("TCP") != port.protocol {
        return false;
    }
    match &rule.port {
        None => true,
        Some(IntOrString::Int(first)) => (*first..=rule.end_port.unwrap_or(*first)).contains(&port.number),
        Some(IntOrString::String(name)) => port.name.as_ref() == Some(name),
    }
}

fn selects(selector: &LabelSelector, labels: &Labels) -> bool {
    let expressions = selector.match_expressions.iter().flatten();
    selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value))
        && expressions.into_iter().all(|one| {
            let (value, values) = (labels.get(&one.key), one.values.as_deref().unwrap_or_default());
            match one.operator.as_str() {
                "In" => value.is_some_and(|value| values.contains(value)),
                "NotIn" => value.is_none_or(|value| !values.contains(value)),
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                // Of a later Kubernetes: not judged.
                _ => false,
            }
        })
}
