//! Which EndpointSlices are beside a Service whenever it is put back, in the cluster's own order.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use serde::de::DeserializeOwned;

use crate::scenario::Scenario;
use crate::wait::{LONG, eventually};

/// Something that was told of the Service or one of its slices, by the version that the cluster gave it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Told {
    version: u64,
    what: What,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    /// The Service, and whether it leads to an interceptor.
    Service { taken: bool },
    /// A slice of kubetether's, and whether it is there.
    Ours { name: String, there: bool },
    /// One that the cluster keeps itself, and whether it lists a ready pod.
    Own { name: String, ready: bool },
}

/// What was told since the recording began.
#[derive(Clone, Debug)]
pub struct Slices(Arc<Mutex<Vec<Told>>>);

impl fmt::Display for Slices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.told().iter().try_for_each(|told| writeln!(f, "{} {:?}", told.version, told.what))
    }
}

impl Slices {
    /// Records what becomes of a Service and its slices, as long as the scenario's runtime lives.
    ///
    /// # Panics
    /// When they cannot be listed.
    pub async fn record(at: &Scenario, service: &str) -> Self {
        let told = Self(Arc::default());
        let (service, of_service) =
            (format!("metadata.name={service}"), format!("kubernetes.io/service-name={service}"));
        let seen = told.clone();
        let of = |service: &Service, _| {
            let selector = service.spec.as_ref().and_then(|spec| spec.selector.clone()).unwrap_or_default();
            What::Service { taken: selector.values().any(|value| value.starts_with("kt-")) }
        };
        seen.follow(at.namespace().api::<Service>(), ("", &service), |one| &one.metadata, of).await;
        let of = |slice: &EndpointSlice, there| {
            let name = slice.metadata.name.clone().unwrap_or_default();
            let kept_by = slice.metadata.labels.as_ref();
            let kept_by = kept_by.and_then(|all| all.get("endpointslice.kubernetes.io/managed-by").cloned());
            if kept_by.as_deref() == Some("kubetether") {
                return What::Ours { name, there };
            }
            let is_ready = |one: &k8s_openapi::api::discovery::v1::Endpoint| {
                one.conditions.as_ref().and_then(|now| now.ready).unwrap_or(true)
            };
            What::Own { name, ready: there && slice.endpoints.iter().any(is_ready) }
        };
        seen.follow(at.namespace().api::<EndpointSlice>(), (&of_service, ""), |one| &one.metadata, of).await;
        told
    }

    /// Waits until the Service was put back so often since the recording began, and no slice of ours is there.
    ///
    /// # Panics
    /// When that does not come.
    pub async fn put_back(&self, times: usize) {
        eventually(
            format!("the Service is put back {times} times, without a slice of ours"),
            LONG,
            async || {
                let told = self.told();
                let done = put_backs(&told).len() >= times && ours(&told, u64::MAX).is_empty();
                if done { Ok(()) } else { Err(self) }
            },
        )
        .await;
    }

    /// Waits until a slice of ours is there.
    ///
    /// # Panics
    /// When that does not come.
    pub async fn is_there(&self) {
        eventually("a slice of ours", LONG, async || {
            if ours(&self.told(), u64::MAX).is_empty() { Err(self) } else { Ok(()) }
        })
        .await;
    }

    /// Demands that no slice of ours was there whenever the Service was put back.
    ///
    /// # Panics
    /// When one was, or none ever.
    pub fn never_beside_its_own(&self) {
        let told = self.told();
        assert!(told.iter().any(|one| matches!(one.what, What::Ours { .. })), "none was there ever:\n{self}");
        for version in put_backs(&told) {
            let beside = ours(&told, version);
            assert!(beside.is_empty(), "at {version} there still was {beside:?}:\n{self}");
        }
    }

    /// Demands that callers always had somebody: whenever ours were taken away, those of the cluster listed a ready pod.
    ///
    /// # Panics
    /// When that is not so, or none was taken away.
    pub fn never_nobody(&self) {
        let told = self.told();
        let gone = told.iter().filter(|one| matches!(one.what, What::Ours { there: false, .. }));
        let gone: Vec<u64> = gone.map(|one| one.version).collect();
        assert!(!gone.is_empty(), "none was taken away:\n{self}");
        for version in gone {
            let ready = |one: &&Told| matches!(&one.what, What::Own { .. }) && one.version < version;
            let last = told.iter().rfind(ready);
            let is_ready = last.is_some_and(|one| matches!(one.what, What::Own { ready: true, .. }));
            assert!(is_ready, "at {version} nobody else was there:\n{self}");
        }
    }

    fn told(&self) -> Vec<Told> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        told.sort();
        told
    }

    async fn follow<K>(
        &self,
        api: Api<K>,
        (labels, fields): (&str, &str),
        meta: fn(&K) -> &ObjectMeta,
        what: impl Fn(&K, bool) -> What + Send + 'static,
    ) where
        K: kube::Resource + Clone + fmt::Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let told = self.0.clone();
        let tell = move |object: &K, there| {
            let version = meta(object).resource_version.as_deref().and_then(|version| version.parse().ok());
            let what = what(object, there);
            let version = version.unwrap_or_default();
            told.lock().unwrap_or_else(PoisonError::into_inner).push(Told { version, what });
        };
        let wanted = ListParams::default().labels(labels).fields(fields);
        let first = api.list(&wanted).await.unwrap_or_else(|error| panic!("what is recorded: {error}"));
        first.items.iter().for_each(|object| tell(object, true));
        let mut version = first.metadata.resource_version.unwrap_or_default();
        let wanted = WatchParams::default().labels(labels).fields(fields);
        tokio::spawn(async move {
            // A watch ends after some minutes.
            while let Ok(events) = api.watch(&wanted, &version).await {
                let mut events = Box::pin(events);
                while let Some(Ok(event)) = events.next().await {
                    let (object, there) = match &event {
                        WatchEvent::Added(object) | WatchEvent::Modified(object) => (object, true),
                        WatchEvent::Deleted(object) => (object, false),
                        WatchEvent::Bookmark(_) | WatchEvent::Error(_) => continue,
                    };
                    tell(object, there);
                    version = meta(object).resource_version.clone().unwrap_or(version);
                }
            }
        });
    }
}

/// When the Service was put back.
fn put_backs(told: &[Told]) -> Vec<u64> {
    let mut before = false;
    let mut all = Vec::new();
    for one in told {
        let What::Service { taken } = one.what else { continue };
        if std::mem::replace(&mut before, taken) && !taken {
            all.push(one.version);
        }
    }
    all
}

/// Which slices of ours were there then.
fn ours(told: &[Told], version: u64) -> Vec<String> {
    let mut there = std::collections::BTreeSet::new();
    for one in told.iter().filter(|one| one.version <= version) {
        match &one.what {
            What::Ours { name, there: true } => drop(there.insert(name.clone())),
            What::Ours { name, there: false } => drop(there.remove(name)),
            What::Service { .. } | What::Own { .. } => {}
        }
    }
    there.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(told: &[(u64, What)]) -> Slices {
        let told = told.iter().map(|(version, what)| Told { version: *version, what: what.clone() });
        Slices(Arc::new(Mutex::new(told.collect())))
    }

    fn ours(there: bool) -> What {
        What::Ours { name: "kt".into(), there }
    }

    fn own(ready: bool) -> What {
        What::Own { name: "own".into(), ready }
    }

    const TAKEN: What = What::Service { taken: true };
    const FREE: What = What::Service { taken: false };

    fn panics(check: impl FnOnce()) -> bool {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(check)).is_err()
    }

    #[test]
    fn one_that_is_beside_a_service_that_was_put_back_is_seen() {
        // Two watches: told in any order.
        let before = recorded(&[(1, TAKEN), (5, FREE), (2, ours(true)), (4, ours(false))]);
        before.never_beside_its_own();
        let after = recorded(&[(1, TAKEN), (5, FREE), (2, ours(true)), (6, ours(false))]);
        assert!(panics(|| after.never_beside_its_own()));
        assert!(panics(|| recorded(&[(1, TAKEN), (5, FREE)]).never_beside_its_own()), "there was none");
    }

    #[test]
    fn a_moment_without_anybody_is_seen() {
        recorded(&[(1, own(false)), (2, ours(true)), (3, own(true)), (4, ours(false))]).never_nobody();
        let early = recorded(&[(1, own(false)), (2, ours(true)), (4, own(true)), (3, ours(false))]);
        assert!(panics(|| early.never_nobody()));
    }
}
