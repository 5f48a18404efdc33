//! Takes clients' connections.

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::cluster::Shared;
use crate::connection::Connection;
use crate::rest;

/// A client that says nothing does not hold a connection longer than this.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Serves the API until the cluster stops.
pub(crate) async fn run(shared: Arc<Shared>, listener: TcpListener, tls: TlsAcceptor) {
    loop {
        let accepted = tokio::select! {
            () = shared.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let (shared, tls) = (shared.clone(), tls.clone());
                shared.tasks.clone().spawn(serve(shared, stream, tls));
            }
            Err(error) => {
                tracing::debug!(%error, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

async fn serve(shared: Arc<Shared>, stream: TcpStream, tls: TlsAcceptor) {
    // Only slower without it.
    let _ = stream.set_nodelay(true);
    let connection = Connection::new(&stream);
    shared.connections.add(&connection);
    let speaking = async {
        let stream = tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await;
        let Ok(Ok(stream)) = stream else { return };
        let (of, with) = (shared.clone(), connection.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            Box::pin(rest::serve(of.clone(), with.clone(), request))
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new());
        let served = builder.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
        if let Err(error) = served {
            tracing::debug!(%error, "a client's connection ended early");
        }
    };
    tokio::select! {
        () = speaking => {}
        () = connection.until_cut() => {}
        () = shared.stop.cancelled() => {}
    }
}
