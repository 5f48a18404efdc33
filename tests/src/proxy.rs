//! A proxy between a client and the API server that counts, delays, cuts and lies, for scenarios and benches alike.
//!
//! [`Proxy`] terminates TLS on both sides, so that it sees requests: a client takes the kubeconfig that it writes,
//! shows the certificate in it, and appears to the API server with the certificate of the kubeconfig that was given,
//! or with its own token. [`RawProxy`] passes TLS on as it is: dearer controls are absent, and so is the cost of
//! two times TLS in a build without optimisation.
//!
//! Each connection of a client goes with exactly one to the API server: when the one ends, so does the other.
//!
//! Bytes that clients see: `client ⇄ Wire ⇄ (TLS, Requests, TLS) ⇄ API server`.

mod asked;
mod bucket;
mod connections;
mod error;
mod hooks;
mod kubeconfig;
mod line;
mod listen;
mod pump;
mod raw;
mod requests;
mod secure;
mod serve;
mod upstream;
mod wire;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::asked::Asked;
use self::connections::Entry;
pub use self::error::ProxyError;
pub use self::hooks::{Hooked, Moment, Pause};
use self::kubeconfig::{Given, Written};
use self::listen::Door;
use self::raw::Raw;
pub use self::requests::{Counts, Fault, Requests, mutating, of};
use self::serve::Front;
use self::upstream::{Server, Target};
pub use self::wire::{Cut, Passed, Scope, Wire};

/// A proxy that sees requests. It runs on the runtime that it was started on; dropped, it ends on its own.
#[derive(Debug)]
pub struct Proxy {
    running: Running,
    requests: Requests,
}

/// A proxy that sees bytes only. It runs on the runtime that it was started on; dropped, it ends on its own.
#[derive(Debug)]
pub struct RawProxy {
    running: Running,
}

#[derive(Debug)]
struct Running {
    kubeconfig: Written,
    address: SocketAddr,
    wire: Wire,
    task: JoinHandle<()>,
    stop: DropGuard,
}

impl Proxy {
    /// Stands before the API server that the current context of a kubeconfig leads to.
    ///
    /// # Errors
    /// When the kubeconfig cannot be used: it has to have an `https` server, its authority, and no `proxy-url`.
    pub async fn start(kubeconfig: &Path) -> Result<Self, ProxyError> {
        let given = read(kubeconfig).await?;
        let faces = secure::faces()?;
        let wire = Wire::new();
        let requests = Requests::new(wire.0.connections.clone());
        let (door, address) = Door::new().map_err(ProxyError::system("listening on the loopback"))?;
        let front = Arc::new(Front {
            acceptor: faces.acceptor.clone(),
            target: Arc::new(Target::new(&given)?),
            requests: requests.clone(),
            shared: wire.0.clone(),
        });
        let kubeconfig = given.through(address, &faces)?;
        let serve = move |client, entry| front.clone().serve(client, entry);
        Ok(Self { running: Running::start(door, address, kubeconfig, wire, serve), requests })
    }

    /// One that sees bytes only.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn tcp(kubeconfig: &Path) -> Result<RawProxy, ProxyError> {
        let given = read(kubeconfig).await?;
        let (door, address) = Door::new().map_err(ProxyError::system("listening on the loopback"))?;
        let wire = Wire::new();
        let raw = Arc::new(Raw { server: Server::new(&given), shared: wire.0.clone() });
        let kubeconfig = given.by_way_of(address)?;
        let serve = move |client, entry| raw.clone().serve(client, entry);
        Ok(RawProxy { running: Running::start(door, address, kubeconfig, wire, serve) })
    }

    /// The kubeconfig that leads through it: the given one's current context. It vanishes with the proxy.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.running.kubeconfig.path()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.running.address
    }

    /// What happens to bytes.
    #[must_use]
    pub fn wire(&self) -> &Wire {
        &self.running.wire
    }

    /// What happens to requests.
    #[must_use]
    pub fn requests(&self) -> &Requests {
        &self.requests
    }

    /// Ends it, and returns when all its connections have ended.
    pub async fn close(self) {
        self.running.close().await;
    }
}

impl RawProxy {
    /// The kubeconfig that leads through it: the given one's current context. It vanishes with the proxy.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.running.kubeconfig.path()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.running.address
    }

    /// What happens to bytes.
    #[must_use]
    pub fn wire(&self) -> &Wire {
        &self.running.wire
    }

    /// Ends it, and returns when all its connections have ended.
    pub async fn close(self) {
        self.running.close().await;
    }
}

impl Running {
    fn start<F>(
        door: Door,
        address: SocketAddr,
        kubeconfig: Written,
        wire: Wire,
        serve: impl Fn(TcpStream, Arc<Entry>) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let listening = listen::listen(door, address, wire.0.clone(), serve, stop.clone());
        let task = tokio::spawn(async move {
            if let Err(error) = listening.await {
                tracing::warn!(%error, "the proxy gave up");
            }
        });
        Self { kubeconfig, address, wire, task, stop: stop.drop_guard() }
    }

    async fn close(self) {
        drop(self.stop);
        // Whatever became of the task, it has ended.
        let _ = self.task.await;
    }
}

async fn read(kubeconfig: &Path) -> Result<Given, ProxyError> {
    let path = kubeconfig.to_owned();
    let read = tokio::task::spawn_blocking(move || Given::read(&path)).await;
    read.unwrap_or_else(|error| {
        Err(ProxyError::System { what: "reading a kubeconfig", source: std::io::Error::other(error) })
    })
}
