//! Misbehaviour on order.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::rest::Asked;

/// What is to go wrong with which requests. As JSON (for `POST /sim/faults`):
/// `{"verbs": ["patch"], "resource": "services", "times": 1, "refuse": {"code": 409}}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// Verbs as RBAC calls them; all, when there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verbs: Vec<String>,
    /// A plural, as in `pods`, or a part of it, as in `pods/portforward`; all, without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// Only in this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Only on objects whose name begins so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// So many of the matching requests pass first.
    #[serde(default)]
    pub after: u64,
    /// At most so many are hit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    /// This share of the rest is hit, by chance; 1 is all.
    #[serde(default = "all")]
    pub share: f64,
    /// What happens to them.
    #[serde(flatten)]
    pub effect: Effect,
}

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Effect {
    /// It is answered by a `Status` of this code.
    Refuse {
        /// As 403, 409, 410, 429 or 500.
        code: u16,
        /// The message; one that tells that it was ordered without it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
        /// Seconds, told as `Retry-After`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after: Option<u32>,
    },
    /// It waits, then goes its way.
    Delay {
        /// This long.
        millis: u64,
    },
    /// Its connection is reset.
    Cut {},
}

fn all() -> f64 {
    1.0
}

impl Fault {
    /// This effect on all requests.
    #[must_use]
    pub fn new(effect: Effect) -> Self {
        Self {
            verbs: Vec::new(),
            resource: None,
            namespace: None,
            name: None,
            after: 0,
            times: None,
            share: 1.0,
            effect,
        }
    }

    /// A refusal by this code.
    #[must_use]
    pub fn refuse(code: u16) -> Self {
        Self::new(Effect::Refuse { code, message: None, retry_after: None })
    }

    /// Only requests of this verb and resource.
    #[must_use]
    pub fn on(mut self, verb: &str, resource: &str) -> Self {
        self.verbs = vec![verb.to_owned()];
        self.resource = Some(resource.to_owned());
        self
    }

    /// At most so many.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    fn matches(&self, asked: &Asked) -> bool {
        let Some(kind) = asked.kind() else { return self.resource.is_none() && self.verbs.is_empty() };
        let (plural, sub) = (kind.plural, asked.sub());
        let resource = if sub.is_empty() { plural.to_owned() } else { format!("{plural}/{sub}") };
        (self.verbs.is_empty() || self.verbs.iter().any(|verb| verb == asked.verb()))
            && self.resource.as_ref().is_none_or(|wanted| *wanted == resource)
            && self.namespace.as_ref().is_none_or(|wanted| wanted == asked.namespace())
            && self.name.as_ref().is_none_or(|wanted| asked.name().starts_with(wanted.as_str()))
    }
}

/// The faults in force.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    next: u64,
    all: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    id: u64,
    fault: Fault,
    seen: u64,
    hit: u64,
}

/// A fault in force, and what it did so far.
#[derive(Clone, Debug, Serialize)]
pub struct InForce {
    /// By which it is removed.
    pub id: u64,
    /// The fault.
    pub fault: Fault,
    /// Requests that it was about.
    pub seen: u64,
    /// Those that were hit.
    pub hit: u64,
}

impl Faults {
    pub(crate) fn add(&self, fault: Fault) -> u64 {
        let mut kept = self.lock();
        kept.next += 1;
        let id = kept.next;
        kept.all.push(Entry { id, fault, seen: 0, hit: 0 });
        id
    }

    /// Whether there was one.
    pub(crate) fn remove(&self, id: u64) -> bool {
        let mut kept = self.lock();
        let before = kept.all.len();
        kept.all.retain(|entry| entry.id != id);
        kept.all.len() < before
    }

    pub(crate) fn clear(&self) {
        self.lock().all.clear();
    }

    pub(crate) fn list(&self) -> Vec<InForce> {
        let kept = self.lock();
        let all = kept.all.iter();
        all.map(|entry| InForce {
            id: entry.id,
            fault: entry.fault.clone(),
            seen: entry.seen,
            hit: entry.hit,
        })
        .collect()
    }

    /// What happens to a request, in the order of the faults.
    pub(crate) fn of(&self, asked: &Asked) -> Vec<Effect> {
        let mut effects = Vec::new();
        for entry in &mut self.lock().all {
            if !entry.fault.matches(asked) {
                continue;
            }
            entry.seen += 1;
            let spent = entry.fault.times.is_some_and(|times| entry.hit >= times);
            if entry.seen <= entry.fault.after || spent || rand::random::<f64>() >= entry.fault.share {
                continue;
            }
            entry.hit += 1;
            effects.push(entry.fault.effect.clone());
        }
        effects
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn a_fault_hits_what_it_names_and_no_more_often_than_it_says() {
        let text = r#"{"verbs":["patch"],"resource":"services","after":1,"times":1,"refuse":{"code":409}}"#;
        let faults = Faults::default();
        faults.add(serde_json::from_str(text).unwrap());
        let uri = "/api/v1/namespaces/shop/services/orders";
        let asked = |method: &str| Asked::new(&Request::builder().method(method).uri(uri).body(()).unwrap());
        let hit = |method: &str| faults.of(&asked(method)).len();
        assert_eq!([hit("GET"), hit("PATCH"), hit("PATCH"), hit("PATCH")], [0, 0, 1, 0]);
        assert_eq!((faults.list()[0].seen, faults.list()[0].hit), (3, 1));
    }
}
