//! Speaks HTTP/1.1 with a client, and passes it on.

use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::asked::Asked;
use super::connections::Entry;
use super::hooks::Moment;
use super::line::End;
use super::pump::carry;
use super::requests::Requests;
use super::upstream::{Target, Upstream};
use super::wire::Shared;

/// Between the bytes' way and TLS.
const BETWEEN: usize = 64 * 1024;

/// Of an upgraded connection, in one go.
const RELAY: usize = 64 * 1024;

/// Serves all connections of a proxy that terminates TLS.
pub(super) struct Front {
    pub(super) acceptor: TlsAcceptor,
    pub(super) target: Arc<Target>,
    pub(super) requests: Requests,
    pub(super) shared: Arc<Shared>,
}

/// One connection of a client, and ours that goes with it.
struct Conversation {
    front: Arc<Front>,
    entry: Arc<Entry>,
    // HTTP/1.1 asks one thing at a time: it is never waited for.
    upstream: tokio::sync::Mutex<Upstream>,
    /// Another protocol is asked for: an end of ours with the API server may be its beginning.
    upgrading: AtomicBool,
    upgrade: Mutex<Option<[OnUpgrade; 2]>>,
}

type Answer = Response<Either<Full<Bytes>, Incoming>>;

/// The client's connection ends without an answer.
#[derive(Debug, thiserror::Error)]
#[error("cut")]
struct Broken;

impl Front {
    /// Serves one client to the end of its connection.
    pub(super) async fn serve(self: Arc<Self>, mut client: TcpStream, entry: Arc<Entry>) {
        let ended = tokio::select! {
            () = entry.until_cut() => End::Reset,
            ended = self.clone().carried(&mut client, &entry) => ended.unwrap_or_else(|error| {
                tracing::debug!(%error, "a client is turned away: the API server cannot be dialled");
                End::Reset
            }),
        };
        if ended == End::Reset {
            let _ = client.set_zero_linger();
        }
    }

    async fn carried(self: Arc<Self>, client: &mut TcpStream, entry: &Arc<Entry>) -> io::Result<End> {
        self.shared.passable(entry).await;
        // First of all: where the API server refuses, a client shall find out before it has said anything.
        let dialled = self.target.server.dial().await?;
        let (near, far) = tokio::io::duplex(BETWEEN);
        let (from_far, to_far) = tokio::io::split(near);
        let served = CancellationToken::new();
        let (front, of, done) = (self.clone(), entry.clone(), served.clone().drop_guard());
        let speaking = tokio::spawn(async move {
            let _done = done;
            if let Err(error) = front.speak(far, dialled, of).await {
                tracing::debug!(%error, "a client's connection ended early");
            }
        });
        let _speaking = AbortOnDropHandle::new(speaking);
        Ok(carry(client, from_far, to_far, &self.shared, entry, &served).await)
    }

    async fn speak(
        self: Arc<Self>,
        stream: DuplexStream,
        dialled: TcpStream,
        entry: Arc<Entry>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let stream = self.acceptor.accept(stream).await?;
        let gone = CancellationToken::new();
        let conversation = Arc::new(Conversation {
            upstream: tokio::sync::Mutex::new(Upstream::new(self.target.clone(), dialled, gone.clone())),
            front: self,
            entry,
            upgrading: AtomicBool::new(false),
            upgrade: Mutex::default(),
        });
        let answering = conversation.clone();
        let service = service_fn(move |request| {
            let conversation = answering.clone();
            async move { conversation.answer(request).await }
        });
        let mut builder = http1::Builder::new();
        builder.preserve_header_case(true);
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service).with_upgrades());
        tokio::select! {
            ended = connection.as_mut() => ended?,
            () = gone.cancelled() => {
                if !conversation.upgrading.load(Ordering::Acquire) {
                    connection.as_mut().graceful_shutdown();
                }
                connection.await?;
            }
        }
        let upgrade = conversation.upgrade.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some([client, server]) = upgrade {
            let (client, server) = tokio::try_join!(client, server)?;
            let (from_client, to_client) = tokio::io::split(TokioIo::new(client));
            let (from_server, to_server) = tokio::io::split(TokioIo::new(server));
            tokio::try_join!(relay(from_client, to_server), relay(from_server, to_client))?;
        }
        Ok(())
    }
}

/// One direction of an upgraded connection to its end. Two of these take turns in who goes first; tokio's
/// `copy_bidirectional` always begins with the same one, which then leaves the other nothing of the task's budget.
async fn relay(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> io::Result<()> {
    let mut buffer = vec![0; RELAY];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..count]).await?;
        to.flush().await?;
    }
}

impl Conversation {
    async fn answer(&self, request: Request<Incoming>) -> Result<Answer, Broken> {
        let asked = Asked::new(request.method(), request.uri(), request.headers());
        let requests = &self.front.requests;
        if let Some(fault) = requests.arrived(&asked) {
            return Ok(fault.answer(&asked).map(Either::Left));
        }
        let turn = requests.hooks.turn(&asked).await;
        self.pass(Moment::Before, &asked).await?;
        let answer = self.forward(request, &asked).await?;
        self.pass(Moment::After, &asked).await?;
        drop(turn);
        Ok(answer.map(Either::Right))
    }

    async fn pass(&self, moment: Moment, asked: &Asked) -> Result<(), Broken> {
        let goes_on = self.front.requests.hooks.pass(moment, asked, &self.entry).await;
        if goes_on { Ok(()) } else { Err(Broken) }
    }

    async fn forward(
        &self,
        mut request: Request<Incoming>,
        asked: &Asked,
    ) -> Result<Response<Incoming>, Broken> {
        let client = asked.is_upgrade().then(|| hyper::upgrade::on(&mut request));
        self.upgrading.store(client.is_some(), Ordering::Release);
        let answer = self.upstream.lock().await.send(request).await;
        let mut answer = answer.map_err(|error| {
            tracing::debug!(%error, method = %asked.method(), path = asked.path(), "no answer from the API server");
            // As the API server's own end would look.
            self.entry.cut();
            Broken
        })?;
        let switched = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
        self.upgrading.store(switched, Ordering::Release);
        if let Some(client) = client.filter(|_| switched) {
            self.entry.set_upgraded();
            let server = hyper::upgrade::on(&mut answer);
            *self.upgrade.lock().unwrap_or_else(PoisonError::into_inner) = Some([client, server]);
        }
        Ok(answer)
    }
}
