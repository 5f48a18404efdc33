//! The names of `cluster.local`, by the DNS specification of Kubernetes; other names are refused.

use std::net::Ipv4Addr;

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, CNAME, PTR, SOA, SRV};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use serde_json::Value;

use crate::kinds;
use crate::object::{is_set, list, name, namespace, number, text};
use crate::store::{Object, Store};

const DOMAIN: &str = "cluster.local";
/// Seconds: tests shall see what changes.
const TTL: u32 = 1;

/// What a name has.
enum Found {
    Records(Vec<RData>),
    Nothing,
}

/// Puts what is known about a name into an answer.
pub(super) fn answer(store: &Store, query: &Query, into: &mut Message) {
    let asked = query.name.to_ascii().to_lowercase();
    let asked = asked.trim_end_matches('.');
    if let Some(reverse) = asked.strip_suffix(".in-addr.arpa") {
        return finish(reversed(store, reverse), query, into);
    }
    let inside = match asked.strip_suffix(DOMAIN) {
        Some("") => "",
        Some(rest) if rest.ends_with('.') => &rest[..rest.len() - 1],
        _ => {
            into.metadata.response_code = ResponseCode::Refused;
            return;
        }
    };
    into.metadata.authoritative = true;
    let labels: Vec<&str> = inside.split('.').filter(|label| !label.is_empty()).collect();
    finish(look_up(store, &labels), query, into);
}

fn finish(found: Found, query: &Query, into: &mut Message) {
    let records = match found {
        Found::Records(records) => records,
        Found::Nothing => {
            into.metadata.response_code = ResponseCode::NXDomain;
            Vec::new()
        }
    };
    for data in records {
        let kind = data.record_type();
        if kind == query.query_type || query.query_type == RecordType::ANY || kind == RecordType::CNAME {
            into.add_answer(Record::from_rdata(query.name.clone(), TTL, data));
        }
    }
    if into.answers.is_empty()
        && let (Some(zone), Some(server)) = (parse(DOMAIN), parse(&format!("ns.dns.{DOMAIN}")))
    {
        let soa = SOA::new(server.clone(), server, 1, 7200, 1800, 86400, TTL);
        into.add_authority(Record::from_rdata(zone, TTL, RData::SOA(soa)));
    }
}

fn parse(text: &str) -> Option<Name> {
    Name::from_ascii(format!("{}.", text.trim_end_matches('.'))).ok()
}

/// The labels before `cluster.local`.
fn look_up(store: &Store, labels: &[&str]) -> Found {
    match labels {
        [] | ["svc" | "pod"] => Found::Records(Vec::new()),
        [rest @ .., of, "svc"] => {
            if store.get(kinds::of("namespaces"), "", of).is_none() {
                return Found::Nothing;
            }
            match rest {
                [] => Found::Records(Vec::new()),
                [service] => with(store, of, service, |service| all_of(store, service)),
                [port, protocol, service] if port.starts_with('_') && protocol.starts_with('_') => {
                    with(store, of, service, |service| ports(store, service, &port[1..], &protocol[1..]))
                }
                [host, service] => with(store, of, service, |service| host_of(store, service, host)),
                _ => Found::Nothing,
            }
        }
        [address, of, "pod"] if store.get(kinds::of("namespaces"), "", of).is_some() => {
            match address.replace('-', ".").parse() {
                Ok(address) => Found::Records(vec![RData::A(A(address))]),
                Err(_) => Found::Nothing,
            }
        }
        _ => Found::Nothing,
    }
}

fn with(store: &Store, of: &str, service: &str, found: impl FnOnce(&Object) -> Found) -> Found {
    store.get(kinds::of("services"), of, service).map_or(Found::Nothing, |service| found(&service))
}

/// The address of a Service, or of all its pods, or the name it stands for.
fn all_of(store: &Store, service: &Object) -> Found {
    if text(service, "/spec/type") == "ExternalName" {
        let target = parse(text(service, "/spec/externalName"));
        return Found::Records(target.map(|name| RData::CNAME(CNAME(name))).into_iter().collect());
    }
    match text(service, "/spec/clusterIP").parse::<Ipv4Addr>() {
        Ok(address) => Found::Records(vec![RData::A(A(address))]),
        Err(_) => {
            let all: Vec<_> =
                members(store, service).into_iter().map(|one| RData::A(A(one.address))).collect();
            // A headless Service without pods has no name, as CoreDNS tells it.
            if all.is_empty() { Found::Nothing } else { Found::Records(all) }
        }
    }
}

fn ports(store: &Store, service: &Object, port: &str, protocol: &str) -> Found {
    let all = list(service, "/spec/ports").iter();
    let mut fit =
        all.filter(|one| text(one, "/name") == port && text(one, "/protocol").eq_ignore_ascii_case(protocol));
    let Some(found) = fit.next() else { return Found::Nothing };
    let own = format!("{}.{}.svc.{DOMAIN}", name(service), namespace(service));
    let record = |number: Option<i64>, target: &str| {
        let number = number.and_then(|number| u16::try_from(number).ok())?;
        Some(RData::SRV(SRV::new(0, 100, number, parse(target)?)))
    };
    if text(service, "/spec/clusterIP") != "None" {
        return Found::Records(record(number(found, "/port"), &own).into_iter().collect());
    }
    let members = members(store, service);
    let each = members.iter().filter_map(|one| record(one.port_of(port), &format!("{}.{own}", one.host)));
    Found::Records(each.collect())
}

fn host_of(store: &Store, service: &Object, host: &str) -> Found {
    if text(service, "/spec/clusterIP") != "None" {
        return Found::Nothing;
    }
    match members(store, service).iter().find(|one| one.host == host) {
        Some(one) => Found::Records(vec![RData::A(A(one.address))]),
        None => Found::Nothing,
    }
}

/// A pod behind a headless Service.
struct Member {
    address: Ipv4Addr,
    host: String,
    ports: Vec<Value>,
}

impl Member {
    fn port_of(&self, called: &str) -> Option<i64> {
        self.ports.iter().find(|port| text(port, "/name") == called).and_then(|port| number(port, "/port"))
    }
}

fn members(store: &Store, service: &Object) -> Vec<Member> {
    let mut all = Vec::new();
    for slice in store.list(kinds::of("endpointslices"), namespace(service)) {
        if slice["metadata"]["labels"]["kubernetes.io/service-name"] != name(service) {
            continue;
        }
        for endpoint in list(&slice, "/endpoints") {
            if !is_set(endpoint, "/conditions/ready") {
                continue;
            }
            for address in
                list(endpoint, "/addresses").iter().filter_map(|one| one.as_str()?.parse::<Ipv4Addr>().ok())
            {
                let host = match text(endpoint, "/hostname") {
                    "" => address.to_string().replace('.', "-"),
                    host => host.to_owned(),
                };
                all.push(Member { address, host, ports: list(&slice, "/ports").to_vec() });
            }
        }
    }
    all
}

/// The Service of an address, told backwards.
fn reversed(store: &Store, reverse: &str) -> Found {
    let mut parts: Vec<&str> = reverse.split('.').collect();
    parts.reverse();
    let address = parts.join(".");
    let services = store.list(kinds::of("services"), "");
    let found = services.iter().find(|service| text(service, "/spec/clusterIP") == address);
    let target =
        found.and_then(|service| parse(&format!("{}.{}.svc.{DOMAIN}", name(service), namespace(service))));
    target.map_or(Found::Nothing, |name| Found::Records(vec![RData::PTR(PTR(name))]))
}
