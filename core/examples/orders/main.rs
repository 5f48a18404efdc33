//! A small service of one's own, and its suite ([`suite`]): in each test the cluster's `orders` is this process.
//!
//! `cargo run -p kubetether --example orders -- PORT` serves it. `cargo test -p kubetether --example orders` needs a cluster
//! with a Service `orders` of port 8080 in the kubeconfig's namespace.

#[cfg(test)]
mod suite;

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// An order has at most so many bytes.
const MOST: usize = 64 * 1024;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = std::env::args().nth(1).ok_or("usage: orders PORT")?.parse()?;
    serve(TcpListener::bind(("127.0.0.1", port)).await?).await?;
    Ok(())
}

/// Keeps orders and tells them again.
#[derive(Clone, Debug, Default)]
struct Orders(Arc<Mutex<Vec<Value>>>);

impl Orders {
    async fn answer(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let (status, body) = match (request.method(), request.uri().path().strip_prefix("/orders")) {
            (&Method::POST, Some("")) => match Limited::new(request.into_body(), MOST).collect().await {
                Ok(body) => self.take(&body.to_bytes()),
                Err(_) => (StatusCode::PAYLOAD_TOO_LARGE, json!({ "error": "an order is too long" })),
            },
            (&Method::GET, Some(rest)) => self.tell(rest.trim_start_matches('/')),
            _ => (StatusCode::NOT_FOUND, json!({ "error": "there are orders, and nothing else" })),
        };
        let mut answer = Response::new(Full::from(body.to_string()));
        *answer.status_mut() = status;
        Ok(answer)
    }

    fn take(&self, order: &[u8]) -> (StatusCode, Value) {
        let Ok(order) = serde_json::from_slice::<Value>(order) else {
            return (StatusCode::BAD_REQUEST, json!({ "error": "an order is JSON" }));
        };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let order = json!({ "id": all.len(), "item": order["item"] });
        all.push(order.clone());
        (StatusCode::CREATED, order)
    }

    fn tell(&self, id: &str) -> (StatusCode, Value) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let order = id.parse().ok().and_then(|id: usize| all.get(id));
        match order {
            Some(order) => (StatusCode::OK, order.clone()),
            None => (StatusCode::NOT_FOUND, json!({ "error": "no such order" })),
        }
    }
}

async fn serve(listener: TcpListener) -> std::io::Result<()> {
    let orders = Orders::default();
    loop {
        let (connection, _) = listener.accept().await?;
        let orders = orders.clone();
        tokio::spawn(async move {
            let answer = service_fn(move |request| orders.clone().answer(request));
            // A caller that goes away is no matter of ours.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(connection), answer).await;
        });
    }
}
