//! Where a forward's destination is at the moment: pods come and go.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::cluster::api::is_passing;
use crate::cluster::pod_wait::is_ready;
use crate::target::{Host, PortRef, Protocol};
use crate::{Deadline, Destination, Error, ErrorCode, Result, Target, TargetKind};

/// A place that was looked up is believed for this long, unless it refuses.
const FRESH: Duration = Duration::from_secs(2);

/// A lookup that takes longer has failed.
const LOOK_UP: Duration = Duration::from_secs(5);

/// A host as the gateway dials it, and a port.
type Place = (String, u16);

#[derive(Debug)]
pub(crate) struct Resolver {
    destination: Destination,
    last: Mutex<Option<(Place, Instant)>>,
    /// Held by the one who looks it up: the others wait for what it finds.
    looking: tokio::sync::Mutex<()>,
}

impl Resolver {
    pub(crate) fn new(destination: Destination) -> Self {
        Self { destination, last: Mutex::new(None), looking: tokio::sync::Mutex::new(()) }
    }

    pub(crate) fn destination(&self) -> &Destination {
        &self.destination
    }

    /// The place, and whether it was looked up just now.
    pub(crate) async fn place(
        &self,
        cluster: &Cluster,
        anew: bool,
        deadline: Deadline,
    ) -> Result<(Place, bool)> {
        let target = match (&self.destination.host, &self.destination.port) {
            (Host::Name(name), PortRef::Number(port)) => return Ok(((name.clone(), *port), true)),
            (Host::Name(name), PortRef::Name(port)) => {
                return Err(Error::new(ErrorCode::Config, format!("{name} has no port named {port}")));
            }
            (Host::Target(target), _) => target,
        };
        let asked = Instant::now();
        let known = || {
            let last = self.last().clone();
            last.filter(|(_, since)| if anew { *since > asked } else { since.elapsed() < FRESH })
        };
        if let Some((place, _)) = known() {
            return Ok((place, false));
        }
        let looking = tokio::time::timeout_at(deadline.instant(), self.looking.lock());
        let _looking =
            looking.await.map_err(|_| Error::deadline(format_args!("looking up {}", self.destination)))?;
        if let Some((place, _)) = known() {
            return Ok((place, true));
        }
        let looked_up = look_up(cluster, target, &self.destination, deadline.at_most(LOOK_UP)).await;
        let stale = self.last().clone();
        match (looked_up, stale) {
            (Ok(place), _) => {
                *self.last() = Some((place.clone(), Instant::now()));
                Ok((place, true))
            }
            // What it was is the best guess while the API server does not answer; the link may bear all the same.
            (Err(error), Some((place, _))) if !anew && is_passing(&error) => Ok((place, true)),
            (Err(error), _) => Err(error),
        }
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Option<(Place, Instant)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn look_up(
    cluster: &Cluster,
    target: &Target,
    destination: &Destination,
    deadline: Deadline,
) -> Result<Place> {
    let name = target.name();
    let (port, protocol) = (&destination.port, destination.protocol);
    let selector = match target.kind() {
        TargetKind::Service => return service(&cluster.named(name, deadline).await?, target, port, protocol),
        TargetKind::Pod => {
            let pod: Pod = cluster.named(name, deadline).await?;
            return address(&pod, port, protocol).ok_or_else(|| no_pod(target, port, 1));
        }
        TargetKind::Deployment => {
            cluster.named::<Deployment>(name, deadline).await?.spec.map(|spec| spec.selector)
        }
        TargetKind::StatefulSet => {
            cluster.named::<StatefulSet>(name, deadline).await?.spec.map(|spec| spec.selector)
        }
        TargetKind::DaemonSet => {
            cluster.named::<DaemonSet>(name, deadline).await?.spec.map(|spec| spec.selector)
        }
        TargetKind::Job => cluster.named::<Job>(name, deadline).await?.spec.and_then(|spec| spec.selector),
    };
    let selector = selector.as_ref().map(selector_text).unwrap_or_default();
    if selector.is_empty() {
        return Err(no_pod(target, port, 0));
    }
    let pods: Vec<Pod> = cluster.list(&selector, deadline).await?;
    // Ready ones first, and of those the newest: the one a roll-out leads to.
    let mut ranked: Vec<&Pod> = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect();
    ranked.sort_by_key(|pod| (is_ready(pod), pod.metadata.creation_timestamp.clone().map(|time| time.0)));
    ranked
        .iter()
        .rev()
        .find_map(|pod| address(pod, port, protocol))
        .ok_or_else(|| no_pod(target, port, pods.len()))
}

fn service(service: &Service, target: &Target, port: &PortRef, protocol: Protocol) -> Result<Place> {
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    let mut ports = ports.iter().filter(|one| is_of(one.protocol.as_deref(), protocol));
    let known: Vec<String> = ports.clone().map(|one| one.port.to_string()).collect();
    let found = ports.find(|one| match port {
        PortRef::Number(number) => one.port == i32::from(*number),
        PortRef::Name(name) => one.name.as_deref() == Some(name),
    });
    let number = found.and_then(|one| u16::try_from(one.port).ok());
    number.map(|number| (target.name().to_owned(), number)).ok_or_else(|| {
        Error::new(
            ErrorCode::NoSuchPort,
            format!("{target} has no {} port {port}; it has: {}", protocol.as_str(), known.join(", ")),
        )
        .on(target.to_string())
    })
}

fn address(pod: &Pod, port: &PortRef, protocol: Protocol) -> Option<Place> {
    let ip = pod.status.as_ref()?.pod_ip.clone()?;
    let number = match port {
        PortRef::Number(number) => *number,
        PortRef::Name(name) => {
            let containers = &pod.spec.as_ref()?.containers;
            let mut ports = containers.iter().flat_map(|container| container.ports.iter().flatten());
            let found = ports
                .find(|one| one.name.as_deref() == Some(name) && is_of(one.protocol.as_deref(), protocol))?;
            u16::try_from(found.container_port).ok()?
        }
    };
    Some((ip, number))
}

/// Whether a port of an object is of this protocol.
fn is_of(of_port: Option<&str>, protocol: Protocol) -> bool {
    of_port.unwrap_or("TCP") == protocol.as_str()
}

fn no_pod(target: &Target, port: &PortRef, pods: usize) -> Error {
    let why = match (pods, port) {
        (0, _) => "it has no pods".to_owned(),
        (_, PortRef::Name(name)) => {
            format!("none of its {pods} pods has an address and a container port named {name}")
        }
        (_, PortRef::Number(_)) => format!("none of its {pods} pods has an address"),
    };
    Error::new(ErrorCode::Refused, format!("{target} cannot be dialled: {why}")).on(target.to_string())
}

/// The selector as list requests take it.
fn selector_text(selector: &LabelSelector) -> String {
    let labels =
        selector.match_labels.iter().flat_map(BTreeMap::iter).map(|(key, value)| format!("{key}={value}"));
    let expressions = selector.match_expressions.iter().flatten().map(|one| {
        let values = one.values.as_deref().unwrap_or_default().join(",");
        match one.operator.as_str() {
            "In" => format!("{} in ({values})", one.key),
            "NotIn" => format!("{} notin ({values})", one.key),
            "DoesNotExist" => format!("!{}", one.key),
            _ => one.key.clone(),
        }
    });
    labels.chain(expressions).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_written_as_the_api_takes_them() {
        let selector: LabelSelector = serde_json::from_value(serde_json::json!({
            "matchLabels": { "app": "web" },
            "matchExpressions": [
                { "key": "tier", "operator": "In", "values": ["a", "b"] },
                { "key": "x", "operator": "Exists" },
                { "key": "y", "operator": "DoesNotExist" },
            ],
        }))
        .unwrap();
        assert_eq!(selector_text(&selector), "app=web,tier in (a,b),x,!y");
    }

    #[test]
    fn a_named_port_is_found_in_the_pod() {
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "spec": { "containers": [{ "name": "c", "ports": [
                { "name": "dns", "containerPort": 5300, "protocol": "TCP" },
                { "name": "pg", "containerPort": 5432 },
                { "name": "dns", "containerPort": 53, "protocol": "UDP" },
            ] }] },
            "status": { "podIP": "10.0.0.7" },
        }))
        .unwrap();
        let address = |name: &str, protocol| address(&pod, &PortRef::Name(name.into()), protocol);
        assert_eq!(address("pg", Protocol::Tcp), Some(("10.0.0.7".into(), 5432)));
        assert_eq!(address("pg", Protocol::Udp), None);
        assert_eq!(address("dns", Protocol::Udp), Some(("10.0.0.7".into(), 53)));
        assert_eq!(address("no", Protocol::Tcp), None);
    }
}
