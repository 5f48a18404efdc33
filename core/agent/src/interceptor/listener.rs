//! Accepting the Service's connections, and leading each to where it belongs.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::inbound::{self, First, Offered, Taken};
use super::proof::Held;
use super::{Interceptor, original};
use crate::config::Port;
use crate::drain::Phase;
use crate::splice::{failure, splice, tune};
use crate::step::{self, Step};

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
                    connections.spawn(step::run(lead(interceptor, port, socket), room.occupy()));
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

/// The first step of a connection: to the client that has armed its port, or to the original.
fn lead(interceptor: Arc<Interceptor>, port: Arc<Port>, socket: TcpStream) -> Step {
    Step::next(async move {
        tune(&socket);
        Some(match offer(&interceptor, &port, socket).await {
            Offered::Ended => return None,
            Offered::Lost(socket) => pass_through(interceptor, port, socket),
            Offered::Taken(taken) => first(interceptor, port, taken),
        })
    })
}

/// Waits for the first byte: until then the original can have the connection when the client is lost.
fn first(interceptor: Arc<Interceptor>, port: Arc<Port>, mut taken: Taken) -> Step {
    Step::next(async move {
        match taken.first().await {
            First::Seen(bytes) => Some(Step::next(taken.join(bytes))),
            First::Cut => {
                refuse(&taken.into_socket());
                None
            }
            First::Lost => Some(pass_through(interceptor, port, taken.into_socket())),
        }
    })
}

fn pass_through(interceptor: Arc<Interceptor>, port: Arc<Port>, socket: TcpStream) -> Step {
    Step::next(async move {
        let upstream = dial(&interceptor, &port, &socket).await?;
        Some(Step::last(async move {
            let spliced = splice(socket, upstream).await;
            tracing::trace!(?spliced, "passed through");
        }))
    })
}

/// Offers a connection to the client that has armed its port, if there is one.
async fn offer(interceptor: &Interceptor, port: &Port, socket: TcpStream) -> Offered {
    let socket = match interceptor.proofs.hold(port.number, socket).await {
        Held::Caller(socket) => socket,
        Held::Proof => return Offered::Ended,
    };
    if interceptor.shared.drain.phase() > Phase::Serving {
        return Offered::Lost(socket);
    }
    match interceptor.routes.client_for(port.number) {
        Some(client) => inbound::offer(client, port.number, socket).await,
        None => Offered::Lost(socket),
    }
}

/// Connects to the original of a caller; a caller for whom there is none is refused.
async fn dial(interceptor: &Interceptor, port: &Port, socket: &TcpStream) -> Option<TcpStream> {
    // It fails when it was reset in the meantime.
    let caller = socket.peer_addr().ok()?.ip();
    let deadline = Instant::now() + DIAL;
    let dialled = tokio::select! {
        biased;
        dialled = original::connect(&interceptor.shared.resolver, &port.original, Some(caller), deadline) => dialled,
        // A caller that only ends its side may still wait for an answer; one that resets does not.
        _ = failure(socket) => {
            tracing::trace!(port = port.number, "the caller gave up while the original was dialled");
            return None;
        }
    };
    match dialled {
        Ok(upstream) => {
            tune(&upstream);
            Some(upstream)
        }
        Err(error) => {
            tracing::debug!(port = port.number, %error, "the original cannot be reached");
            refuse(socket);
            None
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
