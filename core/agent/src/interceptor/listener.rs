//! Accepting the Service's connections, and leading each to where it belongs.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::inbound::{self, First, Offered, Taken};
use super::proof::Held;
use super::{Interceptor, original};
use crate::config::Port;
use crate::flows::FlowGuard;
use crate::limits::Cost;
use crate::splice::{failure, splice, tune};
use crate::step::Step;

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
            let cost = cost(&interceptor, &port);
            let room = interceptor.shared.flows.room(cost).await;
            (cost, room, listener.accept().await)
        };
        tokio::select! {
            (cost, room, accepted) = accept => match (room, accepted) {
                (Some(room), Ok((socket, _))) => {
                    pause = PAUSES.0;
                    let (interceptor, port) = (Arc::clone(&interceptor), Arc::clone(&port));
                    connections.spawn(lead(interceptor, port, cost, room.occupy(), socket));
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

/// What a connection to this port is going to cost.
fn cost(interceptor: &Interceptor, port: &Port) -> Cost {
    match interceptor.client_for(port) {
        Some(_) => Cost::JOINED,
        None => Cost::PASSED_THROUGH,
    }
}

/// The first step of a connection: to the client that has armed its port, or to the original. `cost` has been charged
/// for it.
fn lead(
    interceptor: Arc<Interceptor>,
    port: Arc<Port>,
    cost: Cost,
    flow: FlowGuard,
    socket: TcpStream,
) -> Step {
    Step::new(async move {
        tune(&socket);
        Some(match offer(&interceptor, &port, socket).await {
            Offered::Ended => return None,
            Offered::Lost(socket) => pass_through(interceptor, port, cost, flow, socket),
            Offered::Taken(taken) => first(interceptor, port, cost, flow, taken),
        })
    })
}

/// Waits for the first byte: until then the original can have the connection when the client is lost.
fn first(
    interceptor: Arc<Interceptor>,
    port: Arc<Port>,
    cost: Cost,
    flow: FlowGuard,
    mut taken: Taken,
) -> Step {
    Step::new(async move {
        match taken.first().await {
            First::Seen(bytes) => taken.join(bytes, flow).await,
            First::Cut => {
                refuse(&taken.into_socket());
                None
            }
            First::Lost => Some(pass_through(interceptor, port, cost, flow, taken.into_socket())),
        }
    })
}

fn pass_through(
    interceptor: Arc<Interceptor>,
    port: Arc<Port>,
    cost: Cost,
    flow: FlowGuard,
    socket: TcpStream,
) -> Step {
    Step::new(async move {
        let charge = match Cost::PASSED_THROUGH.0 - cost.0 {
            0 => None,
            // It was to go to a client: there may be no memory for a second socket.
            more => match interceptor.shared.flows.more(Cost(more)) {
                Some(charge) => Some(charge),
                None => {
                    tracing::debug!(port = port.number, "no memory to lead a connection to the original");
                    refuse(&socket);
                    return None;
                }
            },
        };
        let upstream = dial(&interceptor, &port, &socket).await?;
        Some(Step::new(splice(socket, upstream).map(move |spliced| {
            tracing::trace!(?spliced, "passed through");
            drop((charge, flow));
            None
        })))
    })
}

/// Offers a connection to the client that has armed its port, if there is one.
async fn offer(interceptor: &Interceptor, port: &Port, socket: TcpStream) -> Offered {
    let socket = match interceptor.proofs.hold(port.number, socket).await {
        Held::Caller(socket) => socket,
        Held::Proof => return Offered::Ended,
    };
    match interceptor.client_for(port) {
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
