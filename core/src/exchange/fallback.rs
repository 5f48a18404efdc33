//! The fallback slice: the net below the interceptor, where the rights allow it.
//!
//! An EndpointSlice of ours on the exchanged Service lists its original pods as terminating but serving. While an
//! interceptor is ready nobody uses them; as soon as none is, kube-proxy leads callers there (KEP-1669). It is a copy
//! of the slices that Kubernetes itself keeps for the way back, so that it follows roll-outs and named ports. It is there
//! only while the Service leads to the interceptor ([`aside`] says why).

pub(crate) mod aside;
mod copy;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{PostParams, PropagationPolicy};
use kube::runtime::watcher::{self, Event};
use serde_json::json;
use tokio::sync::{Mutex, watch as latest};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::copy::Mark;
use crate::backoff::{Backoff, Pace};
use crate::cluster::pod_wait::selector;
use crate::cluster::watch::{self, Told};
use crate::cluster::{Cluster, api, gone, names};
use crate::{Deadline, Error, Result};

/// The label by which a slice belongs to a Service.
const OF_SERVICE: &str = "kubernetes.io/service-name";
/// The label that says who keeps a slice: the cluster's own controller leaves ours alone.
const KEPT_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// UDP ports join so long after the Service was taken: nodes let associations to the former endpoints go until then.
const UDP_AFTER: Duration = Duration::from_secs(2);
/// One try to bring the slices up to date.
const ATTEMPT: Duration = Duration::from_secs(15);
const PACE: Pace = Pace { first: Duration::from_millis(300), last: Duration::from_secs(10) };

/// The slices of one exchange; a cheap handle.
#[derive(Clone, Debug)]
pub(crate) struct Fallback {
    cluster: Cluster,
    mark: Mark,
    // whoever takes the Service or puts it back -> the keeper: whether they are to be there
    wanted: Arc<latest::Sender<bool>>,
    written: Arc<Mutex<Written>>,
    over: CancellationToken,
}

/// What is in the cluster.
#[derive(Debug)]
struct Written {
    /// What we wrote, by name.
    slices: BTreeMap<String, EndpointSlice>,
    /// Whether there may be any.
    any: bool,
}

/// Whether this user may have such slices here; asked without making one.
pub(super) async fn is_permitted(
    cluster: &Cluster,
    service: &str,
    base: ObjectMeta,
    deadline: Deadline,
) -> bool {
    let mark = Mark::new(service, base);
    let empty = EndpointSlice {
        metadata: mark.metadata(format!("{}-try", mark.interceptor)),
        address_type: "IPv4".into(),
        endpoints: Vec::new(),
        ports: None,
    };
    let dry = PostParams { dry_run: true, field_manager: Some(names::KUBETETHER.into()) };
    let api = cluster.api::<EndpointSlice>();
    let tried = cluster.request("create", "endpointslices", deadline, api.create(&dry, &empty)).await;
    if let Err(error) = &tried {
        tracing::debug!(error = error.report(), "no fallback slice");
    }
    tried.is_ok()
}

impl Fallback {
    /// `base` is the interceptor's own metadata, with the owner that the slices are to have. They are not there before they
    /// are [kept](Self::keep).
    pub(super) fn new(cluster: &Cluster, service: &str, base: ObjectMeta) -> Self {
        Self {
            cluster: cluster.clone(),
            mark: Mark::new(service, base),
            wanted: Arc::new(latest::Sender::new(true)),
            // An earlier exchange with the same interceptor may have left some.
            written: Arc::new(Mutex::new(Written { slices: BTreeMap::new(), any: true })),
            over: CancellationToken::new(),
        }
    }

    /// Keeps the slices as the original pods are, except while they are [aside](Self::aside), until [`end`](Self::end);
    /// calls `first` when they are for the first time.
    pub(super) async fn keep(self, first: impl FnOnce() + Send) {
        let mut first = Some(first);
        let (udp_from, mut with_udp) = (Instant::now() + UDP_AFTER, false);
        let of_way_back = format!("{OF_SERVICE}={}", names::pass_through(&self.mark.interceptor));
        let mut changes =
            watch::watch::<EndpointSlice>(&self.cluster, watcher::Config::default().labels(&of_way_back));
        let (mut known, mut fresh) = (BTreeMap::new(), BTreeMap::new());
        let (mut backoff, mut again) = (Backoff::new(PACE), None);
        let mut wanted = self.wanted.subscribe();
        loop {
            let told = tokio::select! {
                () = self.over.cancelled() => return,
                told = changes.next() => told,
                Ok(()) = wanted.changed() => {
                    again = Some(Instant::now());
                    continue;
                }
                () = tokio::time::sleep_until(udp_from), if !with_udp => {
                    with_udp = true;
                    again = Some(Instant::now());
                    continue;
                }
                () = at(again), if again.is_some() => {
                    again = None;
                    match self.bring_about(&known, with_udp).await {
                        Ok(there) => {
                            backoff.reset();
                            if there && let Some(first) = first.take() {
                                first();
                            }
                        }
                        Err(error) => {
                            tracing::debug!(error = error.report(), "the fallback slices are not up to date");
                            again = Some(Instant::now() + backoff.after(&error));
                        }
                    }
                    continue;
                }
            };
            match told {
                Some(Told::Event(Event::Init)) => fresh.clear(),
                Some(Told::Event(Event::InitApply(slice))) => drop(fresh.insert(name(&slice), slice)),
                Some(Told::Event(Event::InitDone)) => known = std::mem::take(&mut fresh),
                Some(Told::Event(Event::Apply(slice))) => drop(known.insert(name(&slice), slice)),
                Some(Told::Event(Event::Delete(slice))) => drop(known.remove(&name(&slice))),
                // Seldom tried again.
                Some(Told::Denied(_)) => continue,
                None => return,
            }
            if fresh.is_empty() && !known.is_empty() {
                again = Some(Instant::now());
            }
        }
    }

    /// Takes the slices away, until the Service leads to the interceptor again ([`resume`](Self::resume)). What fails, or
    /// is given up, is tried again as long as they are kept.
    pub(super) async fn aside(&self, deadline: Deadline) -> Result<()> {
        self.stand_aside();
        self.clear(deadline).await
    }

    /// The same without waiting.
    pub(super) fn stand_aside(&self) {
        self.wanted.send_replace(false);
    }

    /// The Service leads to the interceptor.
    pub(super) fn resume(&self) {
        if !self.over.is_cancelled() {
            self.wanted.send_if_modified(|wanted| !std::mem::replace(wanted, true));
        }
    }

    /// Takes the slices away for good; none is written after this. What is left behind is told, and goes with the
    /// interceptor.
    pub(super) async fn end(&self, deadline: Deadline) -> Result<()> {
        self.over.cancel();
        self.stand_aside();
        let cleared = self.clear(deadline).await;
        if let Err(error) = &cleared {
            tracing::warn!(error = error.report(), "a fallback slice is left behind for now");
        }
        cleared
    }

    pub(super) fn is_wanted(&self) -> bool {
        *self.wanted.borrow()
    }

    async fn clear(&self, deadline: Deadline) -> Result<()> {
        let Ok(mut written) = tokio::time::timeout_at(deadline.instant(), self.written.lock()).await else {
            return Err(Error::deadline("the last change of a fallback slice"));
        };
        if written.any {
            delete_all(&self.cluster, &self.mark.interceptor, deadline).await?;
            *written = Written { slices: BTreeMap::new(), any: false };
        }
        Ok(())
    }

    /// Brings ours up to date with `known`, or takes them away while they are not wanted; whether they are there.
    async fn bring_about(&self, known: &BTreeMap<String, EndpointSlice>, with_udp: bool) -> Result<bool> {
        let deadline = Deadline::after(ATTEMPT);
        if !self.is_wanted() {
            return self.clear(deadline).await.map(|()| false);
        }
        let mut written = self.written.lock().await;
        let wanted = self.mark.copies(known, with_udp);
        for (name, slice) in &wanted {
            // They may have become unwanted meanwhile.
            if !self.is_wanted() {
                return Ok(false);
            }
            if written.slices.get(name) == Some(slice) {
                continue;
            }
            written.any = true;
            self.put(name, slice, deadline).await?;
            written.slices.insert(name.clone(), slice.clone());
        }
        let stale: Vec<String> =
            written.slices.keys().filter(|name| !wanted.contains_key(*name)).cloned().collect();
        for name in stale {
            let background = PropagationPolicy::Background;
            self.cluster.delete::<EndpointSlice>(&name, None, background, deadline).await?;
            written.slices.remove(&name);
        }
        Ok(!known.is_empty())
    }

    async fn put(&self, name: &str, slice: &EndpointSlice, deadline: Deadline) -> Result<()> {
        match self.cluster.create(slice, deadline).await {
            Err(error) if api::is_already_there(&error) => {}
            created => return created.map(|_| ()),
        }
        let patch = api::patch(json!([
            { "op": "replace", "path": "/endpoints", "value": slice.endpoints },
            { "op": "add", "path": "/ports", "value": slice.ports },
        ]))?;
        self.cluster.json_patch::<EndpointSlice>(name, patch, deadline).await.map(|_| ())
    }
}

/// Deletes the fallback slices of an interceptor, whoever made them.
pub(super) async fn delete_all(cluster: &Cluster, interceptor: &str, deadline: Deadline) -> Result<()> {
    // Not those that the cluster keeps for the way back: it gives them that Service's labels, ours.
    let kept_by_us = format!("{},{KEPT_BY}={}", selector(interceptor), names::KUBETETHER);
    let ours = cluster.list::<EndpointSlice>(&kept_by_us, deadline).await?;
    for slice in ours.iter().map(name) {
        cluster.delete::<EndpointSlice>(&slice, None, PropagationPolicy::Background, deadline).await?;
        gone::wait::<EndpointSlice>(cluster, &slice, deadline).await?;
    }
    Ok(())
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

fn name(slice: &EndpointSlice) -> String {
    slice.metadata.name.clone().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::api::fake::Fake;

    const NAME: &str = "kt-orders-0123456789";

    fn fallback(fake: &Fake) -> Fallback {
        let labels = Some(names::labels(names::ROLE_INTERCEPTOR, NAME));
        let base = ObjectMeta { name: Some(NAME.into()), labels, ..Default::default() };
        Fallback::new(&fake.cluster(), "orders", base)
    }

    /// What Kubernetes keeps for the way back.
    fn known() -> BTreeMap<String, EndpointSlice> {
        let slice = json!({
            "metadata": { "name": "kt-orders-0123456789-orig-x7k2p" }, "addressType": "IPv4",
            "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }],
            "endpoints": [{ "addresses": ["10.244.0.7"] }],
        });
        [("x7k2p".to_owned(), serde_json::from_value(slice).unwrap())].into()
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_goes_on_once_it_is_over() {
        let fake = Fake::default();
        let fallback = fallback(&fake);
        let kept = tokio::spawn(fallback.clone().keep(|| ()));
        fallback.end(Deadline::after(ATTEMPT)).await.unwrap();
        tokio::time::timeout(ATTEMPT, kept).await.expect("it goes on").unwrap();
        assert!(!fallback.bring_about(&known(), true).await.unwrap());
        fallback.resume();
        assert!(fake.changes().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn they_are_there_while_they_are_wanted() {
        let (fake, deadline) = (Fake::default(), Deadline::after(ATTEMPT));
        let (fallback, slice) = (fallback(&fake), names::fallback_slice(NAME, "v4", 0));
        for _ in 0..2 {
            assert!(fallback.bring_about(&known(), true).await.unwrap());
            assert!(fallback.bring_about(&known(), true).await.unwrap());
            fallback.aside(deadline).await.unwrap();
            assert!(!fallback.bring_about(&known(), true).await.unwrap());
            fallback.resume();
            let expected = ["POST", "DELETE"].map(|did| format!("{did} endpointslices/{slice}"));
            assert_eq!(fake.changes(), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_could_not_be_taken_away_at_once_is_later() {
        let (fake, deadline) = (Fake::default(), Deadline::after(ATTEMPT));
        let fallback = fallback(&fake);
        fallback.bring_about(&known(), true).await.unwrap();
        fake.refuse(|what| what.starts_with("DELETE").then_some(http::StatusCode::FORBIDDEN));
        assert!(fallback.aside(deadline).await.is_err());
        fake.refuse(|_| None);
        assert!(!fallback.bring_about(&known(), true).await.unwrap());
        assert!(fake.get::<EndpointSlice>(&names::fallback_slice(NAME, "v4", 0)).is_none());
    }
}
