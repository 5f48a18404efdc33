//! Forward: a local port that leads to a place in the cluster.

mod datagrams;
mod refusal;
mod resolve;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kubetether_link::{Early, Link, Open, OpenError, Stream, relay_tallied};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use self::refusal::{has_reset, never_opened, refused};
use self::resolve::Resolver;
use crate::cluster::agent_link::Health;
use crate::descriptors;
use crate::flow::{Counted, Counters, FlowEnd};
use crate::gateway::User;
use crate::life::Life;
use crate::session::Shared;
use crate::stats::Stats;
use crate::target::Protocol;
use crate::{Deadline, Destination, Error, ErrorCode, HandleId, HandleState, Result};

/// A destination that has not accepted by then will not.
const DIAL: Duration = Duration::from_secs(10);
/// A gateway that is not there by then is given up for this connection.
const GATEWAY: Duration = Duration::from_secs(20);
/// Before another connection is accepted when descriptors have run out.
const BREATH: Duration = Duration::from_millis(50);

/// Settings of one forward.
#[derive(Clone, Debug)]
pub struct ForwardOptions {
    pub(crate) bind: IpAddr,
    pub(crate) port: u16,
    pub(crate) connections: usize,
    pub(crate) deadline: Option<Duration>,
}

impl Default for ForwardOptions {
    fn default() -> Self {
        Self { bind: Ipv4Addr::LOCALHOST.into(), port: 0, connections: 4096, deadline: None }
    }
}

impl ForwardOptions {
    /// The settings that suit most users.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The local address. Default: `127.0.0.1`. Anything that is not a loopback address opens the
    /// cluster's port to this machine's network.
    #[must_use]
    pub fn bind(mut self, address: IpAddr) -> Self {
        self.bind = address;
        self
    }

    /// The local port. Default: 0, a free one.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Connections that may be open at once; callers beyond that wait to be accepted (of UDP's peers, the one that has been
    /// silent longest gives way). Default: 4,096. Descriptors bound
    /// them as well: the last third of the process's limit, or the last 32, is left to the session's own needs.
    #[must_use]
    pub fn connections(mut self, most: usize) -> Self {
        self.connections = most.clamp(1, Semaphore::MAX_PERMITS);
        self
    }

    /// How long the start may take. Default: the session's
    /// [`start_deadline`](crate::Config::start_deadline).
    #[must_use]
    pub fn deadline(mut self, duration: Duration) -> Self {
        self.deadline = Some(duration);
        self
    }
}

/// A forward that is up. Dropping it ends it; [`close`](Self::close) waits for that.
///
/// A connection is accepted here before its destination is dialled in the cluster; when that refuses,
/// the connection is reset.
///
/// Where the destination is a UDP port, so is the local one: each local address that sends to it has an association of its
/// own, for as long as a datagram goes either way within 60 s. Datagrams of up to 65,507 bytes go through whole; as with UDP
/// anywhere they may be lost, and are where queues are full. Start has resolved the name in the cluster; whether anybody
/// listens there UDP does not tell.
#[derive(Debug)]
pub struct Forward {
    life: Arc<Life>,
    address: SocketAddr,
    destination: Destination,
    counters: Counters,
}

impl Forward {
    /// Tells the handles of a session apart.
    #[must_use]
    pub fn id(&self) -> HandleId {
        self.life.id()
    }

    /// The local address and port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it leads.
    #[must_use]
    pub fn destination(&self) -> &Destination {
        &self.destination
    }

    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> HandleState {
        self.life.state()
    }

    /// Where it stands, now and from now on.
    #[must_use]
    pub fn states(&self) -> watch::Receiver<HandleState> {
        self.life.states()
    }

    /// What has gone through it so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.counters.read()
    }

    /// Closes the local port and cuts the connections through it. Idempotent. Cancel-safe.
    ///
    /// # Errors
    /// [`Deadline`](crate::ErrorCode::Deadline).
    pub async fn close(&self, deadline: impl Into<Deadline>) -> Result<()> {
        self.life.close(deadline.into()).await
    }

    /// The wish alone, without the wait.
    pub(crate) fn ask_to_close(&self, deadline: Deadline) {
        self.life.ask_to_end(deadline);
    }

    /// Waits until it is over, as asked or not. Cancel-safe.
    pub async fn closed(&self) -> HandleState {
        self.life.over().await
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.life.ask_to_end(Deadline::secs(5));
    }
}

/// Opens the port after the destination has been dialled once.
pub(crate) async fn start(
    shared: &Arc<Shared>,
    life: &Arc<Life>,
    destination: Destination,
    options: ForwardOptions,
    deadline: Deadline,
) -> Result<Forward> {
    let begin = Box::pin(async {
        let wanted = SocketAddr::new(options.bind, options.port);
        life.progress(1, 3, format!("opening a local port for {destination}"));
        let listener = Listener::bind(wanted, destination.protocol).await.map_err(|error| {
            Error::new(ErrorCode::LocalAddress, format!("{wanted} cannot be opened on this machine: {error}"))
                .on(wanted.to_string())
                .try_this("name another port, or none for a free one")
                .because(error)
        })?;
        let address = listener.local_addr().map_err(|error| {
            Error::new(ErrorCode::LocalAddress, "the local port has no address").because(error)
        })?;
        life.progress(2, 3, "reaching the gateway");
        let route = Arc::new(Route {
            shared: shared.clone(),
            life: life.clone(),
            resolver: Resolver::new(destination.clone()),
            counters: shared.flows.handle(life.id(), "forward", destination.protocol),
            name: destination.to_string().into(),
            port: address.port(),
            ending: CancellationToken::new(),
            _gateway: shared.gateway.user(),
        });
        shared.gateway.link(shared, deadline).await?;
        life.progress(3, 3, format!("dialling {destination}"));
        // Dropped at once: only whether it opens counts.
        match destination.protocol {
            Protocol::Tcp => drop(route.dial(None, deadline).await?),
            Protocol::Udp => drop(route.associate(deadline).await?),
        }
        Ok::<_, Error>((listener, address, route))
    });
    let (listener, address, route) = tokio::select! {
        begun = begin => begun?,
        _ = life.end_wanted() => return Err(Error::closed("the forward's start was cancelled; it")),
        () = tokio::time::sleep_until(deadline.instant()) => return Err(Error::deadline("the start of the forward")),
    };
    life.set(HandleState::Active);
    let counters = route.counters.clone();
    shared.tasks.spawn("forward", serve(listener, route, options.connections));
    Ok(Forward { life: life.clone(), address, destination, counters })
}

/// The way from a local connection to the destination.
struct Route {
    shared: Arc<Shared>,
    life: Arc<Life>,
    resolver: Resolver,
    counters: Counters,
    /// The destination, for people.
    name: Arc<str>,
    /// The local one.
    port: u16,
    /// Ends the connections that are open.
    ending: CancellationToken,
    /// While there is a forward, a gateway that is lost is replaced.
    _gateway: User,
}

/// The local port.
#[derive(Debug)]
enum Listener {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

impl Listener {
    async fn bind(address: SocketAddr, protocol: Protocol) -> io::Result<Self> {
        match protocol {
            Protocol::Tcp => TcpListener::bind(address).await.map(Self::Tcp),
            Protocol::Udp => UdpSocket::bind(address).await.map(Self::Udp),
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr(),
            Self::Udp(socket) => socket.local_addr(),
        }
    }

    /// Takes what comes, for ever.
    async fn serve(self, route: Arc<Route>, most: usize) {
        match self {
            Self::Tcp(listener) => accept(&listener, &route, &Arc::new(Semaphore::new(most))).await,
            Self::Udp(socket) => datagrams::serve(Arc::new(socket), &route, most).await,
        }
    }
}

/// Takes connections until the end is asked for, and tells how the way to the cluster stands.
async fn serve(listener: Listener, route: Arc<Route>, most: usize) {
    let _guard = route.life.guard();
    let mut health = route.shared.gateway.health();
    health.mark_changed();
    let taking = async {
        let mut accepting = std::pin::pin!(listener.serve(route.clone(), most));
        loop {
            tokio::select! {
                _ = route.life.end_wanted() => {
                    // Before the port goes: what ends with it is closed, and not idle.
                    route.ending.cancel();
                    break;
                }
                Ok(()) = health.changed() => route.life.set(match &*health.borrow_and_update() {
                    Health::Up => HandleState::Active,
                    Health::Down(reason) => HandleState::Degraded(reason.clone()),
                }),
                () = &mut accepting => {}
            }
        }
    };
    // With it the local port is closed.
    taking.await;
    route.life.end(HandleState::Closed, Ok(()));
}

/// Takes connections for ever. Callers beyond the most there may be, or for whom no descriptor is left, wait in the
/// kernel's queue.
async fn accept(listener: &TcpListener, route: &Arc<Route>, places: &Arc<Semaphore>) {
    let mut short = false;
    loop {
        // The semaphore is never closed.
        let Ok(place) = places.clone().acquire_owned().await else { return };
        if !descriptors::are_left(listener) {
            if !std::mem::replace(&mut short, true) {
                tracing::warn!(
                    limit = descriptors::limit(),
                    "descriptors run out: local connections wait until others end; raise the limit (ulimit -n)"
                );
            }
            drop(place);
            tokio::time::sleep(BREATH).await;
            continue;
        }
        match listener.accept().await {
            Ok((socket, from)) => {
                short = false;
                let counted = route.begin(from);
                let task = route.clone().connection(socket, counted);
                route.shared.tasks.spawn("forwarded connection", async move {
                    task.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "a local connection could not be accepted");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

impl Route {
    /// A flow of this caller's.
    fn begin(&self, from: SocketAddr) -> Counted {
        self.counters.begin(from, &self.name, self.port)
    }

    async fn connection(self: Arc<Self>, socket: TcpStream, counted: Counted) {
        let through = async {
            let mut early = Early::default();
            // Boxed: a connection waits for most of its life, and need not hold what opened it.
            match Box::pin(self.dial(Some((&socket, &mut early)), Deadline::after(GATEWAY))).await {
                Ok(stream) => {
                    let _ = socket.set_nodelay(true);
                    let (early, tally) = (early.len() as u64, counted.tally());
                    tally.sent.fetch_add(early, Ordering::Relaxed);
                    let flow = relay_tallied(stream, socket, std::future::pending(), tally).await;
                    tracing::debug!(sent = early + flow.sent, received = flow.received, end = ?flow.end, "connection ended");
                    FlowEnd::of(flow.end)
                }
                Err(error) => {
                    tracing::debug!(error = error.report(), "a forwarded connection was refused");
                    // The caller shall see a reset, not an orderly end.
                    let _ = socket.set_zero_linger();
                    if has_reset(&socket) { FlowEnd::GivenUp } else { never_opened(&error) }
                }
            }
        };
        let end = tokio::select! {
            biased;
            () = self.ending.cancelled() => FlowEnd::Closed,
            end = through => end,
        };
        counted.end(end);
    }

    /// A stream whose far end has dialled the destination. What the caller says before that goes along.
    async fn dial(&self, mut caller: Option<Caller<'_>>, deadline: Deadline) -> Result<Stream> {
        let (mut place, mut fresh) = self.resolver.place(&self.shared.cluster, false, deadline).await?;
        loop {
            let link = self.shared.gateway.link(&self.shared, deadline).await?;
            match self.open(&link, place.clone(), caller.as_mut(), deadline).await {
                // It may have arrived, and must not arrive twice.
                Err(error) if !may_be_tried_again(&error, caller.as_ref()) => return Err(error),
                // The pod may have been replaced since it was looked up.
                Err(error) if !fresh && matches!(error.code(), ErrorCode::Refused | ErrorCode::Deadline) => {
                    (place, fresh) = self.resolver.place(&self.shared.cluster, true, deadline).await?;
                }
                // Not the destination, but the gateway is gone or about to go: the next one may do.
                Err(_) if !link.is_usable() && deadline.left() > BREATH => tokio::time::sleep(BREATH).await,
                other => return other,
            }
        }
    }

    async fn open(
        &self,
        link: &Link,
        (host, port): (String, u16),
        caller: Option<&mut Caller<'_>>,
        deadline: Deadline,
    ) -> Result<Stream> {
        let limit = deadline.left().min(DIAL);
        let open = Open::Dial { host: host.clone(), port, deadline: limit };
        // While the link bears nothing, the destination has not been asked yet.
        let opening = async {
            match caller {
                Some((socket, early)) => link.open_for(open, socket, early).await,
                None => link.open(open).await,
            }
        };
        match tokio::time::timeout_at(deadline.instant(), opening).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(refused(self.resolver.destination(), &host, error)),
            Err(_) => Err(Error::deadline(format_args!(
                "dialling {} from the cluster",
                self.resolver.destination()
            ))),
        }
    }
}

/// A local connection, and what it said so far.
type Caller<'a> = (&'a TcpStream, &'a mut Early);

/// Whether nothing that the caller said can have come to the destination.
fn may_be_tried_again(error: &Error, caller: Option<&Caller<'_>>) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<OpenError>());
    caller.is_none_or(|(_, early)| !early.may_have_arrived()) || matches!(source, Some(OpenError::Refused(_)))
}
