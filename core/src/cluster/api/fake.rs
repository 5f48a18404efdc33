//! An API server in memory, for tests of what is asked of a cluster and in which order. It knows no watches, no admission
//! and no controllers: `tests/sim` does.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tower::service_fn;

use super::{Cluster, Object};

/// Its namespace.
pub(crate) const NAMESPACE: &str = "shop";

/// The server; a cheap handle.
#[derive(Clone, Default)]
pub(crate) struct Fake(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// By their paths.
    objects: BTreeMap<String, Value>,
    versions: u64,
    /// What changed something, as in `DELETE deployments/x`.
    changes: Vec<String>,
    /// What is refused, and how.
    refused: Option<Refusal>,
}

type Refusal = Box<dyn Fn(&str) -> Option<StatusCode> + Send>;

impl fmt::Debug for Fake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fake").finish_non_exhaustive()
    }
}

impl Fake {
    pub(crate) fn cluster(&self) -> Cluster {
        let server = self.clone();
        let service = service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let body = serde_json::from_slice(&body).unwrap_or_default();
                let (status, answer) = server.answer(&head.method, &head.uri, body);
                let answer = Body::from(answer.to_string().into_bytes());
                Ok::<_, Infallible>(Response::builder().status(status).body(answer).unwrap())
            }
        });
        Cluster::new(Client::new(service, NAMESPACE), NAMESPACE.to_owned(), "http://fake".to_owned())
    }

    /// Puts an object there, as somebody else would.
    pub(crate) fn put<K: Object>(&self, object: Value) {
        let mut object = object;
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let path = format!("{}/{name}", K::url_path(&(), Some(NAMESPACE)));
        let mut state = self.state();
        state.stamp(&mut object);
        state.objects.insert(path, object);
    }

    /// How an object is.
    pub(crate) fn get<K: Object>(&self, name: &str) -> Option<K> {
        let path = format!("{}/{name}", K::url_path(&(), Some(NAMESPACE)));
        let object = self.state().objects.get(&path).cloned()?;
        Some(serde_json::from_value(object).unwrap())
    }

    /// From now on refuses requests like `PATCH services/orders`.
    pub(crate) fn refuse(&self, refusal: impl Fn(&str) -> Option<StatusCode> + Send + 'static) {
        self.state().refused = Some(Box::new(refusal));
    }

    /// What was changed since the last look, as in `DELETE deployments/x`.
    pub(crate) fn changes(&self) -> Vec<String> {
        std::mem::take(&mut self.state().changes)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn answer(&self, method: &Method, uri: &Uri, body: Value) -> (StatusCode, Value) {
        let mut state = self.state();
        let path = uri.path();
        let words: Vec<&str> = path.rsplit('/').take(2).collect();
        let what = format!("{method} {}/{}", words[1], words[0]);
        if let Some(code) = state.refused.as_ref().and_then(|refused| refused(&what)) {
            return failure(code, "Refused", "on purpose");
        }
        match *method {
            Method::GET if path.ends_with(&format!("{NAMESPACE}/{}", words[0])) => state.list(uri),
            Method::GET => match state.objects.get(path) {
                Some(object) => (StatusCode::OK, object.clone()),
                None => failure(StatusCode::NOT_FOUND, "NotFound", &what),
            },
            Method::POST => {
                let mut object = body;
                let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
                let path = format!("{path}/{name}");
                if state.objects.contains_key(&path) {
                    return failure(StatusCode::CONFLICT, "AlreadyExists", &what);
                }
                state.stamp(&mut object);
                state.changes.push(format!("POST {}/{name}", words[0]));
                state.objects.insert(path, object.clone());
                (StatusCode::CREATED, object)
            }
            Method::PATCH => {
                let Some(mut object) = state.objects.get(path).cloned() else {
                    return failure(StatusCode::NOT_FOUND, "NotFound", &what);
                };
                let patch: json_patch::Patch = serde_json::from_value(body).unwrap();
                if json_patch::patch(&mut object, &patch).is_err() {
                    let text = "the server rejected our request due to an error in our request";
                    return failure(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", text);
                }
                state.stamp(&mut object);
                state.changes.push(what);
                state.objects.insert(path.to_owned(), object.clone());
                (StatusCode::OK, object)
            }
            Method::DELETE => {
                let Some(object) = state.objects.get(path) else {
                    return failure(StatusCode::NOT_FOUND, "NotFound", &what);
                };
                let uid = &body["preconditions"]["uid"];
                if !uid.is_null() && *uid != object["metadata"]["uid"] {
                    return failure(StatusCode::CONFLICT, "Conflict", &what);
                }
                state.changes.push(what);
                state.objects.remove(path);
                (
                    StatusCode::OK,
                    json!({ "kind": "Status", "apiVersion": "v1", "status": "Success", "code": 200 }),
                )
            }
            _ => failure(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", &what),
        }
    }
}

impl State {
    /// Those with the labels that are asked for.
    fn list(&self, uri: &Uri) -> (StatusCode, Value) {
        let query = uri.query().unwrap_or_default();
        if query.contains("watch=true") {
            return failure(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "there are no watches here");
        }
        let query = query.replace("%3D", "=").replace("%2C", ",").replace("%2F", "/");
        let selector =
            query.split('&').find_map(|one| one.strip_prefix("labelSelector=")).unwrap_or_default();
        let wanted: Vec<(&str, &str)> = selector.split(',').filter_map(|one| one.split_once('=')).collect();
        let beneath = format!("{}/", uri.path());
        let items = self.objects.iter().filter(|(path, object)| {
            let labels = &object["metadata"]["labels"];
            path.starts_with(&beneath) && wanted.iter().all(|(key, value)| labels[key] == *value)
        });
        let items: Vec<&Value> = items.map(|(_, object)| object).collect();
        (StatusCode::OK, json!({ "metadata": { "resourceVersion": "1" }, "items": items }))
    }

    fn stamp(&mut self, object: &mut Value) {
        self.versions += 1;
        object["metadata"]["namespace"] = json!(NAMESPACE);
        object["metadata"]["resourceVersion"] = json!(self.versions.to_string());
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = json!(format!("uid-{}", self.versions));
        }
    }
}

fn failure(code: StatusCode, reason: &str, message: &str) -> (StatusCode, Value) {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure",
        "reason": reason, "message": message, "code": code.as_u16(),
    });
    (code, status)
}
