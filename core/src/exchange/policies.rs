//! NetworkPolicies that would silence an interceptor, found by reading them before anything is made.
//!
//! Only what is certain is refused: a peer that cannot be judged from here (addresses, other namespaces) counts as the
//! one that is meant. What slips through is found by the start's own proofs, where the cluster enforces it.

mod rules;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use self::rules::{Direction, Port, refusing};
use super::note::port_key;
use super::plan::Plan;
use crate::cluster::{Cluster, names};
use crate::{Deadline, Error, ErrorCode, Result};

type Labels = BTreeMap<String, String>;

/// Refuses when policies of the namespace let nobody reach an interceptor with these labels, or do not let it reach the
/// original pods. A user who may not read them finds out by the proofs.
pub(super) async fn check(cluster: &Cluster, plan: &Plan, us: &Labels, deadline: Deadline) -> Result<()> {
    let policies: Vec<NetworkPolicy> = match cluster.list("", deadline).await {
        Ok(policies) => policies,
        Err(error) => {
            tracing::debug!(error = error.report(), "network policies were not read");
            return Ok(());
        }
    };
    if policies.is_empty() {
        return Ok(());
    }
    let selector: Vec<String> =
        plan.original.selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let pods: Vec<Pod> = cluster.list(&selector.join(","), deadline).await?;
    let faults = faults(&policies, plan, us, &pods);
    if faults.is_empty() {
        return Ok(());
    }
    let place = format!("services/{}", plan.service);
    Err(Error::new(ErrorCode::Unsupported, format!("{place} cannot be exchanged: {}", faults.join("; ")))
        .on(place)
        .try_this(format!(
            "add a NetworkPolicy for pods with the label {}: {} that allows what is missing",
            names::MANAGED_BY,
            names::KUBETETHER
        )))
}

/// What stands in the way, a sentence each.
fn faults(policies: &[NetworkPolicy], plan: &Plan, us: &Labels, pods: &[Pod]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut tell = |names: Vec<String>, what: &str| {
        if !names.is_empty() {
            faults.push(format!("{} {what}", names.join(", ")));
        }
    };
    let theirs = pods.iter().find_map(|pod| pod.metadata.labels.clone());
    let listens: Vec<Port> =
        plan.ports.iter().map(|port| Port::number(port.protocol.as_str(), port.listen.into())).collect();
    let targets: Vec<Port> = plan
        .ports
        .iter()
        .filter_map(|port| target(plan, port.number, port.protocol.as_str(), pods))
        .collect();
    let refuse = |direction, subject: &Labels, ports: &[Port], peer| {
        let all = ports.iter().flat_map(|port| refusing(policies, direction, subject, port, peer));
        let mut names: Vec<String> = all.map(|name| format!("networkpolicies/{name}")).collect();
        names.sort_unstable();
        names.dedup();
        names
    };
    tell(refuse(Direction::Ingress, us, &listens, None), "would let nobody reach the interceptor");
    tell(
        refuse(Direction::Egress, us, &targets, theirs.as_ref()),
        "would not let the interceptor reach the original pods",
    );
    if let Some(theirs) = &theirs {
        tell(
            refuse(Direction::Ingress, theirs, &targets, Some(us)),
            "would not let the original pods be reached by the interceptor",
        );
    }
    faults
}

/// Where a port of the Service leads in its pods; `None` when no pod has a port of that name.
fn target(plan: &Plan, number: u16, protocol: &str, pods: &[Pod]) -> Option<Port> {
    let target = plan.original.target_ports.get(&port_key(number.into(), Some(protocol)))?;
    let containers = || pods.iter().filter_map(|pod| pod.spec.as_ref()).flat_map(|spec| &spec.containers);
    let mut named = containers().flat_map(|container| container.ports.iter().flatten());
    match target {
        IntOrString::Int(number) => {
            let name = named.find(|port| port.container_port == *number).and_then(|port| port.name.clone());
            Some(Port { protocol: protocol.to_owned(), number: *number, name })
        }
        IntOrString::String(name) => {
            let number = named.find(|port| port.name.as_ref() == Some(name))?.container_port;
            Some(Port { protocol: protocol.to_owned(), number, name: Some(name.clone()) })
        }
    }
}

#[cfg(test)]
mod tests;
