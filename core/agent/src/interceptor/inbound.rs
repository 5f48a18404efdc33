//! A caller's connection, led to the client.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use kubetether_link::{Link, OpenError, Stream, StreamReset, relay};
use kubetether_wire::{Open, RefusalCode, ResetCode};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::listener::refuse;
use super::route::Armed;

/// What became of a connection.
#[derive(Debug)]
pub(super) enum Inbound {
    /// It has ended.
    Ended,
    /// The client was lost, is leaving or cannot take it, and no byte has passed: the original can.
    Lost(TcpStream),
}

/// How long a client may take to answer, though its link is up: its target may be slow to accept.
const OPEN: Duration = Duration::from_secs(30);
/// The first bytes that are taken from the client at once.
const FIRST: usize = 4096;

/// Leads one connection to the client, until it has ended or the client is lost before the first byte. After the
/// first byte it waits for the link to come back, until the link's grace ends.
pub(super) async fn serve(client: &Armed, port: u16, socket: TcpStream) -> Inbound {
    let (Ok(from), Ok(to)) = (socket.peer_addr(), socket.local_addr()) else {
        // Reset in the meantime.
        return Inbound::Ended;
    };
    let _counted = client.count();
    let stream = tokio::select! {
        biased;
        opened = timeout(OPEN, open(client.link(), Open::Inbound { port, from, to })) => match opened {
            Ok(Opened::Accepted(stream)) => stream,
            Ok(Opened::PassOn) => return Inbound::Lost(socket),
            Ok(Opened::Refused) => {
                refuse(&socket);
                return Inbound::Ended;
            }
            Err(_) => {
                tracing::warn!(port, "the client did not answer for a connection: it goes to the originals");
                return Inbound::Lost(socket);
            }
        },
        () = client.lost() => return Inbound::Lost(socket),
    };
    joined(client, stream, socket).await
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

/// Waits for the first byte of either side, or for the end of the link; then joins for good.
async fn joined(client: &Armed, mut stream: Stream, mut socket: TcpStream) -> Inbound {
    let (mut first, mut byte) = (None, [0]);
    tokio::select! {
        biased;
        () = client.lost() => return Inbound::Lost(socket),
        result = first_bytes(&mut stream) => match result {
            Ok(bytes) => first = Some(bytes),
            Err(error) if StreamReset::of(&error).is_some_and(is_of_the_connection) => {
                refuse(&socket);
                return Inbound::Ended;
            }
            Err(_) => return Inbound::Lost(socket),
        },
        // Its end and a reset too: the relay finds them. (`readable` also returns for nothing at times.)
        _ = socket.peek(&mut byte) => {}
    }
    if let Some(bytes) = first
        && !bytes.is_empty()
        && socket.write_all(&bytes).await.is_err()
    {
        stream.reset(ResetCode::Reset);
        refuse(&socket);
        return Inbound::Ended;
    }
    let flow = relay(stream, socket).await;
    tracing::trace!(?flow, "inbound connection ended");
    Inbound::Ended
}

/// Whether the connection behind the stream was cut, not the client or its link.
fn is_of_the_connection(code: ResetCode) -> bool {
    matches!(code, ResetCode::Reset | ResetCode::TimedOut)
}

/// The first bytes of a stream; empty at its end. Holds no memory while it waits: many connections wait here.
/// Cancel-safe.
async fn first_bytes(stream: &mut Stream) -> io::Result<Vec<u8>> {
    std::future::poll_fn(|cx: &mut Context<'_>| {
        let mut space = [0; FIRST];
        let mut buffer = ReadBuf::new(&mut space);
        ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().to_vec()))
    })
    .await
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
