//! Watches that go on after faults, at the pace that the server and the failure allow.

use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use kube::runtime::watcher::{self, Event, watcher};

use super::Cluster;
use super::api::{Object, object};
use crate::backoff::{Backoff, Pace};
use crate::{Error, ErrorCode};

/// Between two tries to take a watch up again.
const PACE: Pace = Pace { first: Duration::from_millis(200), last: Duration::from_secs(10) };

/// What a watch tells.
pub(crate) enum Told<K> {
    /// A change, or how things stand.
    Event(Event<K>),
    /// This user may not watch. It goes on trying, seldom.
    Denied(Error),
}

/// The objects as they change. Never ends by itself.
pub(crate) fn watch<K: Object + 'static>(
    cluster: &Cluster,
    config: watcher::Config,
) -> BoxStream<'static, Told<K>> {
    let events = watcher(cluster.api::<K>(), config).boxed();
    let cluster = cluster.clone();
    let state = (events, Backoff::new(PACE), Duration::ZERO);
    futures_util::stream::unfold(state, move |(mut events, mut backoff, mut pause)| {
        let cluster = cluster.clone();
        async move {
            loop {
                tokio::time::sleep(std::mem::take(&mut pause)).await;
                let error = match events.try_next().await {
                    Ok(Some(event)) => {
                        // A restart that lists and then fails to watch is no success yet.
                        if matches!(event, Event::Apply(_) | Event::Delete(_) | Event::InitDone) {
                            backoff.reset();
                        }
                        return Some((Told::Event(event), (events, backoff, pause)));
                    }
                    // A watcher has no end.
                    Ok(None) => return None,
                    Err(error) => explain::<K>(&cluster, error),
                };
                tracing::debug!(error = error.report(), "a watch was interrupted");
                pause = backoff.after(&error);
                if matches!(error.code(), ErrorCode::Forbidden | ErrorCode::Unauthorized) {
                    return Some((Told::Denied(error), (events, backoff, pause)));
                }
            }
        }
    })
    .boxed()
}

fn explain<K: Object>(cluster: &Cluster, error: watcher::Error) -> Error {
    let plural = object::<K>("");
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => cluster.explain("watch", &plural, error),
        watcher::Error::WatchError(status) => cluster.explain("watch", &plural, kube::Error::Api(status)),
        other @ watcher::Error::NoResourceVersion => {
            Error::new(ErrorCode::Cluster, format!("watch {plural}: {other}")).on(plural)
        }
    }
}
