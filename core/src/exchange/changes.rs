//! What others do to an exchanged Service, as the API server tells it.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use k8s_openapi::api::core::v1::Service;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};

use crate::cluster::{names, pod_wait};
use crate::session::Shared;

/// What the watch of the Service tells.
pub(super) enum Seen {
    /// How it is; `None` when it was deleted.
    Service(Option<Box<Service>>),
    /// The cluster does not let this user watch it, in these words.
    Blind(String),
}

/// The Service as it changes.
pub(super) fn changes(shared: &Arc<Shared>, service: &str) -> BoxStream<'static, Seen> {
    let config = watcher::Config::default().fields(&format!("metadata.name={service}"));
    let events = watcher(shared.cluster.api::<Service>(), config).default_backoff();
    let (service, shared) = (service.to_owned(), shared.clone());
    // Whether the object was among those of a (re)started watch.
    let mut there = false;
    events
        .filter_map(move |event| {
            let told = match event {
                Ok(watcher::Event::Apply(live)) => Some(Seen::Service(Some(Box::new(live)))),
                Ok(watcher::Event::InitApply(live)) => {
                    there = true;
                    Some(Seen::Service(Some(Box::new(live))))
                }
                Ok(watcher::Event::Delete(_)) => Some(Seen::Service(None)),
                Ok(watcher::Event::Init) => {
                    there = false;
                    None
                }
                Ok(watcher::Event::InitDone) => (!there).then_some(Seen::Service(None)),
                Err(error) => {
                    tracing::debug!(service, %error, "the watch of a Service was interrupted");
                    // It is taken up again by itself, unless it is not allowed.
                    pod_wait::denied(&shared.cluster, "services", error)
                        .map(|error| Seen::Blind(error.to_string()))
                }
            };
            std::future::ready(told)
        })
        .boxed()
}

/// Who wrote the Service last, by the record the API server keeps.
pub(super) fn editor(live: &Service) -> String {
    let all = live.metadata.managed_fields.as_deref().unwrap_or_default();
    let last = all
        .iter()
        .filter(|entry| entry.manager.as_deref() != Some(names::KUBETETHER))
        .max_by_key(|entry| entry.time.clone().map(|time| time.0));
    last.and_then(|entry| entry.manager.clone()).unwrap_or_else(|| "somebody".to_owned())
}
