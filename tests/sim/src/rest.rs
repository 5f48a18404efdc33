//! The Kubernetes API over HTTP.

mod answer;
mod asked;
mod discovery;
mod openapi;
mod pods;
mod read;
mod table;
mod watch;
mod write;

use std::sync::Arc;

use http::{Method, Request, Response};
use hyper::body::Incoming;
use serde_json::{Value, json};

pub(crate) use self::answer::{Body, failed as refusal, json_answer};
pub(crate) use self::asked::{Asked, Target};
use crate::admin;
use crate::cluster::Shared;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::faults::Effect;
use crate::kinds::Kind;
use crate::rest::answer::{collect, failed};

pub(crate) type Answer = Response<Body>;

/// The client's connection is to end without an answer.
#[derive(Debug, thiserror::Error)]
#[error("cut as ordered")]
pub(crate) struct Cut;

/// Answers one request.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Result<Answer, Cut> {
    if !shared.tokens.knows(&request) {
        return Ok(failed(&Failure::new(401, "Unauthorized", "Unauthorized")));
    }
    if request.uri().path().starts_with("/sim") {
        return Ok(admin::serve(&shared, request).await);
    }
    let asked = Asked::new(&request);
    for effect in shared.faults.of(&asked) {
        match effect {
            Effect::Delay { millis } => tokio::time::sleep(std::time::Duration::from_millis(millis)).await,
            Effect::Refuse { code, message, retry_after } => {
                let failure =
                    Failure::scripted(code, message.as_deref(), retry_after, asked.kind(), asked.name());
                return Ok(failed(&failure));
            }
            Effect::Cut {} => {
                connection.cut();
                return Err(Cut);
            }
        }
    }
    connection.set_about(&asked);
    let answer = match asked.target() {
        Target::Discovery => discovery::answer(&shared, &asked),
        Target::Review { kind, namespace } => review(request, kind, namespace).await,
        Target::Collection { .. } | Target::Object { .. } => objects(&shared, &asked, request).await,
        Target::Sub { kind, namespace, name, sub } => {
            let (kind, sub) = (*kind, sub.as_str());
            sub_resource(&shared, &connection, &asked, (kind, namespace, name, sub), request).await
        }
        Target::Unknown => Err(Failure::no_such_path()),
    };
    Ok(answer.unwrap_or_else(|failure| failed(&failure)))
}

async fn objects(shared: &Arc<Shared>, asked: &Asked, request: Request<Incoming>) -> Result<Answer, Failure> {
    let method = request.method().clone();
    match (asked.target(), method) {
        (Target::Collection { kind, namespace }, Method::GET) if asked.watches() => {
            watch::watch(shared, asked, kind, namespace, None)
        }
        (Target::Collection { kind, namespace }, Method::GET) => read::list(shared, asked, kind, namespace),
        (Target::Object { kind, namespace, name }, Method::GET) if asked.watches() => {
            watch::watch(shared, asked, kind, namespace, Some(name))
        }
        (Target::Object { kind, namespace, name }, Method::GET) => {
            read::get(shared, asked, kind, namespace, name)
        }
        (Target::Collection { kind, namespace }, Method::POST) => {
            let body = collect(request).await?;
            write::create(shared, asked, kind, namespace, body)
        }
        (Target::Object { kind, namespace, name }, Method::PUT) => {
            let body = collect(request).await?;
            write::replace(shared, asked, kind, (namespace, name), body, false)
        }
        (Target::Object { kind, namespace, name }, Method::PATCH) => {
            let form = write::form(&request)?;
            let body = collect(request).await?;
            write::patch(shared, asked, kind, (namespace, name), (form, body), false)
        }
        (Target::Object { kind, namespace, name }, Method::DELETE) => {
            let body = collect(request).await?;
            write::delete(shared, asked, kind, (namespace, name), &body)
        }
        (Target::Collection { kind, namespace }, Method::DELETE) => {
            let body = collect(request).await?;
            write::delete_all(shared, asked, kind, namespace, &body)
        }
        _ => Err(not_allowed()),
    }
}

fn not_allowed() -> Failure {
    Failure::new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
}

async fn sub_resource(
    shared: &Arc<Shared>,
    connection: &Arc<Connection>,
    asked: &Asked,
    (kind, namespace, name, sub): (&'static Kind, &str, &str, &str),
    request: Request<Incoming>,
) -> Result<Answer, Failure> {
    let method = request.method().clone();
    match (kind.plural, sub, method) {
        (_, "status", Method::GET) if kind.status => read::get(shared, asked, kind, namespace, name),
        (_, "status", Method::PUT) if kind.status => {
            let body = collect(request).await?;
            write::replace(shared, asked, kind, (namespace, name), body, true)
        }
        (_, "status", Method::PATCH) if kind.status => {
            let form = write::form(&request)?;
            let body = collect(request).await?;
            write::patch(shared, asked, kind, (namespace, name), (form, body), true)
        }
        (_, "scale", Method::GET) if kind.scale => write::scale_of(shared, kind, namespace, name),
        (_, "scale", Method::PUT) if kind.scale => {
            let body = collect(request).await?;
            write::scale(shared, kind, (namespace, name), None, &body)
        }
        (_, "scale", Method::PATCH) if kind.scale => {
            let form = write::form(&request)?;
            let body = collect(request).await?;
            write::scale(shared, kind, (namespace, name), Some(form), &body)
        }
        ("pods", "log", Method::GET) => pods::log(shared, asked, namespace, name),
        ("pods", "portforward", Method::GET | Method::POST) => {
            pods::port_forward(shared, connection, asked, (namespace, name), request)
        }
        ("pods", "exec", Method::GET | Method::POST) => {
            pods::exec(shared, connection, asked, (namespace, name), request)
        }
        ("pods", "eviction", Method::POST) => {
            let body = collect(request).await?;
            pods::evict(shared, namespace, name, &body)
        }
        ("serviceaccounts", "token", Method::POST) => {
            let account = shared.store.with(|store| store.need(kind, namespace, name))?;
            let body = answer::read_json(&collect(request).await?)?;
            Ok(json_answer(201, &shared.tokens.issue(&account, body)))
        }
        _ => Err(Failure::no_such_path()),
    }
}

/// Everything is allowed; refusals are ordered as faults.
async fn review(request: Request<Incoming>, kind: &str, _namespace: &str) -> Result<Answer, Failure> {
    if request.method() != Method::POST {
        return Err(not_allowed());
    }
    let mut review: Value = answer::read_json(&collect(request).await?)?;
    review["status"] = if kind == "SelfSubjectRulesReview" {
        json!({
            "resourceRules": [{ "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"] }],
            "nonResourceRules": [{ "verbs": ["*"], "nonResourceURLs": ["*"] }],
            "incomplete": false,
        })
    } else {
        json!({ "allowed": true, "reason": "the embedded cluster allows everything" })
    };
    Ok(json_answer(201, &review))
}

/// The body of a request, as JSON.
pub(crate) async fn read_body(request: Request<Incoming>) -> Result<Value, Failure> {
    answer::read_json(&collect(request).await?)
}
