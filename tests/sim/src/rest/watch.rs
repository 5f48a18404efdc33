//! Watching: what changes from a version on, with bookmarks.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::Response;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::sync::watch::Receiver;
use tokio::time::Instant;

use super::answer::json_answer;
use super::{Answer, Asked, table};
use crate::cluster::Shared;
use crate::failure::Failure;
use crate::kinds::Kind;
use crate::object::{name, namespace};
use crate::select::Selector;
use crate::store::{Change, Object, What};

/// A watch without a limit of its own ends after this long, as the API server's do.
const LIMIT: Duration = Duration::from_secs(1800);
/// Between two bookmarks.
const BOOKMARK: Duration = Duration::from_secs(30);

pub(super) fn watch(
    shared: &Arc<Shared>,
    asked: &Asked,
    kind: &'static Kind,
    of: &str,
    called: Option<&str>,
) -> Result<Answer, Failure> {
    let selector = Selector::parse(asked.param("labelSelector"), asked.param("fieldSelector"))?;
    let seconds = asked.param("timeoutSeconds").parse().map_or(LIMIT, Duration::from_secs);
    let interest = Interest { kind, namespace: of.to_owned(), name: called.map(str::to_owned), selector };
    let version = asked.param("resourceVersion");
    let initial = asked.is_on("sendInitialEvents");
    let mut out = Vec::new();
    let mut writer = Writer { table: asked.wants_table().then_some(kind) };
    let from = if version.is_empty() || version == "0" || initial {
        let (all, now) = shared.store.with(|store| (store.list(kind, of), store.version()));
        for object in all.iter().filter(|object| interest.matches(object)) {
            writer.event(&mut out, "ADDED", object);
        }
        if initial {
            writer.bookmark(&mut out, kind, now, true);
        }
        now
    } else {
        let version = version
            .parse()
            .map_err(|_| Failure::bad_request(format!("invalid resource version: {version:?}")))?;
        if let Err(failure) = shared.store.with(|store| store.since(version).map(drop)) {
            // Within the stream, as the API server tells it.
            let event = json!({ "type": "ERROR", "object": failure.object() });
            return Ok(json_answer(200, &event));
        }
        version
    };
    let state = Watch {
        shared: shared.clone(),
        changed: shared.store.subscribe(),
        interest,
        writer,
        version: from,
        pending: (!out.is_empty()).then_some(out),
        until: Instant::now() + seconds,
        bookmarks: asked.is_on("allowWatchBookmarks"),
        over: false,
    };
    let chunks = stream::unfold(state, |mut state| async move {
        let chunk = state.next().await?;
        Some((Ok::<_, Infallible>(Frame::data(Bytes::from(chunk))), state))
    });
    let mut answer = Response::new(StreamBody::new(chunks).boxed());
    let json = http::HeaderValue::from_static("application/json");
    answer.headers_mut().insert(http::header::CONTENT_TYPE, json);
    Ok(answer)
}

/// What a watch is about.
struct Interest {
    kind: &'static Kind,
    namespace: String,
    name: Option<String>,
    selector: Selector,
}

impl Interest {
    fn matches(&self, object: &Value) -> bool {
        (self.namespace.is_empty() || namespace(object) == self.namespace)
            && self.name.as_deref().is_none_or(|wanted| wanted == name(object))
            && self.selector.matches(object)
    }

    /// What a change means to this watch: an object may come into its sight or leave it.
    fn seen(&self, change: &Change) -> Option<&'static str> {
        if change.kind != self.kind {
            return None;
        }
        let before = change.before.as_ref().is_some_and(|before| self.matches(before));
        let now = change.what != What::Deleted && self.matches(&change.object);
        match (before, now) {
            (false, true) => Some("ADDED"),
            (true, true) => Some("MODIFIED"),
            (true, false) => Some("DELETED"),
            (false, false) => None,
        }
    }
}

struct Watch {
    shared: Arc<Shared>,
    changed: Receiver<u64>,
    interest: Interest,
    writer: Writer,
    version: u64,
    pending: Option<Vec<u8>>,
    until: Instant,
    bookmarks: bool,
    over: bool,
}

impl Watch {
    /// The next bytes; none at the end.
    async fn next(&mut self) -> Option<Vec<u8>> {
        if let Some(pending) = self.pending.take() {
            return Some(pending);
        }
        let bookmark = Instant::now() + BOOKMARK;
        while !self.over {
            self.changed.mark_unchanged();
            let mut out = Vec::new();
            match self.shared.store.with(|store| store.since(self.version)) {
                Ok(changes) => {
                    for change in &changes {
                        self.version = change.version;
                        if let Some(kind) = self.interest.seen(change) {
                            self.writer.event(&mut out, kind, &change.object);
                        }
                    }
                }
                Err(failure) => {
                    self.over = true;
                    let event = json!({ "type": "ERROR", "object": failure.object() });
                    out.extend(format!("{event}\n").into_bytes());
                }
            }
            if !out.is_empty() {
                return Some(out);
            }
            tokio::select! {
                changed = self.changed.changed() => if changed.is_err() { return None },
                () = tokio::time::sleep_until(self.until) => return None,
                () = self.shared.stop.cancelled() => return None,
                () = tokio::time::sleep_until(bookmark), if self.bookmarks => {
                    let mut out = Vec::new();
                    self.writer.bookmark(&mut out, self.interest.kind, self.version, false);
                    return Some(out);
                }
            }
        }
        None
    }
}

struct Writer {
    table: Option<&'static Kind>,
}

impl Writer {
    fn event(&mut self, out: &mut Vec<u8>, kind: &str, object: &Object) {
        let event = match self.table {
            Some(of) => {
                json!({ "type": kind, "object": table::table(of, std::slice::from_ref(object), None) })
            }
            None => json!({ "type": kind, "object": **object }),
        };
        out.extend(format!("{event}\n").into_bytes());
    }

    fn bookmark(&self, out: &mut Vec<u8>, kind: &Kind, version: u64, first: bool) {
        let mut metadata = json!({ "resourceVersion": version.to_string(), "creationTimestamp": null });
        if first {
            metadata["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
        }
        let object = match self.table {
            Some(of) => table::table(of, &[], Some(metadata)),
            None => json!({ "kind": kind.kind, "apiVersion": kind.api_version(), "metadata": metadata }),
        };
        out.extend(format!("{}\n", json!({ "type": "BOOKMARK", "object": object })).into_bytes());
    }
}
