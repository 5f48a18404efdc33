//! What others do to an exchanged Service, as the API server tells it.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use k8s_openapi::api::core::v1::Service;
use kube::runtime::watcher::{self, Event};

use crate::cluster::names;
use crate::cluster::watch::{self, Told};
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
    // Whether the object was among those of a (re)started watch.
    let mut there = false;
    watch::watch::<Service>(&shared.cluster, config)
        .filter_map(move |told| {
            let seen = match told {
                Told::Event(Event::Apply(live)) => Some(Seen::Service(Some(Box::new(live)))),
                Told::Event(Event::InitApply(live)) => {
                    there = true;
                    Some(Seen::Service(Some(Box::new(live))))
                }
                Told::Event(Event::Delete(_)) => Some(Seen::Service(None)),
                Told::Event(Event::Init) => {
                    there = false;
                    None
                }
                Told::Event(Event::InitDone) => (!there).then_some(Seen::Service(None)),
                Told::Denied(error) => Some(Seen::Blind(error.to_string())),
            };
            std::future::ready(seen)
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
