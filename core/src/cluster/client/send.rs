//! One request: credentials on it, a connection under it, and another try where that is safe.
//!
//! kube's retry is not used: it repeats a POST that a gateway gave up on (504), which may have been done,
//! and waits for as long as a server says.

use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, RETRY_AFTER, UPGRADE};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use kube::client::Body;
use tower::{BoxError, ServiceExt as _};

use super::auth::Authorizer;
use super::connections::Connections;
use super::unreachable::Unreachable;

/// Tries after the first.
const RETRIES: u32 = 4;
/// A server that wants a longer pause gets its answer passed on: the caller knows its own deadline.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(50);

pub(super) struct Sender {
    pub(super) authorizer: Authorizer,
    pub(super) connections: Connections,
}

impl Sender {
    /// Sends it. Retried are: 401 once, if there are new credentials; 429, which says that nothing was done;
    /// for GET and HEAD also 503, 504 and a connection that died under the request.
    pub(super) async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, BoxError> {
        let mut next = Some(request);
        let mut retries = 0;
        let mut renewed = false;
        let mut credentials = self.authorizer.current().await.map_err(Renewal)?;
        loop {
            let Some(mut request) = next.take() else { return Err("a request was lost".into()) };
            next = copy(&request);
            let safe = matches!(*request.method(), Method::GET | Method::HEAD)
                && !request.headers().contains_key(UPGRADE);
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
                return Ok(response);
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
            match pause(&response, safe, retries) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Ok(response),
            }
            retries += 1;
        }
    }
}

/// Credentials could not be renewed. A wrapper, since the cause is shared by all requests that waited for it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Renewal(Arc<crate::cluster::kubeconfig::LoadError>);

fn pause<B>(response: &Response<B>, safe: bool, retries: u32) -> Option<Duration> {
    let again = match response.status() {
        StatusCode::TOO_MANY_REQUESTS => true,
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => safe,
        _ => false,
    };
    if !again || retries >= RETRIES {
        return None;
    }
    let asked =
        response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let least = asked.map_or(Duration::ZERO, Duration::from_secs);
    // Spread, so that all watches of a session do not come back in the same millisecond.
    let own = FIRST_PAUSE * 4u32.pow(retries);
    let own = own.mul_f64(rand::random_range(0.5..1.0));
    (least <= LONGEST_PAUSE).then(|| least.max(own))
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
