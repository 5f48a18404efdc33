//! Connecting to something in the cluster: every address of it, with a deadline, and with the true reason
//! when it fails.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use kubetether_wire::{Refusal, RefusalCode};
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::resolve::{ResolveError, Resolver};

mod local;

/// When the next address is tried beside one that has not answered yet (RFC 8305 recommends 250 ms).
pub(crate) const STAGGER: Duration = Duration::from_millis(250);
/// A name with more addresses than this is not tried through to the end.
const ADDRESSES: usize = 16;

/// Why a connection could not be made.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{code}: {text}")]
pub(crate) struct DialError {
    pub(crate) code: RefusalCode,
    pub(crate) text: String,
}

impl From<DialError> for Refusal {
    fn from(error: DialError) -> Self {
        Self::new(error.code, error.text)
    }
}

/// Connects to `host`, a name or an address. Cancel-safe.
pub(crate) async fn host(
    resolver: &Resolver,
    host: &str,
    port: u16,
    deadline: Instant,
) -> Result<TcpStream, DialError> {
    let addresses = addresses(resolver, host, port, deadline).await?;
    any(&addresses, STAGGER, deadline)
        .await
        .map_err(|error| DialError { text: format!("{host}: {}", error.text), ..error })
}

/// A UDP socket for `host`, a name or an address: connected to the first of its addresses that there is a way to. Cancel-safe.
pub(crate) async fn datagrams(
    resolver: &Resolver,
    host: &str,
    port: u16,
    deadline: Instant,
) -> Result<UdpSocket, DialError> {
    let mut worst = None;
    for address in addresses(resolver, host, port, deadline).await?.into_iter().take(ADDRESSES) {
        match associate(address) {
            Ok(socket) => return Ok(socket),
            Err(error) => {
                let text = format!("{host}: {address}: {error}");
                keep(&mut worst, DialError { code: io_code(&error), text });
            }
        }
    }
    Err(worst.unwrap_or_else(|| DialError {
        code: RefusalCode::NameNotFound,
        text: format!("{host}: there is no address to send to"),
    }))
}

/// A socket that sends to this address and hears from it alone.
pub(crate) fn associate(to: SocketAddr) -> io::Result<UdpSocket> {
    let any = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = std::net::UdpSocket::bind(SocketAddr::new(any, 0))?;
    socket.connect(to)?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

/// The addresses to try, in order.
async fn addresses(
    resolver: &Resolver,
    host: &str,
    port: u16,
    deadline: Instant,
) -> Result<Vec<SocketAddr>, DialError> {
    match timeout_at(deadline, resolver.addresses(host)).await {
        Ok(Ok(found)) => Ok(alternating(&found).map(|address| SocketAddr::new(address, port)).collect()),
        Ok(Err(error)) => Err(DialError { code: resolve_code(&error), text: format!("{host}: {error}") }),
        Err(_) => Err(DialError {
            code: RefusalCode::TimedOut,
            text: format!("{host}: no address within the deadline"),
        }),
    }
}

/// Connects to the first of `addresses` that answers, trying them in order: the next when one has failed, or has
/// not answered for `patience`. Cancel-safe.
pub(crate) async fn any(
    addresses: &[SocketAddr],
    patience: Duration,
    deadline: Instant,
) -> Result<TcpStream, DialError> {
    if let [only] = addresses {
        // Of a Service, or of an address as such: there is nobody to take turns with.
        return connect(*only, deadline).await;
    }
    let mut trying = JoinSet::new();
    let mut worst: Option<DialError> = None;
    for address in addresses.iter().take(ADDRESSES).copied() {
        trying.spawn(connect(address, deadline));
        let next = Instant::now() + patience;
        tokio::select! {
            Some(result) = trying.join_next() => match result {
                Ok(Ok(socket)) => return Ok(socket),
                Ok(Err(error)) => keep(&mut worst, error),
                Err(error) => tracing::error!(%error, "a connection attempt panicked"),
            },
            () = sleep_until(next.min(deadline)) => {}
        }
    }
    while let Some(result) = trying.join_next().await {
        match result {
            Ok(Ok(socket)) => return Ok(socket),
            Ok(Err(error)) => keep(&mut worst, error),
            Err(error) => tracing::error!(%error, "a connection attempt panicked"),
        }
    }
    Err(worst.unwrap_or_else(|| DialError {
        code: RefusalCode::NameNotFound,
        text: "there is no address to connect to".to_owned(),
    }))
}

async fn connect(address: SocketAddr, deadline: Instant) -> Result<TcpStream, DialError> {
    match timeout_at(deadline, local::connect(address)).await {
        Ok(Ok(socket)) => {
            // Only a hint; without it small writes are slower.
            let _ = socket.set_nodelay(true);
            Ok(socket)
        }
        Ok(Err(error)) => Err(DialError { code: io_code(&error), text: format!("{address}: {error}") }),
        Err(_) => Err(DialError {
            code: RefusalCode::TimedOut,
            text: format!("{address}: no answer within the deadline"),
        }),
    }
}

/// Of several failures the one that says most about the destination is told: that something is there and
/// refuses, before silence, before having no route (no IPv6 in the pod, for example).
fn keep(worst: &mut Option<DialError>, error: DialError) {
    const TELLING: [RefusalCode; 4] =
        [RefusalCode::Refused, RefusalCode::NotAllowed, RefusalCode::TimedOut, RefusalCode::Unreachable];
    let rank = |code| TELLING.iter().position(|known| *known == code).unwrap_or(TELLING.len());
    if worst.as_ref().is_none_or(|kept| rank(error.code) < rank(kept.code)) {
        *worst = Some(error);
    }
}

fn resolve_code(error: &ResolveError) -> RefusalCode {
    match error {
        ResolveError::NotFound => RefusalCode::NameNotFound,
        ResolveError::TimedOut => RefusalCode::TimedOut,
        ResolveError::Settings { .. } | ResolveError::Failed(_) => RefusalCode::Internal,
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "of all kinds of the standard library a few say something here"
)]
fn io_code(error: &io::Error) -> RefusalCode {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => RefusalCode::Refused,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => RefusalCode::Unreachable,
        io::ErrorKind::TimedOut => RefusalCode::TimedOut,
        // A network policy that is enforced by a packet filter of the node.
        io::ErrorKind::PermissionDenied => RefusalCode::NotAllowed,
        // No local port, no descriptor.
        io::ErrorKind::AddrNotAvailable => RefusalCode::Limit,
        _ if out_of_descriptors(error) => RefusalCode::Limit,
        _ => RefusalCode::Internal,
    }
}

/// Whether this process or the node has no descriptors left.
fn out_of_descriptors(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(rustix::io::Errno::from_raw_os_error);
    matches!(errno, Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE))
}

/// IPv4 and IPv6 in turns, each in the order given, so that a family without a route costs little.
fn alternating(addresses: &[IpAddr]) -> impl Iterator<Item = IpAddr> {
    let (v4, v6): (Vec<IpAddr>, Vec<IpAddr>) = addresses.iter().partition(|address| address.is_ipv4());
    let most = v4.len().max(v6.len());
    (0..most).flat_map(move |index| [v4.get(index).copied(), v6.get(index).copied()]).flatten()
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    #[tokio::test]
    async fn the_first_that_answers_is_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let there = listener.local_addr().unwrap();
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let socket = any(&[closed, there], STAGGER, soon()).await.unwrap();
        assert_eq!(socket.peer_addr().unwrap(), there);
    }

    #[tokio::test]
    async fn refused_is_told_as_refused() {
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let error = any(&[closed], STAGGER, soon()).await.unwrap_err();
        assert_eq!(error.code, RefusalCode::Refused);
        assert!(error.text.contains(&closed.to_string()), "{error}");
        let none = any(&[], STAGGER, soon()).await.unwrap_err();
        assert_eq!(none.code, RefusalCode::NameNotFound);
    }

    #[test]
    fn families_take_turns() {
        let addresses = ["1.0.0.1", "1.0.0.2", "fd00::1"].map(|text| text.parse::<IpAddr>().unwrap());
        let order: Vec<String> = alternating(&addresses).map(|address| address.to_string()).collect();
        assert_eq!(order, ["1.0.0.1", "fd00::1", "1.0.0.2"]);
    }

    #[test]
    fn the_most_telling_failure_is_kept() {
        let error = |code| DialError { code, text: String::new() };
        let mut worst = None;
        for code in [RefusalCode::Unreachable, RefusalCode::Refused, RefusalCode::TimedOut] {
            keep(&mut worst, error(code));
        }
        assert_eq!(worst.unwrap().code, RefusalCode::Refused);
    }
}
