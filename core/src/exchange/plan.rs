//! What an exchange does to a Service, as data: the ports, the patch that takes it, the patch that
//! puts it back, and what a change by somebody else means. Nothing here talks to a cluster.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Value, json};

use super::note::{Note, Original, port_key};
use super::put_back::put_back_by;
use crate::cluster::{api, names};
use crate::target::Protocol;
use crate::to::{Local, Offered, To};
use crate::{Error, ErrorCode, Result};

/// The interceptor's first data port; each port of the Service gets one of its own.
const FIRST_LISTEN: u16 = 47200;
/// A Service of more ports than this is refused; Kubernetes itself allows 100 in an EndpointSlice.
const MAX_PORTS: usize = 100;

/// How a Service is taken.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    pub(crate) service: String,
    pub(crate) uid: String,
    pub(crate) addresses: Vec<IpAddr>,
    /// The value that each key of the selector takes.
    pub(crate) value: String,
    pub(crate) original: Original,
    pub(crate) ports: Vec<Port>,
}

/// One port of the Service.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Port {
    pub(crate) number: u16,
    pub(crate) protocol: Protocol,
    /// Where the interceptor listens for it.
    pub(crate) listen: u16,
    /// Where it goes on this machine; `None` passes through.
    pub(crate) local: Option<Local>,
}

/// What a Service that was looked at again has become.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Look {
    /// As we left it.
    Ours,
    /// Somebody changed what we hold; this plan takes it again with their values as the original ones.
    Drifted(Box<Plan>),
    /// It is another Service of that name.
    Replaced,
    /// Another session holds it now, by its Lease.
    Taken(String),
    /// Its note cannot be read.
    Unreadable {
        /// It is of a later version: nothing of what that wrote may be touched.
        later: bool,
        /// Why, for people.
        why: String,
    },
    /// Its shape is another one than the interceptor was made for; the text says in what.
    Reshaped(String),
}

impl Plan {
    /// Reads the Service. What is there must be the user's own, or a dead holder's whose note is
    /// given, in which case the note's originals count.
    pub(crate) fn new(service: &Service, value: String, to: &To, dead: Option<&Note>) -> Result<Self> {
        let name = service.metadata.name.clone().unwrap_or_default();
        let spec = service.spec.as_ref().ok_or_else(|| unsupported(&name, "it has no spec"))?;
        check(&name, service)?;
        let live = original_of(service, dead)?;
        let ports = spec.ports.clone().unwrap_or_default();
        let offered: Vec<Offered> = ports.iter().filter_map(|port| offered(port, &live)).collect();
        let mut locals: BTreeMap<u16, Local> =
            to.resolve(&offered).map_err(|error| error.on(format!("services/{name}")))?.into_iter().collect();
        let planned = ports.iter().enumerate().map(|(at, port)| {
            let protocol = protocol(&name, port)?;
            let number =
                u16::try_from(port.port).map_err(|_| unsupported(&name, "a port is out of range"))?;
            let local = if protocol == Protocol::Tcp { locals.remove(&number) } else { None };
            // MAX_PORTS keeps this far from the end of the range.
            Ok(Port { number, protocol, listen: FIRST_LISTEN + at as u16, local })
        });
        let ports = planned.collect::<Result<Vec<_>>>()?;
        let addresses = spec.cluster_ips.iter().flatten().filter_map(|ip| ip.parse().ok()).collect();
        Ok(Self {
            uid: service.metadata.uid.clone().unwrap_or_default(),
            service: name,
            addresses,
            value,
            original: live,
            ports,
        })
    }

    /// The Service's TCP ports that come here.
    pub(crate) fn exposed(&self) -> Vec<u16> {
        self.ports.iter().filter(|port| port.local.is_some()).map(|port| port.number).collect()
    }

    /// The JSON patch that takes `live`; it fails if the Service is changed meanwhile.
    pub(crate) fn take(&self, live: &Service, note: &Note) -> Result<Value> {
        let selector: BTreeMap<&String, &String> =
            self.original.selector.keys().map(|key| (key, &self.value)).collect();
        let mut operations = unchanged(live);
        operations.push(json!({ "op": "replace", "path": "/spec/selector", "value": selector }));
        for (at, port) in live_ports(live).iter().enumerate() {
            if let Some(planned) = self.port(port) {
                operations.push(set_target(at, &IntOrString::Int(i32::from(planned.listen))));
            }
        }
        if live.metadata.annotations.is_none() {
            operations.push(json!({ "op": "add", "path": "/metadata/annotations", "value": {} }));
        }
        operations.push(json!({ "op": "add", "path": annotation_path(), "value": note.to_text()? }));
        Ok(operations.into())
    }

    /// The JSON patch that puts `live` back; `None` when there is nothing to put back.
    pub(crate) fn restore(&self, live: &Service) -> Option<Value> {
        put_back_by(live, &self.original, |port| {
            // By what it holds, not by its number: somebody may have given our port another number.
            let planned = self.ports.iter().find(|planned| is_listen(port, planned.listen))?;
            let key = port_key(i32::from(planned.number), Some(planned.protocol.as_str()));
            self.original.target_ports.get(&key).cloned()
        })
    }

    /// Whether a Service whose note cannot be read may be put back: what it holds is this plan's, or the user's.
    pub(crate) fn is_nobody_elses(&self, live: &Service) -> bool {
        let selector = live.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        let another = |value: &String| names::is_selector_value(value) && *value != self.value;
        !selector.is_some_and(|selector| selector.values().any(another))
    }

    /// What the Service has become since it was taken.
    pub(crate) fn look(&self, live: &Service, lease: &str) -> Look {
        if live.metadata.uid.as_ref() != Some(&self.uid) {
            return Look::Replaced;
        }
        match Note::of(live) {
            Ok(Some(note)) if !note.is_held_by(lease) => {
                let holder = note.holders.first().map(|holder| holder.lease.clone());
                return Look::Taken(holder.unwrap_or_default());
            }
            Ok(Some(_)) if self.is_in_force(live) => return Look::Ours,
            Ok(_) => {}
            Err(error) => {
                return Look::Unreadable { later: Note::is_later(live), why: error.to_string() };
            }
        }
        match self.original_now(live) {
            Ok(original) => Look::Drifted(Box::new(Self { original, ..self.clone() })),
            Err(shape) => Look::Reshaped(shape),
        }
    }

    /// What counts as the original of a Service that looks like this: what somebody else wrote, and
    /// what is known where a kubetether wrote. `Err` says in what its shape does not fit the plan.
    pub(crate) fn original_now(&self, live: &Service) -> Result<Original, String> {
        let mut selector = live.spec.as_ref().and_then(|spec| spec.selector.clone()).unwrap_or_default();
        if !selector.keys().eq(self.original.selector.keys()) {
            let keys: Vec<&str> = selector.keys().map(String::as_str).collect();
            return Err(format!("a selector of other keys ({})", keys.join(", ")));
        }
        for (key, value) in &mut selector {
            if names::is_selector_value(value) {
                value.clone_from(&self.original.selector[key]);
            }
        }
        let mut target_ports = BTreeMap::new();
        for port in live_ports(live) {
            let key = port_key(port.port, port.protocol.as_deref());
            let Some(known) = self.original.target_ports.get(&key).filter(|_| self.port(&port).is_some())
            else {
                return Err(format!("a new port {key}"));
            };
            let target = if self.holds_ours(&port) { known.clone() } else { target_of(&port) };
            target_ports.insert(key, target);
        }
        Ok(Original { selector, target_ports, ..self.original.clone() })
    }

    fn is_in_force(&self, live: &Service) -> bool {
        let selector = live.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        let selected = selector.is_some_and(|selector| {
            selector.keys().eq(self.original.selector.keys())
                && selector.values().all(|value| *value == self.value)
        });
        let ports = live_ports(live);
        let led = |port: &ServicePort| self.port(port).is_some_and(|planned| is_listen(port, planned.listen));
        selected && ports.iter().all(led)
    }

    /// Whether a port leads to an interceptor: its own port there, or another one of those that
    /// interceptors use while the port was known to lead elsewhere.
    fn holds_ours(&self, port: &ServicePort) -> bool {
        let key = port_key(port.port, port.protocol.as_deref());
        let known = self.original.target_ports.get(&key);
        is_any_listen(port) && known != Some(&target_of(port))
    }

    fn port(&self, port: &ServicePort) -> Option<&Port> {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        self.ports
            .iter()
            .find(|planned| i32::from(planned.number) == port.port && planned.protocol.as_str() == protocol)
    }
}

/// Refuses what an exchange by selector cannot do.
fn check(name: &str, service: &Service) -> Result<()> {
    let Some(spec) = &service.spec else { return Err(unsupported(name, "it has no spec")) };
    if spec.type_.as_deref() == Some("ExternalName") {
        let target = spec.external_name.as_deref().unwrap_or_default();
        return Err(unsupported(
            name,
            &format!("it is of type ExternalName (for {target}): no traffic passes through it"),
        ));
    }
    if spec.selector.as_ref().is_none_or(BTreeMap::is_empty) {
        return Err(unsupported(name, "it has no selector, so its endpoints are managed by somebody else"));
    }
    if spec.cluster_ip.as_deref() == Some("None") {
        return Err(unsupported(
            name,
            "it is headless (clusterIP: None): callers connect to its pods, not to it",
        ));
    }
    if spec.internal_traffic_policy.as_deref() == Some("Local")
        || spec.external_traffic_policy.as_deref() == Some("Local")
    {
        return Err(unsupported(
            name,
            "its traffic policy is Local: each node would need an interceptor of its own",
        ));
    }
    let ports = spec.ports.as_deref().unwrap_or_default();
    if ports.is_empty() || ports.len() > MAX_PORTS {
        return Err(unsupported(name, &format!("it has {} ports", ports.len())));
    }
    ports.iter().try_for_each(|port| protocol(name, port).map(|_| ()))
}

/// What the fields were before anybody's kubetether changed them.
fn original_of(service: &Service, dead: Option<&Note>) -> Result<Original> {
    let name = service.metadata.name.as_deref().unwrap_or_default();
    let spec = service.spec.clone().unwrap_or_default();
    let mut original = Original { selector: spec.selector.unwrap_or_default(), ..Original::default() };
    for (key, value) in &mut original.selector {
        if names::is_selector_value(value) {
            let known = dead.and_then(|note| note.original.selector.get(key));
            value.clone_from(known.ok_or_else(|| {
                unsupported(name, &format!("its selector holds `{key}: {value}`, which a kubetether left without saying what was there before"))
                    .try_this("set the selector to the labels of its pods again")
            })?);
        }
    }
    for port in spec.ports.iter().flatten() {
        let key = port_key(port.port, port.protocol.as_deref());
        let known = dead.and_then(|note| note.original.target_ports.get(&key));
        let target = known.filter(|_| is_any_listen(port)).cloned().unwrap_or_else(|| target_of(port));
        original.target_ports.insert(key, target);
    }
    Ok(original)
}

fn offered(port: &ServicePort, original: &Original) -> Option<Offered> {
    if port.protocol.as_deref().unwrap_or("TCP") != "TCP" {
        return None;
    }
    let target = match original.target_ports.get(&port_key(port.port, port.protocol.as_deref())) {
        Some(IntOrString::Int(number)) => u16::try_from(*number).ok(),
        Some(IntOrString::String(_)) | None => None,
    };
    Some(Offered { number: u16::try_from(port.port).ok()?, name: port.name.clone(), target })
}

fn protocol(service: &str, port: &ServicePort) -> Result<Protocol> {
    match port.protocol.as_deref().unwrap_or("TCP") {
        "TCP" => Ok(Protocol::Tcp),
        "UDP" => Ok(Protocol::Udp),
        other => Err(unsupported(service, &format!("its port {} is {other}", port.port))),
    }
}

pub(super) fn live_ports(live: &Service) -> Vec<ServicePort> {
    live.spec.as_ref().and_then(|spec| spec.ports.clone()).unwrap_or_default()
}

pub(super) fn target_of(port: &ServicePort) -> IntOrString {
    // The API server fills it in with the port itself where it is left out.
    port.target_port.clone().unwrap_or(IntOrString::Int(port.port))
}

fn is_listen(port: &ServicePort, listen: u16) -> bool {
    target_of(port) == IntOrString::Int(i32::from(listen))
}

pub(super) fn is_any_listen(port: &ServicePort) -> bool {
    (FIRST_LISTEN..FIRST_LISTEN + MAX_PORTS as u16).any(|listen| is_listen(port, listen))
}

pub(super) fn unchanged(live: &Service) -> Vec<Value> {
    vec![
        json!({ "op": "test", "path": "/metadata/uid", "value": live.metadata.uid }),
        json!({ "op": "test", "path": "/metadata/resourceVersion", "value": live.metadata.resource_version }),
    ]
}

pub(super) fn set_target(at: usize, target: &IntOrString) -> Value {
    json!({ "op": "add", "path": format!("/spec/ports/{at}/targetPort"), "value": target })
}

pub(super) fn annotation_path() -> String {
    api::annotation_path(names::EXCHANGE)
}

fn unsupported(service: &str, why: &str) -> Error {
    Error::new(ErrorCode::Unsupported, format!("services/{service} cannot be exchanged: {why}"))
        .on(format!("services/{service}"))
}

#[cfg(test)]
mod tests;
