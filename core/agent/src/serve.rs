//! The whole process: binds everything, says that it is ready, runs until it is no longer needed.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kubetether_link::{Acceptor, LinkConfig, Role, Status};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::config::{Config, Job};
use crate::control::{self, Serve};
use crate::drain::{self, Drain, Phase, Signals};
use crate::flows::{Count, Flows};
use crate::gateway::Gateway;
use crate::health::{self, Ready};
use crate::interceptor::Interceptor;
use crate::limits::{self, Cost, Limits};
use crate::resolve::Resolver;
use crate::restoring;

/// Why the agent cannot run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A port cannot be bound.
    #[error("cannot listen for {what} on {address}")]
    Bind {
        /// What would have come there.
        what: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Something that every process gets from its system was not there.
    #[error("cannot get {what} from the system")]
    System {
        /// What was not there.
        what: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A part ended that never does.
    #[error("the {0} stopped")]
    Stopped(&'static str),
}

/// What all parts of the process share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) role: Role,
    pub(crate) acceptor: Acceptor,
    pub(crate) flows: Flows,
    /// Links whose tasks run; a link that is closed may still be saying goodbye.
    pub(crate) serving: Count,
    pub(crate) drain: Drain,
    pub(crate) resolver: Resolver,
    started: Instant,
}

/// The most clients of one gateway: a namespace's developers, and their test runs.
const GATEWAY_LINKS: usize = 256;
/// An interceptor has one holder; others only ask how it is.
const INTERCEPTOR_LINKS: usize = 32;
/// How long links may take at the end to send what is left and say goodbye.
pub(crate) const GOODBYE: Duration = Duration::from_secs(7);
/// Connections that wait to be accepted; the kernel cuts it to its own limit.
const BACKLOG: u32 = 4096;

/// Runs the agent. Returns when it is no longer needed: see [`Config`] for when that is.
///
/// # Errors
/// [`RunError`] when a port cannot be bound, or a part that runs for ever ended.
pub async fn run(config: Config) -> Result<(), RunError> {
    // First of all: a signal that comes before this kills, or as process 1 does nothing.
    let mut signals =
        Signals::new().map_err(|source| RunError::System { what: "signal handlers", source })?;
    let (role, links, sockets) = match &config.job {
        Job::Gateway { .. } => (Role::Gateway, GATEWAY_LINKS, 1),
        // That of the caller, and one to the original.
        Job::Interceptor { .. } => (Role::Interceptor, INTERCEPTOR_LINKS, 2),
    };
    let limits = Limits::new(sockets, links);
    let link_config = LinkConfig::new(role)
        .software(env!("CARGO_PKG_VERSION"))
        .heartbeat(config.heartbeat)
        .silence(config.silence)
        .grace(config.grace);
    let shared = Arc::new(Shared {
        role,
        acceptor: Acceptor::new(limits.apply(link_config), limits.links)
            .map_err(|source| RunError::System { what: "random bytes", source })?,
        flows: Flows::new(limits.connections, limits.budget),
        serving: Count::default(),
        drain: Drain::new(),
        resolver: Resolver::new(config.resolv_conf.clone(), config.nameserver),
        started: Instant::now(),
    });

    // Dropped at the end, which stops whatever still runs.
    let mut parts = JoinSet::new();
    let ready = Ready::default();
    let health = listen("health", config.health)?;
    parts.spawn(named("health port", health::serve(health, ready.clone())));
    let control = listen("clients", config.control)?;

    let ended = match &config.job {
        Job::Gateway { idle } => {
            let job = Arc::new(Gateway::new(Arc::clone(&shared)));
            parts.spawn(named("control port", control::serve(control, Arc::clone(&shared), job)));
            ready.set();
            tracing::info!(version = env!("CARGO_PKG_VERSION"), "gateway ready");
            let draining = || shared.acceptor.drain();
            let links = shared.acceptor.links();
            let end = drain::gateway(
                &shared.drain,
                &shared.flows,
                &mut signals,
                *idle,
                config.drain,
                links,
                draining,
            );
            let ended = first(end, &mut parts).await;
            // Also one that was idle: a client that comes now must find another, not one that ends under it.
            shared.acceptor.drain();
            ended
        }
        Job::Interceptor { addresses, ports, linger, fallback, restore } => {
            let job = Arc::new(Interceptor::new(Arc::clone(&shared), ports.clone()));
            for (name, part) in job.listen(addresses)? {
                parts.spawn(named(name, part));
            }
            parts
                .spawn(named("control port", control::serve(control, Arc::clone(&shared), Arc::clone(&job))));
            ready.set();
            tracing::info!(version = env!("CARGO_PKG_VERSION"), ports = ports.len(), "interceptor ready");
            if let Some(program) = restore {
                let links = shared.acceptor.links();
                let watching = restoring::watch(program.clone(), links, config.grace);
                parts.spawn(named("watch for the client", watching));
            }
            let draining = || {
                shared.acceptor.drain();
                if *fallback {
                    ready.unset();
                }
            };
            let end = drain::interceptor(
                &shared.drain,
                &shared.flows,
                &mut signals,
                *linger,
                config.drain,
                draining,
            );
            first(end, &mut parts).await
        }
    };
    shared.drain.advance(Phase::Ending);
    if timeout(GOODBYE, shared.serving.none()).await.is_err() {
        tracing::warn!(left = shared.serving.get(), "not every client took its last bytes");
    }
    ended
}

impl Shared {
    /// The answer to a Status call.
    pub(crate) fn status(&self, armed: bool) -> Status {
        Status {
            role: self.role,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            incarnation: self.acceptor.incarnation(),
            uptime: self.started.elapsed(),
            clients: self.clients(),
            flows: self.flows.count(),
            rss_bytes: limits::resident(),
            armed,
            peak_bytes: limits::peak(),
            cpu_us: limits::cpu_us(),
            most_flows: self.flows.most(Cost::JOINED),
            refused_flows: self.flows.refused(),
        }
    }

    /// How many links are attached.
    pub(crate) fn clients(&self) -> u32 {
        u32::try_from(*self.acceptor.links().borrow()).unwrap_or(u32::MAX)
    }
}

/// Binds a TCP listener, also while connections of an earlier process on that address linger.
pub(crate) fn listen(what: &'static str, address: SocketAddr) -> Result<TcpListener, RunError> {
    let bind = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    bind().map_err(|source| RunError::Bind { what, address, source })
}

async fn named(name: &'static str, part: impl Future<Output = ()>) -> &'static str {
    part.await;
    name
}

/// Waits for `end`; a part that stops or panics before it is an error.
async fn first(end: impl Future<Output = ()>, parts: &mut JoinSet<&'static str>) -> Result<(), RunError> {
    tokio::select! {
        () = end => Ok(()),
        Some(part) = parts.join_next() => Err(RunError::Stopped(part.unwrap_or("part that panicked"))),
    }
}

const _: fn() = || {
    fn serves<T: Serve>() {}
    serves::<Gateway>();
    serves::<Interceptor>();
};
