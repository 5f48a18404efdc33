//! Connections to endpoints of this machine.

mod listening;

use std::io;
use std::path::Path;
use std::time::Duration;

use kubetether_link::{Refusal, RefusalCode, Socket};
use tokio::net::{TcpSocket, TcpStream, UnixSocket, UnixStream};
use tokio::time::Instant;

pub(crate) use self::listening::Listeners;
use crate::{Local, descriptors};

/// An endpoint of this machine that has not accepted by then will not.
const CONNECT: Duration = Duration::from_secs(5);

/// Between two tries while no descriptor is left for connections.
const BREATH: Duration = Duration::from_millis(10);
/// When none has become free by then, the caller goes elsewhere.
const PATIENCE: Duration = Duration::from_secs(3);

/// Connects, or says why not in the words that travel to the caller's side. Waits while descriptors are short.
pub(crate) async fn connect(local: &Local) -> Result<Socket, Refusal> {
    let attempt = async {
        match local {
            Local::Tcp { host, port } => tcp(host, *port).await.map(Socket::from),
            Local::Unix(path) => unix(path).await.map(Socket::from),
        }
    };
    match tokio::time::timeout(CONNECT, attempt).await {
        Ok(Ok(socket)) => Ok(socket),
        Ok(Err(error)) => Err(refusal(&error)),
        Err(_) => Err(Refusal::new(RefusalCode::TimedOut, "the local endpoint does not accept")),
    }
}

async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address"));
    for address in tokio::net::lookup_host((host, port)).await? {
        let socket =
            spared(|| if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }).await?;
        match socket.connect(address).await {
            Ok(socket) => {
                socket.set_nodelay(true)?;
                return Ok(socket);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn unix(path: &Path) -> io::Result<UnixStream> {
    spared(UnixSocket::new_stream).await?.connect(path).await
}

/// A socket whose descriptor is not one of those left to carriers and requests, as soon as there is one.
async fn spared<S: descriptors::Open>(new: impl Fn() -> io::Result<S>) -> io::Result<S> {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        match new() {
            Ok(socket) if descriptors::is_for_connections(&socket) => return Ok(socket),
            Ok(_) => {}
            Err(error) if error.raw_os_error() == Some(EMFILE) => {}
            Err(error) => return Err(error),
        }
        tokio::time::sleep(BREATH).await;
    }
    tracing::debug!(limit = descriptors::limit(), "no descriptor is left for a connection");
    Err(io::Error::from_raw_os_error(EMFILE))
}

fn refusal(error: &io::Error) -> Refusal {
    let code = match error.kind() {
        // A unix socket that is not there is a server that is not listening.
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => RefusalCode::Refused,
        io::ErrorKind::TimedOut => RefusalCode::TimedOut,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => RefusalCode::Unreachable,
        _ if error.raw_os_error() == Some(EMFILE) => RefusalCode::Limit,
        _ => RefusalCode::Internal,
    };
    if code == RefusalCode::Limit {
        let limit = descriptors::limit();
        let text = format!("the client has no descriptor left for it (of {limit}; ulimit -n raises that)");
        return Refusal::new(code, text);
    }
    Refusal::new(code, error.to_string())
}

/// "Too many open files", the same number on Linux and macOS.
const EMFILE: i32 = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_listening_is_a_refusal() {
        let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let refused = connect(&Local::Tcp { host: "127.0.0.1".into(), port }).await.unwrap_err();
        assert_eq!(refused.code, RefusalCode::Refused);
        let refused = connect(&Local::Unix("/nonexistent/socket".into())).await.unwrap_err();
        assert_eq!(refused.code, RefusalCode::Refused);
    }
}
