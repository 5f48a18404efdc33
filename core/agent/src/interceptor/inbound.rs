//! A caller's connection, led to the client.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::FutureExt;
use kubetether_link::{Link, OpenError, Stream, StreamReset, relay};
use kubetether_wire::{Open, RefusalCode, ResetCode};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::listener::refuse;
use super::route::Armed;
use crate::flows::{Counted, FlowGuard};
use crate::step::Step;

/// What became of a connection that was offered to the client.
#[derive(Debug)]
pub(super) enum Offered {
    /// The client has accepted it.
    Taken(Taken),
    /// The client is lost, is leaving or cannot take it: the original can.
    Lost(TcpStream),
    /// It has ended.
    Ended,
}

/// A connection that the client has accepted. No byte has passed yet.
#[derive(Debug)]
pub(super) struct Taken {
    client: Arc<Armed>,
    stream: Stream,
    socket: TcpStream,
    counted: Counted,
}

/// What came first on a connection.
#[derive(Debug)]
pub(super) enum First {
    /// A byte or the end of either side; what was taken of the client's.
    Seen(Vec<u8>),
    /// The client was lost: the original can still have the connection.
    Lost,
    /// The connection was cut behind the client.
    Cut,
}

/// How long a client may take to answer, though its link is up: its target may be slow to accept.
const OPEN: Duration = Duration::from_secs(30);
/// The first bytes that are taken from the client at once.
const FIRST: usize = 4096;

/// Offers a connection to the client.
pub(super) async fn offer(client: Arc<Armed>, port: u16, socket: TcpStream) -> Offered {
    let (Ok(from), Ok(to)) = (socket.peer_addr(), socket.local_addr()) else {
        // Reset in the meantime.
        return Offered::Ended;
    };
    let counted = client.count();
    tokio::select! {
        biased;
        opened = timeout(OPEN, open(client.link(), Open::Inbound { port, from, to })) => match opened {
            Ok(Opened::Accepted(stream)) => {
                Offered::Taken(Taken { client: Arc::clone(&client), stream, socket, counted })
            }
            Ok(Opened::PassOn) => Offered::Lost(socket),
            Ok(Opened::Refused) => {
                refuse(&socket);
                Offered::Ended
            }
            Err(_) => {
                tracing::warn!(port, "the client did not answer for a connection: it goes to the originals");
                Offered::Lost(socket)
            }
        },
        () = client.lost() => Offered::Lost(socket),
    }
}

enum Opened {
    Accepted(Stream),
    Refused,
    PassOn,
}

async fn open(link: &Link, open: Open) -> Opened {
    match link.open(open).await {
        Ok(stream) => Opened::Accepted(stream),
        Err(error) if is_of_the_endpoint(&error) => {
            tracing::debug!(%error, "the client's endpoint refused a connection");
            Opened::Refused
        }
        Err(error) => {
            tracing::debug!(%error, "the client cannot take a connection: it goes to the originals");
            Opened::PassOn
        }
    }
}

/// Whether it is the answer of what the client leads connections to; a caller gets it as it would there. Everything else is
/// about the client or the way to it, and no reason to answer a caller worse than the originals do.
fn is_of_the_endpoint(error: &OpenError) -> bool {
    match error {
        OpenError::Refused(refusal) => matches!(
            refusal.code,
            RefusalCode::Refused
                | RefusalCode::Unreachable
                | RefusalCode::TimedOut
                | RefusalCode::NameNotFound
        ),
        OpenError::Reset(code) => is_of_the_connection(*code),
        OpenError::Closed(_) | OpenError::TooMany(_) | OpenError::Invalid(_) => false,
    }
}

impl Taken {
    /// Waits for the first byte of either side, or for the loss of the client.
    pub(super) async fn first(&mut self) -> First {
        let Self { client, stream, socket, .. } = self;
        let seen = poll_fn(|cx| {
            if let Poll::Ready(bytes) = first_bytes(stream, cx) {
                return Poll::Ready(bytes);
            }
            // Its end and a reset too: the relay finds them.
            socket.poll_peek(cx, &mut ReadBuf::new(&mut [0])).map(|_| Ok(Vec::new()))
        });
        tokio::select! {
            biased;
            () = client.lost() => First::Lost,
            seen = seen => match seen {
                Ok(bytes) => First::Seen(bytes),
                Err(error) if StreamReset::of(&error).is_some_and(is_of_the_connection) => First::Cut,
                Err(_) => First::Lost,
            },
        }
    }

    /// The caller's socket; the client is told that nobody is there any more.
    pub(super) fn into_socket(self) -> TcpStream {
        self.socket
    }

    /// Joins the two, with what came first, until both directions have ended. From now on it waits for the client to
    /// come back when it is lost, until the link's grace ends.
    pub(super) async fn join(self, first: Vec<u8>, flow: FlowGuard) -> Option<Step> {
        let Self { stream, mut socket, counted, .. } = self;
        if !first.is_empty() && socket.write_all(&first).await.is_err() {
            stream.reset(ResetCode::Reset);
            refuse(&socket);
            return None;
        }
        Some(Step::new(relay(stream, socket).map(move |ended| {
            tracing::trace!(flow = ?ended, "inbound connection ended");
            drop((counted, flow));
            None
        })))
    }
}

/// Whether the connection behind the stream was cut, not the client or its link.
fn is_of_the_connection(code: ResetCode) -> bool {
    matches!(code, ResetCode::Reset | ResetCode::TimedOut)
}

/// The first bytes of a stream; empty at its end. Holds no memory while it waits: many connections wait here.
fn first_bytes(stream: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<Vec<u8>>> {
    let mut space = [0; FIRST];
    let mut buffer = ReadBuf::new(&mut space);
    ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
    Poll::Ready(Ok(buffer.filled().to_vec()))
}

#[cfg(test)]
mod tests {
    use kubetether_wire::{CloseReason, Refusal};

    use super::*;

    #[test]
    fn only_the_answer_of_the_endpoint_is_passed_to_the_caller() {
        use RefusalCode::{NameNotFound, Refused, TimedOut, Unreachable};
        let of_the_endpoint = [Refused, Unreachable, TimedOut, NameNotFound];
        for code in RefusalCode::KNOWN.iter().copied().chain([RefusalCode::Other(99)]) {
            let error = OpenError::Refused(Refusal::new(code, ""));
            assert_eq!(is_of_the_endpoint(&error), of_the_endpoint.contains(&code), "{code}");
        }
        for code in ResetCode::KNOWN.iter().copied().chain([ResetCode::Other(99)]) {
            let expected = matches!(code, ResetCode::Reset | ResetCode::TimedOut);
            assert_eq!(is_of_the_endpoint(&OpenError::Reset(code)), expected, "{code}");
        }
        for error in [OpenError::TooMany(1), OpenError::Closed(CloseReason::Lost)] {
            assert!(!is_of_the_endpoint(&error), "{error}");
        }
    }
}
