//! Connections to endpoints of this machine.

use std::io;
use std::time::Duration;

use kubetether_link::{Refusal, RefusalCode, Socket};
use tokio::net::{TcpStream, UnixStream};

use crate::Local;

/// An endpoint of this machine that has not accepted by then will not.
const CONNECT: Duration = Duration::from_secs(5);

/// Connects, or says why not in the words that travel to the caller's side.
pub(crate) async fn connect(local: &Local) -> Result<Socket, Refusal> {
    let attempt = async {
        match local {
            Local::Tcp { host, port } => {
                let socket = TcpStream::connect((host.as_str(), *port)).await?;
                socket.set_nodelay(true)?;
                Ok(Socket::from(socket))
            }
            Local::Unix(path) => UnixStream::connect(path).await.map(Socket::from),
        }
    };
    match tokio::time::timeout(CONNECT, attempt).await {
        Ok(Ok(socket)) => Ok(socket),
        Ok(Err(error)) => Err(refusal(&error)),
        Err(_) => Err(Refusal::new(RefusalCode::TimedOut, "the local endpoint does not accept")),
    }
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
