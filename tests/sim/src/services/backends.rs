//! Who is behind a port of a Service, and whose turn it is.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::object::{list, number, text};

/// Callers that are remembered for session affinity.
const REMEMBERED: usize = 1024;

/// The endpoints of one port: the ready ones; when there is none, those that serve though they are terminating.
#[derive(Debug, Default)]
pub(super) struct Backends {
    all: Vec<SocketAddr>,
    affinity: Option<Duration>,
    turn: AtomicUsize,
    known: Mutex<HashMap<IpAddr, (SocketAddr, Instant)>>,
}

impl PartialEq for Backends {
    fn eq(&self, other: &Self) -> bool {
        self.all == other.all && self.affinity == other.affinity
    }
}

impl Backends {
    pub(super) fn of(service: &Value, port: &Value, slices: &[&Value]) -> Self {
        let (mut ready, mut leaving) = (Vec::new(), Vec::new());
        for slice in slices {
            let found = list(slice, "/ports").iter().find(|one| {
                text(one, "/name") == text(port, "/name") && text(one, "/protocol") == text(port, "/protocol")
            });
            let number =
                found.and_then(|one| number(one, "/port")).and_then(|number| u16::try_from(number).ok());
            let Some(number) = number else { continue };
            for endpoint in list(slice, "/endpoints") {
                let is = |condition: &str, unsaid: bool| {
                    endpoint["conditions"].get(condition).and_then(Value::as_bool).unwrap_or(unsaid)
                };
                let addresses =
                    list(endpoint, "/addresses").iter().filter_map(|one| one.as_str()?.parse().ok());
                let addresses = addresses.map(|address: IpAddr| SocketAddr::new(address, number));
                if is("ready", true) {
                    ready.extend(addresses);
                } else if is("serving", is("ready", true)) && is("terminating", false) {
                    leaving.extend(addresses);
                }
            }
        }
        let mut all = if ready.is_empty() { leaving } else { ready };
        all.sort_unstable();
        all.dedup();
        let sticky = text(service, "/spec/sessionAffinity") == "ClientIP";
        let seconds =
            number(service, "/spec/sessionAffinityConfig/clientIP/timeoutSeconds").unwrap_or(10_800);
        let affinity = sticky.then(|| Duration::from_secs(seconds.try_into().unwrap_or_default()));
        Self { all, affinity, ..Self::default() }
    }

    pub(super) fn all(&self) -> &[SocketAddr] {
        &self.all
    }

    pub(super) fn contains(&self, address: SocketAddr) -> bool {
        self.all.contains(&address)
    }

    /// The endpoint for a caller's next connection.
    pub(super) fn pick(&self, caller: IpAddr) -> Option<SocketAddr> {
        let next = || {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            // Not in turn only: tests shall not come to count on it.
            let jump = rand::random_range(0..2_usize);
            self.all.get((turn + jump) % self.all.len().max(1)).copied()
        };
        let Some(limit) = self.affinity else { return next() };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, (_, seen)| seen.elapsed() < limit);
        let kept = known.get(&caller).map(|(address, _)| *address).filter(|address| self.contains(*address));
        let chosen = kept.or_else(next)?;
        if known.len() < REMEMBERED {
            known.insert(caller, (chosen, Instant::now()));
        }
        Some(chosen)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(endpoints: Value) -> Backends {
        let slice =
            json!({ "ports": [{ "name": "http", "port": 80, "protocol": "TCP" }], "endpoints": endpoints });
        let port = json!({ "name": "http", "protocol": "TCP" });
        Backends::of(&json!({ "spec": { "sessionAffinity": "None" } }), &port, &[&slice])
    }

    #[test]
    fn who_leaves_serves_only_while_nobody_is_ready() {
        let leaving = json!({ "addresses": ["127.1.0.1"], "conditions": { "ready": false, "serving": true, "terminating": true } });
        let ready = json!({ "addresses": ["127.1.0.2"], "conditions": { "ready": true } });
        let unready = json!({ "addresses": ["127.1.0.3"], "conditions": { "ready": false, "serving": false, "terminating": false } });
        assert_eq!(of(json!([leaving, ready, unready])).all, ["127.1.0.2:80".parse().unwrap()]);
        assert_eq!(of(json!([leaving, unready])).all, ["127.1.0.1:80".parse().unwrap()]);
        assert!(of(json!([unready])).all.is_empty());
    }
}
