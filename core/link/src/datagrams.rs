use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use kubetether_wire::{MAX_DATAGRAM, ResetCode, StreamError, StreamId};
use tokio::{
    io::Interest,
    net::UdpSocket,
    time::{Instant, sleep_until},
};

use crate::{StreamReset, Tally, error::io_error, shared::Shared, stream::Held};

/// A UDP association in a link: whole datagrams both ways, each once or not at all, in any order. Dropping it ends it
/// (RESET with [`ResetCode::Dropped`]). All methods take `&self`: one task may send while another receives.
#[derive(Debug)]
pub struct Datagrams {
    held: Held,
}

/// What one relayed association did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct DatagramFlow {
    /// Datagrams from the socket into the link.
    pub sent: u64,
    /// Datagrams from the link into the socket.
    pub received: u64,
    /// How it ended.
    pub end: DatagramEnd,
}

/// How a relayed association ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatagramEnd {
    /// Nothing went either way for the time given; the peer was told.
    Idle,
    /// It was brought to an end here.
    Wanted,
    /// The socket failed; the peer was told this.
    Socket(ResetCode),
    /// The peer or the link ended it.
    Peer(ResetCode),
}

/// Datagrams of one direction before the other has its turn.
const TURN: usize = 32;

/// What wakes a reader: an ICMP message alone is no datagram.
const INTEREST: Interest = Interest::READABLE.add(Interest::ERROR);

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Datagrams {
    pub(crate) fn new(shared: Arc<Shared>, id: StreamId) -> Self {
        Self { held: Held::new(shared, id) }
    }

    /// The association's number in its link, for logs.
    pub fn id(&self) -> u64 {
        self.held.id()
    }

    /// Sends one datagram of at most 65,507 bytes, at once after [`open_datagrams_early`](crate::Link::open_datagrams_early)
    /// if need be. Never waits: where there is no room, the oldest that waits is dropped and counted
    /// ([`Stats::datagrams_dropped`](crate::Stats)).
    ///
    /// # Errors
    /// `InvalidInput` when it is longer; `ConnectionReset` when the association has ended, and the kind a socket would give,
    /// with the [`Refusal`](crate::Refusal) as source, when it was refused.
    pub fn send(&self, datagram: &[u8]) -> io::Result<()> {
        if datagram.len() > MAX_DATAGRAM {
            let text = format!("a datagram of {} bytes; at most {MAX_DATAGRAM} fit", datagram.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let bytes = Bytes::copy_from_slice(datagram);
        self.held.shared().act(|state| state.link.send_datagram(self.held.id(), bytes)).map_err(io_error)
    }

    /// The next datagram. Cancel-safe. Only one task at a time may wait.
    ///
    /// # Errors
    /// As [`send`](Self::send); what came before the end is given first.
    pub async fn recv(&self) -> io::Result<Bytes> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// [`recv`](Self::recv) for those who poll.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        self.poll_next(cx).map_err(io_error)
    }

    /// Ends it: what waits to be sent is dropped, the peer gets `code`.
    pub fn close(self, code: ResetCode) {
        self.held.shared().act(|state| state.link.reset(self.held.id(), code));
    }

    /// Waits until the peer ends it, or the link is closed. Cancel-safe. Only one task at a time may wait.
    pub async fn cut(&self) -> ResetCode {
        poll_fn(|cx| self.held.poll_cut(cx)).await
    }

    pub(crate) fn poll_opened(&self, cx: &mut Context<'_>) -> Poll<Result<(), crate::OpenError>> {
        self.held.shared().poll_opened(cx, self.held.id())
    }

    fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Result<Bytes, StreamError>> {
        let id = self.held.id();
        self.held.shared().act(|state| match state.link.receive_datagram(id) {
            Ok(Some(bytes)) => Poll::Ready(Ok(bytes)),
            Ok(None) => {
                state.waiting(id).reader = Some(cx.waker().clone());
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(error)),
        })
    }
}

/// Joins an association and a connected UDP socket until `end` is ready, one of the two ends, or nothing went either way for
/// `idle`. That nobody listens behind the socket or that it cannot be reached (ICMP) ends it, and the peer is told which; a
/// datagram that the socket does not take is dropped. Adds the datagrams' bytes to `tally` as they move.
///
/// When the future is dropped, the association ends.
pub async fn relay_datagrams(
    datagrams: Datagrams,
    socket: UdpSocket,
    idle: Duration,
    end: impl Future<Output = ()> + Send,
    tally: Option<Arc<Tally>>,
) -> DatagramFlow {
    let (mut sent, mut received, mut last) = (0, 0, Instant::now());
    let count = |to_link: bool, bytes: usize| {
        if let Some(tally) = &tally {
            let side = if to_link { &tally.sent } else { &tally.received };
            side.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    };
    let mut wanted = pin!(end);
    let end = loop {
        tokio::select! {
            () = &mut wanted => break DatagramEnd::Wanted,
            readable = socket.ready(INTEREST) => {
                let taken = match readable {
                    Ok(ready) if ready.is_error() => failed(&socket).and_then(|()| take(&socket, &datagrams)),
                    Ok(_) => take(&socket, &datagrams),
                    Err(error) => Err(Taking::Socket(error)),
                };
                match taken {
                    Ok(lengths) => {
                        lengths.iter().for_each(|length| count(true, *length));
                        sent += lengths.len() as u64;
                        last = if lengths.is_empty() { last } else { Instant::now() };
                    }
                    Err(Taking::Socket(error)) => break DatagramEnd::Socket(code(&error)),
                    Err(Taking::Link(code)) => break DatagramEnd::Peer(code),
                }
            }
            datagram = datagrams.recv() => match datagram {
                Ok(bytes) => match socket.send(&bytes).await {
                    Ok(_) => {
                        count(false, bytes.len());
                        received += 1;
                        last = Instant::now();
                    }
                    Err(error) if is_of_one(&error) => {
                        tracing::debug!(%error, length = bytes.len(), "a datagram was not taken");
                    }
                    Err(error) => break DatagramEnd::Socket(code(&error)),
                },
                Err(error) => break DatagramEnd::Peer(ended(&error)),
            },
            () = sleep_until(last + idle) => break DatagramEnd::Idle,
        }
    };
    match end {
        DatagramEnd::Idle => datagrams.close(ResetCode::Idle),
        DatagramEnd::Socket(code) => datagrams.close(code),
        DatagramEnd::Wanted | DatagramEnd::Peer(_) => drop(datagrams),
    }
    DatagramFlow { sent, received, end }
}

/// Why nothing more can be taken.
enum Taking {
    Socket(io::Error),
    Link(ResetCode),
}

/// Whether the socket has met an error, which is none of its datagrams.
fn failed(socket: &UdpSocket) -> Result<(), Taking> {
    let error = || socket.take_error()?.map_or_else(|| Err(io::ErrorKind::WouldBlock.into()), Err);
    match socket.try_io(Interest::ERROR, error) {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(Taking::Socket(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Takes what a socket has, a bounded number; gives their lengths.
fn take(socket: &UdpSocket, datagrams: &Datagrams) -> Result<Vec<usize>, Taking> {
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.resize(MAX_DATAGRAM + 1, 0);
        let mut lengths = Vec::new();
        for _ in 0..TURN {
            match socket.try_recv(scratch) {
                Ok(length) => {
                    datagrams
                        .send(&scratch[..length.min(MAX_DATAGRAM)])
                        .map_err(|error| Taking::Link(ended(&error)))?;
                    lengths.push(length);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(Taking::Socket(error)),
            }
        }
        Ok(lengths)
    })
}

/// How an association ended whose methods fail like this.
fn ended(error: &io::Error) -> ResetCode {
    StreamReset::of(error).unwrap_or(ResetCode::Refused)
}

/// Whether only this datagram was not taken: too long for the way, or too many at once.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "of all kinds of the standard library a few say something here"
)]
fn is_of_one(error: &io::Error) -> bool {
    match error.kind() {
        io::ErrorKind::ConnectionRefused
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::NetworkDown
        | io::ErrorKind::ConnectionReset => false,
        // EMSGSIZE, ENOBUFS, EPERM: the next one may do.
        _ => true,
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "of all kinds of the standard library a few say something here"
)]
fn code(error: &io::Error) -> ResetCode {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => ResetCode::Refused,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable | io::ErrorKind::NetworkDown => {
            ResetCode::Unreachable
        }
        _ => ResetCode::Internal,
    }
}
