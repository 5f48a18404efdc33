//! Accepting the Service's connections, and leading each to where it belongs.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::inbound::{self, Inbound};
use super::proof::Held;
use super::{Interceptor, original};
use crate::config::Port;
use crate::drain::Phase;
use crate::splice::{failure, splice, tune};

/// For a connection to an original.
const DIAL: Duration = Duration::from_secs(10);
/// Pause after a failed accept: doubled from the first to the last while it goes on.
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// Accepts until dropped; then all of its connections end.
pub(super) async fn serve(interceptor: Arc<Interceptor>, port: Arc<Port>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    let mut pause = PAUSES.0;
    loop {
        // The place is taken before the connection: more than fit wait in the kernel.
        let accept = async {
            let room = interceptor.shared.flows.room().await;
            (room, listener.accept().await)
        };
        tokio::select! {
            (room, accepted) = accept => match (room, accepted) {
                (Some(room), Ok((socket, _))) => {
                    pause = PAUSES.0;
                    let (interceptor, port) = (Arc::clone(&interceptor), Arc::clone(&port));
                    let flow = room.occupy();
                    connections.spawn(async move {
                        lead(&interceptor, &port, socket).await;
                        drop(flow);
                    });
                }
                (_, Err(error)) if is_of_one_connection(&error) => {}
                (_, Err(error)) => {
                    tracing::warn!(%error, port = port.number, "cannot accept connections; trying again");
                    sleep(pause).await;
                    pause = (pause * 2).min(PAUSES.1);
                }
                // The count of connections never closes.
                (None, Ok(_)) => return,
            },
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "the task of a connection panicked");
                }
            }
        }
    }
}

/// The caller was gone before we came to it: nothing is wrong here.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

async fn lead(interceptor: &Interceptor, port: &Port, socket: TcpStream) {
    tune(&socket);
    let socket = match interceptor.proofs.hold(port.number, socket).await {
        Held::Caller(socket) => socket,
        Held::Proof => return,
    };
    let client = if interceptor.shared.drain.phase() == Phase::Serving {
        interceptor.routes.client_for(port.number)
    } else {
        None
    };
    let socket = match client {
        Some(client) => match inbound::serve(&client, port.number, socket).await {
            Inbound::Ended => return,
            Inbound::Lost(socket) => socket,
        },
        None => socket,
    };
    pass_through(interceptor, port, socket).await;
}

async fn pass_through(interceptor: &Interceptor, port: &Port, socket: TcpStream) {
    let caller = match socket.peer_addr() {
        Ok(caller) => caller.ip(),
        // Reset in the meantime.
        Err(_) => return,
    };
    let deadline = Instant::now() + DIAL;
    let dialled = tokio::select! {
        biased;
        dialled = original::connect(&interceptor.shared.resolver, &port.original, Some(caller), deadline) => dialled,
        // A caller that only ends its side may still wait for an answer; one that resets does not.
        _ = failure(&socket) => {
            tracing::trace!(port = port.number, "the caller gave up while the original was dialled");
            return;
        }
    };
    match dialled {
        Ok(upstream) => {
            tune(&upstream);
            let spliced = splice(socket, upstream).await;
            tracing::trace!(port = port.number, ?spliced, "passed through");
        }
        Err(error) => {
            tracing::debug!(port = port.number, %error, "the original cannot be reached");
            refuse(&socket);
        }
    }
}

/// The caller is told as a closed port would tell it: RST, when the socket is dropped.
pub(super) fn refuse(socket: &TcpStream) {
    // A socket that cannot be told is gone already.
    let _ = socket.set_zero_linger();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_callers_own_failures_are_passed_over() {
        assert!(is_of_one_connection(&io::ErrorKind::ConnectionAborted.into()));
        let full = io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error());
        assert!(!is_of_one_connection(&full));
    }
}
