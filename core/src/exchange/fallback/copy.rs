//! What a fallback slice holds: a copy of what Kubernetes itself keeps for the way back, under names that are known
//! before. Nothing here talks to a cluster.

use std::collections::BTreeMap;

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{KEPT_BY, OF_SERVICE, name};
use crate::cluster::names;

/// The API server takes no slice with more.
const PER_SLICE: usize = 1000;

/// What our slices are marked with.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    pub(super) service: String,
    pub(super) interceptor: String,
    /// All but the name and the labels of a slice.
    base: ObjectMeta,
}

impl Mark {
    pub(super) fn new(service: &str, base: ObjectMeta) -> Self {
        let interceptor = base.name.clone().unwrap_or_default();
        Self { service: service.to_owned(), interceptor, base }
    }

    /// The slices for what `known` lists, by name. Pods that answer at other ports than others are in a slice of their
    /// own. Of more than the names are for, the fewest pods are left out: callers are led to the others.
    pub(super) fn copies(
        &self,
        known: &BTreeMap<String, EndpointSlice>,
        with_udp: bool,
    ) -> BTreeMap<String, EndpointSlice> {
        // As kube-proxy itself chooses: those that end only where there is no other.
        let any_ready = known.values().any(|source| source.endpoints.iter().any(is_ready));
        let mut wanted = BTreeMap::new();
        for (kind, family) in names::FAMILIES {
            let of_family = known.values().filter(|source| source.address_type == kind);
            let mut groups: BTreeMap<String, (Vec<EndpointPort>, Vec<Endpoint>)> = BTreeMap::new();
            for source in of_family {
                let ports = source.ports.iter().flatten().filter(|port| with_udp || !is_udp(port));
                // Name and protocol are set in what is copied: some readers rely on them.
                let ports: Vec<EndpointPort> = ports.cloned().collect();
                let chosen = |one: &&Endpoint| if any_ready { is_ready(one) } else { is_serving(one) };
                let key = serde_json::to_string(&ports).unwrap_or_default();
                let group = groups.entry(key).or_insert_with(|| (ports, Vec::new()));
                group.1.extend(source.endpoints.iter().filter(chosen).map(leaving));
            }
            let mut pieces: Vec<(&[EndpointPort], &[Endpoint])> = groups
                .values()
                .flat_map(|(ports, endpoints)| endpoints.chunks(PER_SLICE).map(|piece| (&**ports, piece)))
                .collect();
            if pieces.len() > names::SLICES {
                pieces.sort_by_key(|(_, piece)| std::cmp::Reverse(piece.len()));
                let left: usize = pieces.drain(names::SLICES..).map(|(_, piece)| piece.len()).sum();
                tracing::debug!(left, "more pods, or ports of theirs, than the fallback slices can list");
            }
            for (at, (ports, endpoints)) in pieces.into_iter().enumerate() {
                let slice = EndpointSlice {
                    metadata: self.metadata(names::fallback_slice(&self.interceptor, family, at)),
                    address_type: kind.to_owned(),
                    endpoints: endpoints.to_vec(),
                    ports: Some(ports.to_vec()),
                };
                wanted.insert(name(&slice), slice);
            }
        }
        wanted
    }

    /// Of a slice of ours.
    pub(super) fn metadata(&self, name: String) -> ObjectMeta {
        let mut labels = self.base.labels.clone().unwrap_or_default();
        labels.insert(OF_SERVICE.into(), self.service.clone());
        labels.insert(KEPT_BY.into(), names::KUBETETHER.into());
        ObjectMeta { name: Some(name), labels: Some(labels), ..self.base.clone() }
    }
}

/// The same pod as one that ends and still serves.
fn leaving(endpoint: &Endpoint) -> Endpoint {
    let mut one = endpoint.clone();
    // All three, always: some readers take a missing one for true.
    one.conditions =
        Some(EndpointConditions { ready: Some(false), serving: Some(true), terminating: Some(true) });
    one.hints = None;
    one.hostname = None;
    one
}

/// As readers take it: what is not said is so.
pub(super) fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().is_none_or(|now| now.ready.unwrap_or(true))
}

fn is_serving(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().is_none_or(|now| now.serving.or(now.ready).unwrap_or(true))
}

fn is_udp(port: &EndpointPort) -> bool {
    port.protocol.as_deref() == Some("UDP")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn way_back() -> EndpointSlice {
        serde_json::from_value(json!({
            "metadata": { "name": "kt-orders-0123456789-orig-x7k2p" },
            "addressType": "IPv4",
            "ports": [
                { "name": "http", "port": 8080, "protocol": "TCP" },
                { "name": "dns", "port": 53, "protocol": "UDP" },
            ],
            "endpoints": [
                { "addresses": ["10.244.0.7"], "nodeName": "n1",
                  "conditions": { "ready": true, "serving": true, "terminating": false } },
                { "addresses": ["10.244.0.8"], "conditions": { "ready": false, "serving": false, "terminating": false } },
            ],
        }))
        .unwrap()
    }

    fn copies(sources: impl IntoIterator<Item = EndpointSlice>, with_udp: bool) -> Vec<EndpointSlice> {
        let base = ObjectMeta { name: Some("kt-orders-0123456789".into()), ..Default::default() };
        let known = sources.into_iter().enumerate().map(|(at, source)| (at.to_string(), source)).collect();
        Mark::new("orders", base).copies(&known, with_udp).into_values().collect()
    }

    fn addresses(slice: &EndpointSlice) -> Vec<&str> {
        slice.endpoints.iter().map(|one| one.addresses[0].as_str()).collect()
    }

    /// A slice of so many ready pods that answer at one port.
    fn pods(kind: &str, port: i32, count: usize) -> EndpointSlice {
        let endpoints: Vec<_> =
            (0..count).map(|at| json!({ "addresses": [format!("10.{port}.0.{at}")] })).collect();
        let ports = json!([{ "name": "http", "port": port, "protocol": "TCP" }]);
        let slice = json!({ "addressType": kind, "ports": ports, "endpoints": endpoints });
        serde_json::from_value(slice).unwrap()
    }

    #[test]
    fn what_serves_is_listed_as_terminating_with_all_that_readers_need() {
        let copy = copies([way_back()], true).remove(0);
        assert_eq!(copy.metadata.name.as_deref(), Some("kt-orders-0123456789-v4-0"));
        let labels = copy.metadata.labels.unwrap();
        assert_eq!(labels[OF_SERVICE], "orders");
        assert_eq!(labels[KEPT_BY], "kubetether");
        assert_eq!(copy.endpoints.len(), 1, "one that does not serve is left out");
        let endpoint = &copy.endpoints[0];
        assert_eq!(
            (endpoint.addresses[0].as_str(), endpoint.node_name.as_deref()),
            ("10.244.0.7", Some("n1"))
        );
        let conditions = endpoint.conditions.clone().unwrap();
        assert_eq!(
            (conditions.ready, conditions.serving, conditions.terminating),
            (Some(false), Some(true), Some(true))
        );
        assert_eq!(copy.ports.unwrap().len(), 2);
    }

    #[test]
    fn a_pod_that_ends_is_listed_only_where_there_is_no_other() {
        let mut source = way_back();
        let ending = json!({ "ready": false, "serving": true, "terminating": true });
        source.endpoints[1].conditions = Some(serde_json::from_value(ending.clone()).unwrap());
        assert_eq!(addresses(&copies([source.clone()], true)[0]), ["10.244.0.7"]);
        source.endpoints[0].conditions = Some(serde_json::from_value(ending).unwrap());
        assert_eq!(addresses(&copies([source], true)[0]), ["10.244.0.7", "10.244.0.8"]);
    }

    #[test]
    fn udp_ports_join_later() {
        let ports = copies([way_back()], false).remove(0).ports.unwrap();
        assert_eq!(ports.len(), 1);
        assert_eq!(ports[0].name.as_deref(), Some("http"));
    }

    #[test]
    fn slices_are_joined_by_family_and_ports_under_names_that_are_known_before() {
        let sources = [pods("IPv4", 80, 2), pods("IPv6", 80, 1), pods("IPv4", 81, 1), pods("IPv4", 80, 3)];
        let made = copies(sources, true);
        let told: Vec<(&str, &str, usize)> = made
            .iter()
            .map(|slice| {
                (slice.metadata.name.as_deref().unwrap(), &*slice.address_type, slice.endpoints.len())
            })
            .collect();
        let name = |end| format!("kt-orders-0123456789-{end}");
        let (first, second, other) = (name("v4-0"), name("v4-1"), name("v6-0"));
        assert_eq!(
            told,
            [(first.as_str(), "IPv4", 5), (second.as_str(), "IPv4", 1), (other.as_str(), "IPv6", 1)]
        );
        let known = names::fallback_slices("kt-orders-0123456789");
        assert!(made.iter().all(|slice| known.contains(&name_of(slice))));
        assert!(copies([pods("IPv4", 80, 0)], true).is_empty(), "nobody to list");
    }

    #[test]
    fn a_slice_takes_a_thousand_and_what_is_too_much_is_left_out() {
        let made = copies([pods("IPv4", 80, 2500)], true);
        assert_eq!(made.iter().map(|slice| slice.endpoints.len()).collect::<Vec<_>>(), [1000, 1000, 500]);
        // Five versions of a port's number: the one that the fewest pods have is left out.
        let made = copies((80..85).map(|port| pods("IPv4", port, if port == 81 { 1 } else { 3 })), true);
        assert_eq!(made.len(), names::SLICES);
        assert!(made.iter().all(|slice| slice.endpoints.len() == 3));
    }

    fn name_of(slice: &EndpointSlice) -> String {
        name(slice)
    }
}
