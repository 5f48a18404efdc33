//! One request: credentials on it, a connection under it, and another try where that is safe.
//!
//! kube's retry is not used: it repeats a POST that a gateway gave up on (504), which may have been done,
//! and waits for as long as a server says.

use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, UPGRADE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use kube::client::Body;
use kube::core::Status;
use tower::{BoxError, ServiceExt as _};

use super::auth::Authorizer;
use super::connections::Connections;
use super::retry_after::retry_after;
use super::unreachable::Unreachable;
use crate::backoff::{Backoff, Failure, Pace};

/// Tries after the first.
const RETRIES: u32 = 4;
/// A server that wants a longer pause gets its answer passed on: the caller knows its own deadline.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// What is read of an error's own words.
const LONGEST_STATUS: usize = 64 * 1024;
const PACE: Pace = Pace { first: Duration::from_millis(50), last: Duration::from_secs(2) };

pub(super) struct Sender {
    pub(super) authorizer: Authorizer,
    pub(super) connections: Connections,
}

impl Sender {
    /// Sends it. Retried are: 401 once, if there are new credentials; 429, which says that nothing was done;
    /// for GET and HEAD also 503, 504 and a connection that died under the request. An upgrade is not sent again for
    /// these: who dials has a pace of its own, and must know that the server wants a pause rather than take it for a dial
    /// that hangs.
    pub(super) async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, BoxError> {
        let mut next = Some(request);
        let mut retries = 0;
        let mut backoff = Backoff::new(PACE);
        let mut renewed = false;
        let mut credentials = self.authorizer.current().await.map_err(Renewal)?;
        loop {
            let Some(mut request) = next.take() else { return Err("a request was lost".into()) };
            next = copy(&request);
            let upgrade = request.headers().contains_key(UPGRADE);
            let safe = matches!(*request.method(), Method::GET | Method::HEAD) && !upgrade;
            if let Some(header) = &credentials.header {
                // One who calls with a header of his own means it.
                request.headers_mut().entry(AUTHORIZATION).or_insert_with(|| header.clone());
            }
            let pool = self
                .connections
                .pool(credentials.identity.clone())
                .map_err(|error| Renewal(Arc::new(error)))?;
            let response = match pool.oneshot(request).await {
                Ok(response) => response,
                Err(error) if safe && !error.is_connect() && retries == 0 && next.is_some() => {
                    retries += 1;
                    tracing::debug!(%error, "connection lost under a request; sent again");
                    continue;
                }
                Err(error) => {
                    if error.is_connect() {
                        self.connections.suspect();
                    }
                    return Err(Unreachable::explain(error, self.connections.selected()));
                }
            };
            if next.is_none() {
                return passed_on(response).await;
            }
            if response.status() == StatusCode::UNAUTHORIZED && !renewed {
                renewed = true;
                self.authorizer.rejected(credentials.generation);
                let fresh = self.authorizer.current().await.map_err(Renewal)?;
                if fresh.generation == credentials.generation {
                    return Ok(response);
                }
                credentials = fresh;
                continue;
            }
            match pause(&response, safe, retries, &mut backoff).filter(|_| !upgrade) {
                Some(pause) => {
                    super::busy::tell(response.status());
                    tokio::time::sleep(pause).await;
                }
                None => return passed_on(response).await,
            }
            retries += 1;
        }
    }
}

/// Credentials could not be renewed. A wrapper, since the cause is shared by all requests that waited for it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Renewal(Arc<crate::cluster::kubeconfig::LoadError>);

fn pause<B>(response: &Response<B>, safe: bool, retries: u32, backoff: &mut Backoff) -> Option<Duration> {
    let again = match response.status() {
        StatusCode::TOO_MANY_REQUESTS => true,
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => safe,
        _ => false,
    };
    if !again || retries >= RETRIES {
        return None;
    }
    let failure = match retry_after(response.headers()) {
        Some(after) if after > LONGEST_PAUSE => return None,
        Some(after) if !after.is_zero() => Failure::Told(after),
        _ => Failure::Passing,
    };
    Some(backoff.delay(failure, rand::random()))
}

/// The answer as the caller gets it. What kube makes of an error has no headers: one that says when to come again
/// is made here, with that in the place that Kubernetes has for it.
async fn passed_on(response: Response<Incoming>) -> Result<Response<Incoming>, BoxError> {
    let code = response.status();
    let wants_pause = code == StatusCode::TOO_MANY_REQUESTS || code.is_server_error();
    let Some(after) = retry_after(response.headers()).filter(|_| wants_pause) else { return Ok(response) };
    let body = Limited::new(response.into_body(), LONGEST_STATUS).collect().await;
    let body = body.map(|body| body.to_bytes()).unwrap_or_default();
    let mut status = serde_json::from_slice::<Status>(&body).unwrap_or_else(|_| {
        Status::failure(String::from_utf8_lossy(&body).trim(), code.canonical_reason().unwrap_or_default())
    });
    status.code = code.as_u16();
    let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
    let told = serde_json::json!({ "retryAfterSeconds": u32::try_from(seconds).unwrap_or(u32::MAX) });
    match &mut status.details {
        Some(details) => details.retry_after_seconds = u32::try_from(seconds).unwrap_or(u32::MAX),
        None => status.details = serde_json::from_value(told).ok(),
    }
    Err(Box::new(kube::Error::Api(Box::new(status))))
}

fn copy(request: &Request<Body>) -> Option<Request<Body>> {
    let mut copy = Request::new(request.body().try_clone()?);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    Some(copy)
}
