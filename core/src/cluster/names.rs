//! Every name, label and annotation kubetether writes into a cluster.
//!
//! Clients of different versions meet in one namespace, so these are formats: `CONTRIBUTING.md`
//! holds the table.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

/// On every object of ours.
pub(crate) const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY`].
pub(crate) const KUBETETHER: &str = "kubetether";
/// What an object is for: [`ROLE_INTERCEPTOR`] or [`ROLE_GATEWAY`].
pub(crate) const ROLE: &str = "kubetether.dev/role";
/// Receives the traffic of one Service.
pub(crate) const ROLE_INTERCEPTOR: &str = "interceptor";
/// Dials out into the cluster.
pub(crate) const ROLE_GATEWAY: &str = "gateway";
/// On the objects of one interceptor or gateway: its name.
pub(crate) const INSTANCE: &str = "kubetether.dev/instance";
/// On an exchanged Service: what it was, and who holds it ([`crate::exchange`] has the format).
pub(crate) const EXCHANGE: &str = "kubetether.dev/exchange";
/// On a session's Lease: who it is.
pub(crate) const SESSION: &str = "kubetether.dev/session";
/// On an object that serves one session only: the name of that session's Lease.
pub(crate) const SESSION_LEASE: &str = "kubetether.dev/session-lease";
/// On a session's Lease: Services that were put back by hand while it held them, and which it does not take again.
pub(crate) const RECOVERED: &str = "kubetether.dev/recovered";

/// Kubernetes' limit for the names of Services and for label values.
const LABEL_MAX: usize = 63;

/// The labels of every object of ours, with what it is for and which instance it belongs to.
pub(crate) fn labels(role: &str, instance: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        (MANAGED_BY.into(), KUBETETHER.into()),
        (ROLE.into(), role.into()),
        (INSTANCE.into(), instance.into()),
    ])
}

/// The first ten hexadecimal digits of the SHA-256 of the parts, each ended by a zero byte.
pub(crate) fn short_hash<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
        hash.update([0]);
    }
    hash.finalize().iter().take(5).map(|byte| format!("{byte:02x}")).collect()
}

/// `kt-<service, cut>-<hash>`: the interceptor of a Service for one session, at most
/// `63 - suffix` characters so that a suffix can follow.
pub(crate) fn interceptor(service: &str, service_uid: &str, session: &str) -> String {
    let hash = short_hash([service_uid.as_bytes(), session.as_bytes()]);
    // "kt-" + "-" + hash + room for "-orig".
    let room = LABEL_MAX - 3 - 1 - hash.len() - PASS_THROUGH_SUFFIX.len();
    let cut: String = service.chars().take(room).collect();
    format!("kt-{}-{hash}", cut.trim_end_matches('-'))
}

const PASS_THROUGH_SUFFIX: &str = "-orig";

/// The Service that leads back to the original pods.
pub(crate) fn pass_through(interceptor: &str) -> String {
    format!("{interceptor}{PASS_THROUGH_SUFFIX}")
}

/// A fallback slice of an interceptor: the `n`-th for a family of addresses, as in [`FAMILIES`].
pub(crate) fn fallback_slice(interceptor: &str, family: &str, n: usize) -> String {
    format!("{interceptor}-{family}-{n}")
}

/// All that an interceptor may have. They are known before they are made, so that a Role can name them.
pub(crate) fn fallback_slices(interceptor: &str) -> Vec<String> {
    let each = (0..SLICES).flat_map(|n| FAMILIES.map(|(_, family)| (family, n)));
    each.map(|(family, n)| fallback_slice(interceptor, family, n)).collect()
}

/// An interceptor has so many fallback slices at most for each family: one for each way in which its Service's pods answer
/// its ports, and for each thousand of them.
pub(crate) const SLICES: usize = 4;

/// The families of addresses that a slice can list, and how they are called in names.
pub(crate) const FAMILIES: [(&str, &str); 2] = [("IPv4", "v4"), ("IPv6", "v6")];

/// The second interceptor beside one.
pub(crate) fn second(interceptor: &str) -> String {
    format!("{interceptor}-b")
}

/// The value that every key of an exchanged Service's selector takes.
pub(crate) fn selector_value(service_uid: &str, session: &str) -> String {
    format!("{SELECTOR_PREFIX}{}", short_hash([service_uid.as_bytes(), session.as_bytes()]))
}

const SELECTOR_PREFIX: &str = "kt-";

/// Whether a selector's value was written by a kubetether of anyone.
pub(crate) fn is_selector_value(value: &str) -> bool {
    value.strip_prefix(SELECTOR_PREFIX).is_some_and(is_hash)
}

/// Whether an interceptor of anyone may have this name.
pub(crate) fn is_interceptor(name: &str) -> bool {
    let rest = name.strip_prefix("kt-").and_then(|rest| rest.rsplit_once('-'));
    rest.is_some_and(|(service, hash)| !service.is_empty() && is_hash(hash))
}

/// Whether a gateway of anyone may have this name.
pub(crate) fn is_gateway(name: &str) -> bool {
    name.strip_prefix("kubetether-gateway-").is_some_and(is_hash)
}

/// Whether a ConfigMap of this name may carry a program of ours.
pub(crate) fn is_program(name: &str) -> bool {
    ["kubetether-agent-", "kubetether-restore-"]
        .iter()
        .any(|prefix| name.strip_prefix(prefix).is_some_and(is_hash))
}

/// As [`short_hash`] makes them.
fn is_hash(text: &str) -> bool {
    text.len() == 10 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// The gateway for agents of this content.
pub(crate) fn gateway(agent_hash: &str) -> String {
    format!("kubetether-gateway-{agent_hash}")
}

/// The ConfigMap that carries an agent of this content.
pub(crate) fn agent_config_map(agent_hash: &str) -> String {
    format!("kubetether-agent-{agent_hash}")
}

/// What the names of a session's interceptors are made from: its id, and how often it began anew. What it makes anew after
/// others took it for dead bears other names than what they take away meanwhile.
pub(crate) fn session_key(session: &str, generation: u32) -> String {
    if generation == 0 { session.to_owned() } else { format!("{session}/{generation}") }
}

/// The ConfigMap that carries the program which puts a Service back from inside the cluster.
pub(crate) fn restorer_config_map(hash: &str) -> String {
    format!("kubetether-restore-{hash}")
}

/// The Lease of a session.
pub(crate) fn lease(session: &str) -> String {
    format!("kubetether-{session}")
}

/// The session of a Lease of that name.
pub(crate) fn session_of_lease(lease: &str) -> Option<&str> {
    lease.strip_prefix("kubetether-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_can_be_told_apart() {
        let long = "a".repeat(63);
        let name = interceptor(&long, "uid", "session");
        assert!(pass_through(&name).len() <= LABEL_MAX, "{name}");
        assert_ne!(name, interceptor(&long, "uid", "other"));
        assert_ne!(name, interceptor(&long, "other", "session"));
        assert!(interceptor(&format!("{}-bc", "a".repeat(43)), "u", "s").starts_with("kt-aaa"));
    }

    #[test]
    fn our_names_are_known_again() {
        let name = interceptor("orders", "uid", "session");
        assert!(is_interceptor(&name) && is_interceptor(&interceptor(&"a".repeat(63), "uid", "session")));
        let hash = short_hash([b"agent".as_slice()]);
        assert!(is_gateway(&gateway(&hash)));
        assert!(is_program(&agent_config_map(&hash)) && is_program(&restorer_config_map(&hash)));
        for foreign in
            ["", "kt-", "kt-orders", "kt-0123456789", "orders", "kubetether-agent", "kubetether-gateway-1"]
        {
            assert!(!is_interceptor(foreign) && !is_gateway(foreign) && !is_program(foreign), "{foreign}");
        }
    }

    #[test]
    fn our_selector_values_are_known_again() {
        assert!(is_selector_value(&selector_value("uid", "session")));
        for foreign in ["", "kt-", "kt-orders", "orders", "kt-0123456789a", "kt-012345678g"] {
            assert!(!is_selector_value(foreign), "{foreign}");
        }
    }

    /// Golden: clients of other versions must recognise these.
    #[test]
    fn golden_names() {
        assert_eq!(
            short_hash([b"a".as_slice(), b"b".as_slice()]),
            short_hash([b"a".as_slice(), b"b".as_slice()])
        );
        assert_eq!(
            interceptor("orders", "u", "s"),
            format!("kt-orders-{}", short_hash([b"u".as_slice(), b"s".as_slice()]))
        );
        assert_eq!(gateway("0123456789"), "kubetether-gateway-0123456789");
        assert_eq!(agent_config_map("0123456789"), "kubetether-agent-0123456789");
        assert_eq!(lease("1a2b3c4d"), "kubetether-1a2b3c4d");
    }

    /// Golden: whole, so that no change of how they are made goes unseen. Only added to.
    #[test]
    fn golden_values() {
        assert_eq!(
            interceptor("orders", "7c9e6679-7425-40de-944b-e07fc1f90ae7", "1a2b3c4d"),
            "kt-orders-f1119e8e45"
        );
        assert_eq!(pass_through("kt-orders-0123456789"), "kt-orders-0123456789-orig");
        let slices = fallback_slices("kt-o-0123456789");
        let ends: Vec<&str> =
            slices.iter().filter_map(|name| name.strip_prefix("kt-o-0123456789-")).collect();
        assert_eq!(ends, ["v4-0", "v6-0", "v4-1", "v6-1", "v4-2", "v6-2", "v4-3", "v6-3"]);
        assert_eq!(selector_value("7c9e6679-7425-40de-944b-e07fc1f90ae7", "1a2b3c4d"), "kt-f1119e8e45");
        assert_eq!(session_key("1a2b3c4d", 0), "1a2b3c4d");
        assert_eq!(session_key("1a2b3c4d", 2), "1a2b3c4d/2");
        assert_eq!(session_of_lease("kubetether-1a2b3c4d"), Some("1a2b3c4d"));
        assert_eq!(session_of_lease("somebody-elses"), None);
    }

    /// Golden: the keys that others look for. Only added to.
    #[test]
    fn golden_labels_and_annotations() {
        assert_eq!((MANAGED_BY, KUBETETHER), ("app.kubernetes.io/managed-by", "kubetether"));
        assert_eq!((ROLE, ROLE_INTERCEPTOR, ROLE_GATEWAY), ("kubetether.dev/role", "interceptor", "gateway"));
        assert_eq!(INSTANCE, "kubetether.dev/instance");
        assert_eq!((EXCHANGE, SESSION), ("kubetether.dev/exchange", "kubetether.dev/session"));
        assert_eq!(SESSION_LEASE, "kubetether.dev/session-lease");
        assert_eq!(RECOVERED, "kubetether.dev/recovered");
        let labels = labels(ROLE_INTERCEPTOR, "kt-orders-0123456789");
        let labels: Vec<(&str, &str)> =
            labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(
            labels,
            [
                ("app.kubernetes.io/managed-by", "kubetether"),
                ("kubetether.dev/instance", "kt-orders-0123456789"),
                ("kubetether.dev/role", "interceptor"),
            ]
        );
    }
}
