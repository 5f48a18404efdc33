//! The fallback slice: the net below the interceptor, where the rights allow it.
//!
//! An EndpointSlice of ours on the exchanged Service lists its original pods as terminating but serving. While an
//! interceptor is ready nobody uses them; as soon as none is, kube-proxy leads callers there (KEP-1669). It is a copy
//! of the slices that Kubernetes itself keeps for the way back, so that it follows roll-outs and named ports.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{PostParams, PropagationPolicy};
use kube::runtime::watcher::{self, Event};
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

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
    /// What we wrote, by name. `None` when it is over: nothing may be written after that.
    written: Arc<Mutex<Option<BTreeMap<String, EndpointSlice>>>>,
    over: CancellationToken,
}

/// What our slices are marked with.
#[derive(Clone, Debug)]
struct Mark {
    service: String,
    interceptor: String,
    /// All but the name and the labels of a slice.
    base: ObjectMeta,
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
    /// `base` is the interceptor's own metadata, with the owner that the slices are to have.
    pub(super) fn new(cluster: &Cluster, service: &str, base: ObjectMeta) -> Self {
        Self {
            cluster: cluster.clone(),
            mark: Mark::new(service, base),
            written: Arc::new(Mutex::new(Some(BTreeMap::new()))),
            over: CancellationToken::new(),
        }
    }

    /// Keeps the slices as the original pods are, until [`remove`](Self::remove); calls `first` when they are for the
    /// first time.
    pub(super) async fn keep(self, first: impl FnOnce() + Send) {
        let mut first = Some(first);
        let (udp_from, mut with_udp) = (Instant::now() + UDP_AFTER, false);
        let of_way_back = format!("{OF_SERVICE}={}", names::pass_through(&self.mark.interceptor));
        let mut changes =
            watch::watch::<EndpointSlice>(&self.cluster, watcher::Config::default().labels(&of_way_back));
        let (mut known, mut fresh) = (BTreeMap::new(), BTreeMap::new());
        let (mut backoff, mut again) = (Backoff::new(PACE), None);
        loop {
            let told = tokio::select! {
                () = self.over.cancelled() => return,
                told = changes.next() => told,
                () = tokio::time::sleep_until(udp_from), if !with_udp => {
                    with_udp = true;
                    again = Some(Instant::now());
                    continue;
                }
                () = at(again), if again.is_some() => {
                    again = None;
                    match self.write(&known, with_udp).await {
                        Ok(true) => {
                            backoff.reset();
                            if let Some(first) = first.take() {
                                first();
                            }
                        }
                        Ok(false) => return,
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

    /// Deletes the slices; none is written after this. Call it before the Service is put back: while its own slices list
    /// the same pods as ours, kube-proxy counts each pod as the one or the other says, at random, and where ours counts it
    /// leads callers to pods that end as well.
    pub(super) async fn remove(&self, deadline: Deadline) -> Result<()> {
        let ended = async { *self.written.lock().await = None };
        if tokio::time::timeout_at(deadline.instant(), ended).await.is_err() {
            return Err(Error::deadline("the last change of a fallback slice"));
        }
        self.over.cancel();
        delete_all(&self.cluster, &self.mark.interceptor, deadline).await
    }

    /// Brings ours up to date with `known`; `false` when it is over.
    async fn write(&self, known: &BTreeMap<String, EndpointSlice>, with_udp: bool) -> Result<bool> {
        let mut guard = self.written.lock().await;
        let Some(written) = guard.as_mut() else { return Ok(false) };
        let deadline = Deadline::after(ATTEMPT);
        // As kube-proxy itself chooses: those that end only where there is no other.
        let any_ready = known.values().any(|source| source.endpoints.iter().any(is_ready));
        let wanted: BTreeMap<String, EndpointSlice> = known
            .values()
            .map(|source| self.mark.copy(source, any_ready, with_udp))
            .map(|slice| (name(&slice), slice))
            .collect();
        for (name, slice) in &wanted {
            if written.get(name) == Some(slice) {
                continue;
            }
            self.put(name, slice, deadline).await?;
            written.insert(name.clone(), slice.clone());
        }
        let stale: Vec<String> = written.keys().filter(|name| !wanted.contains_key(*name)).cloned().collect();
        for name in stale {
            let background = PropagationPolicy::Background;
            self.cluster.delete::<EndpointSlice>(&name, None, background, deadline).await?;
            written.remove(&name);
        }
        Ok(true)
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

impl Mark {
    fn new(service: &str, base: ObjectMeta) -> Self {
        let interceptor = base.name.clone().unwrap_or_default();
        Self { service: service.to_owned(), interceptor, base }
    }

    fn copy(&self, source: &EndpointSlice, any_ready: bool, with_udp: bool) -> EndpointSlice {
        let of = name(source);
        let suffix = of.rsplit('-').next().unwrap_or_default();
        let own = format!("{}-{suffix}", self.interceptor);
        let chosen = |one: &&Endpoint| if any_ready { is_ready(one) } else { is_serving(one) };
        let endpoints = source.endpoints.iter().filter(chosen).map(|one| {
            let mut one = one.clone();
            // All three, always: some readers take a missing one for true.
            one.conditions =
                Some(EndpointConditions { ready: Some(false), serving: Some(true), terminating: Some(true) });
            one.hints = None;
            one.hostname = None;
            one
        });
        let ports = source.ports.iter().flatten().filter(|port| with_udp || !is_udp(port));
        EndpointSlice {
            metadata: self.metadata(own),
            address_type: source.address_type.clone(),
            endpoints: endpoints.collect(),
            // Name and protocol are set in what is copied: some readers rely on them.
            ports: Some(ports.cloned().collect()),
        }
    }

    fn metadata(&self, name: String) -> ObjectMeta {
        let mut labels = self.base.labels.clone().unwrap_or_default();
        labels.insert(OF_SERVICE.into(), self.service.clone());
        labels.insert(KEPT_BY.into(), names::KUBETETHER.into());
        ObjectMeta { name: Some(name), labels: Some(labels), ..self.base.clone() }
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

/// As readers take it: what is not said is so.
fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().is_none_or(|now| now.ready.unwrap_or(true))
}

fn is_serving(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().is_none_or(|now| now.serving.or(now.ready).unwrap_or(true))
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

fn is_udp(port: &EndpointPort) -> bool {
    port.protocol.as_deref() == Some("UDP")
}

fn name(slice: &EndpointSlice) -> String {
    slice.metadata.name.clone().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::api::fake::Fake;

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

    fn copy(with_udp: bool) -> EndpointSlice {
        let base = ObjectMeta { name: Some("kt-orders-0123456789".into()), ..Default::default() };
        Mark::new("orders", base).copy(&way_back(), true, with_udp)
    }

    #[test]
    fn what_serves_is_listed_as_terminating_with_all_that_readers_need() {
        let copy = copy(true);
        assert_eq!(copy.metadata.name.as_deref(), Some("kt-orders-0123456789-x7k2p"));
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
        source.endpoints[1].conditions = Some(serde_json::from_value(ending).unwrap());
        let mark = Mark::new(
            "orders",
            ObjectMeta { name: Some("kt-orders-0123456789".into()), ..Default::default() },
        );
        let addresses = |any_ready| -> Vec<String> {
            let copy = mark.copy(&source, any_ready, true);
            copy.endpoints.into_iter().map(|mut one| one.addresses.remove(0)).collect()
        };
        assert_eq!(addresses(true), ["10.244.0.7"]);
        assert_eq!(addresses(false), ["10.244.0.7", "10.244.0.8"]);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_goes_on_once_it_is_removed() {
        let fake = Fake::default();
        let base = ObjectMeta { name: Some("kt-orders-0123456789".into()), ..Default::default() };
        let fallback = Fallback::new(&fake.cluster(), "orders", base);
        let kept = tokio::spawn(fallback.clone().keep(|| ()));
        fallback.remove(Deadline::after(ATTEMPT)).await.unwrap();
        tokio::time::timeout(ATTEMPT, kept).await.expect("it goes on").unwrap();
    }

    #[test]
    fn udp_ports_join_later() {
        let ports = copy(false).ports.unwrap();
        assert_eq!(ports.len(), 1);
        assert_eq!(ports[0].name.as_deref(), Some("http"));
    }
}
