//! One stream and one socket, joined.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io::{self, IoSlice},
    net::Shutdown,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use kubetether_wire::ResetCode;
use socket2::SockRef;
use tokio::{
    io::Interest,
    net::{TcpStream, UnixStream},
    time::Sleep,
};

use crate::{RecvStream, SendStream, Stream, StreamReset};

/// What one relayed connection did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Flow {
    /// Bytes from the socket into the stream.
    pub sent: u64,
    /// Bytes from the stream into the socket.
    pub received: u64,
    /// How it ended.
    pub end: End,
}

/// How a relayed connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Both directions were finished.
    Finished,
    /// It was brought to an end here.
    Wanted,
    /// The socket was reset or failed; the peer was told.
    SocketReset,
    /// The peer or the link cut the stream; the socket was reset.
    StreamReset(ResetCode),
}

/// A socket that can be relayed.
#[derive(Debug)]
pub enum Socket {
    /// TCP; a cut stream resets it (RST).
    Tcp(TcpStream),
    /// A unix stream socket; a cut stream closes it.
    Unix(UnixStream),
}

/// Bytes asked of the socket in one read.
const READ: usize = 64 << 10;
/// Bytes asked of the stream for one write.
const WRITE: usize = 128 << 10;
/// Slices of one vectored write.
const SLICES: usize = 16;
/// Reads, or writes, of one direction before the other has its turn: far below what tokio lets a task do at once (128), all
/// of which a direction with two quick ends would take for itself.
const TURN: usize = 8;
/// How long a socket that no longer takes bytes may still give some, and how long the last bytes of a cut stream may take to
/// be with the socket.
const LAST_BYTES: Duration = Duration::from_secs(1);

impl From<TcpStream> for Socket {
    fn from(socket: TcpStream) -> Self {
        Self::Tcp(socket)
    }
}

impl From<UnixStream> for Socket {
    fn from(socket: UnixStream) -> Self {
        Self::Unix(socket)
    }
}

/// Joins a stream and a socket until both directions have ended: half-close both ways, a reset as a reset. What came before
/// a reset is still delivered, as far as the socket takes it within a second.
///
/// When the future is dropped, both are cut.
pub fn relay(stream: Stream, socket: impl Into<Socket>) -> impl Future<Output = Flow> + Send {
    run(stream, socket.into(), std::future::pending(), None)
}

/// [`relay`] that is brought to an orderly end when `end` is ready: the peer is told that no more comes, and the socket
/// gets what still arrives for it within a second. Such an end is [`End::Wanted`]. Adds bytes to `tally` as they move.
///
/// When the future is dropped, both are cut.
pub fn relay_tallied(
    stream: Stream,
    socket: impl Into<Socket>,
    end: impl Future<Output = ()> + Send,
    tally: Arc<Tally>,
) -> impl Future<Output = Flow> + Send {
    run(stream, socket.into(), end, Some(tally))
}

/// Bytes that a flow has moved so far.
#[derive(Debug, Default)]
pub struct Tally {
    /// From sockets into streams.
    pub sent: AtomicU64,
    /// From streams into sockets.
    pub received: AtomicU64,
}

fn run(
    stream: Stream,
    socket: Socket,
    end: impl Future<Output = ()> + Send,
    tally: Option<Arc<Tally>>,
) -> impl Future<Output = Flow> + Send {
    // From now on until both have ended, also when this is never polled: nobody may take half of a flow for all of it.
    socket.reset_on_drop(true);
    let mut both = Both::new(stream, tally);
    // What is captured is used where it lies: a flow waits for most of its life, and thousands do.
    async move {
        let outcome = {
            let (mut end, mut failed) = (std::pin::pin!(end), None);
            poll_fn(|cx| both.poll(cx, &socket, end.as_mut(), &mut failed)).await
        };
        let end = match outcome {
            Ok(finished) => {
                socket.reset_on_drop(false);
                match finished {
                    Finished::BySocket => End::Finished,
                    Finished::Wanted => End::Wanted,
                }
            }
            Err(Failed::Socket) => {
                both.send.cut_after_data(ResetCode::Reset);
                End::SocketReset
            }
            Err(Failed::Stream(code)) => End::StreamReset(code),
        };
        Flow { sent: both.sent, received: both.received, end }
    }
}

/// Which side of a direction failed.
#[derive(Debug, Clone, Copy)]
enum Failed {
    Stream(ResetCode),
    Socket,
}

/// What ended the direction from the socket to the stream, in good order.
#[derive(Debug, Clone, Copy)]
enum Finished {
    BySocket,
    Wanted,
}

type Outcome = Result<Finished, Failed>;

/// Waits until the socket has failed. There only while that cannot be seen by reading.
type Failure<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Both directions of a flow.
struct Both {
    recv: RecvStream,
    send: SendStream,
    sent: u64,
    received: u64,
    tally: Option<Arc<Tally>>,
    /// Read from the socket and not taken by the stream yet.
    held: Bytes,
    /// Read from the stream and not taken by the socket yet.
    chunks: VecDeque<Bytes>,
    /// The socket has ended its direction, and the stream knows.
    up_done: bool,
    /// The stream has ended its direction, and the socket knows.
    down_done: bool,
    /// The stream takes nothing, so the socket is not read.
    blocked: bool,
    last: Option<Box<Last>>,
}

/// All is decided but for the last bytes of one direction.
struct Last {
    outcome: Outcome,
    /// Those from the stream to the socket; else those the other way.
    down: bool,
    /// They are not waited for any longer.
    until: Pin<Box<Sleep>>,
}

impl Both {
    fn new(stream: Stream, tally: Option<Arc<Tally>>) -> Self {
        let (recv, send) = stream.into_split();
        Self {
            recv,
            send,
            sent: 0,
            received: 0,
            tally,
            held: Bytes::new(),
            chunks: VecDeque::new(),
            up_done: false,
            down_done: false,
            blocked: false,
            last: None,
        }
    }

    fn poll<'s>(
        &mut self,
        cx: &mut Context<'_>,
        socket: &'s Socket,
        end: Pin<&mut impl Future<Output = ()>>,
        failed: &mut Option<Failure<'s>>,
    ) -> Poll<Outcome> {
        if self.last.is_none() {
            match self.poll_open(cx, socket, end, failed) {
                Poll::Ready(Some(outcome)) => return Poll::Ready(outcome),
                Poll::Ready(None) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
        let Some(last) = &mut self.last else { return Poll::Pending };
        let (outcome, down) = (last.outcome, last.down);
        if last.until.as_mut().poll(cx).is_ready() {
            return Poll::Ready(outcome);
        }
        Poll::Ready(match down {
            true => ready!(self.poll_down(cx, socket)).and(outcome),
            // Nobody can ask for an end any more: it has come.
            false => match ready!(self.poll_up(cx, socket, std::pin::pin!(std::future::pending()))) {
                Err(Failed::Stream(code)) => Err(Failed::Stream(code)),
                Ok(_) | Err(Failed::Socket) => outcome,
            },
        })
    }

    /// While nothing is decided. Ready without an outcome when only last bytes are waited for.
    fn poll_open<'s>(
        &mut self,
        cx: &mut Context<'_>,
        socket: &'s Socket,
        mut end: Pin<&mut impl Future<Output = ()>>,
        failed: &mut Option<Failure<'s>>,
    ) -> Poll<Option<Outcome>> {
        if !self.up_done
            && let Poll::Ready(up) = self.poll_up(cx, socket, end.as_mut())
        {
            self.up_done = true;
            match up {
                Ok(Finished::BySocket) => {}
                Err(Failed::Socket) => return Poll::Ready(Some(up)),
                // The stream was cut, but what came before is still read from it; a socket that takes nothing does not
                // hold it up for long.
                Ok(Finished::Wanted) | Err(Failed::Stream(_)) if !self.down_done => {
                    return self.begin_last(up, true);
                }
                Ok(Finished::Wanted) | Err(Failed::Stream(_)) => return Poll::Ready(Some(up)),
            }
        }
        if !self.down_done
            && let Poll::Ready(down) = self.poll_down(cx, socket)
        {
            self.down_done = true;
            match down {
                Ok(()) => {}
                // The socket takes no more, but what it holds is still sent.
                Err(Failed::Socket) if !self.up_done => return self.begin_last(Err(Failed::Socket), false),
                Err(failed) => return Poll::Ready(Some(Err(failed))),
            }
        }
        if self.up_done && self.down_done {
            return Poll::Ready(Some(Ok(Finished::BySocket)));
        }
        if !self.up_done && !self.blocked {
            *failed = None;
            return Poll::Pending;
        }
        // Who has ended its direction, or is not read, can still be reset, which no read tells then.
        let failed = failed.get_or_insert_with(|| Box::pin(socket.failed()));
        if failed.as_mut().poll(cx).is_ready() {
            return match self.up_done {
                true => Poll::Ready(Some(Err(Failed::Socket))),
                // What the socket holds is still sent, if that can be soon.
                false => self.begin_last(Err(Failed::Socket), false),
            };
        }
        if self.up_done {
            // The stream may be cut while the socket takes nothing.
            if let Poll::Ready(code) = self.send.poll_cut(cx) {
                return self.begin_last(Err(Failed::Stream(code)), true);
            }
            // The socket's own end has been passed on, so that only the other direction is left to be ended.
            if end.as_mut().poll(cx).is_ready() {
                return self.begin_last(Ok(Finished::Wanted), true);
            }
        }
        Poll::Pending
    }

    fn begin_last(&mut self, outcome: Outcome, down: bool) -> Poll<Option<Outcome>> {
        let until = Box::pin(tokio::time::sleep(LAST_BYTES));
        self.last = Some(Box::new(Last { outcome, down, until }));
        Poll::Ready(None)
    }

    /// From the socket to the stream.
    fn poll_up(
        &mut self,
        cx: &mut Context<'_>,
        socket: &Socket,
        mut end: Pin<&mut impl Future<Output = ()>>,
    ) -> Poll<Outcome> {
        self.blocked = false;
        // A read takes two rounds.
        for _ in 0..2 * TURN {
            // Both are seen also while the socket is silent or the stream has no room.
            if let Poll::Ready(code) = self.send.poll_cut(cx) {
                return Poll::Ready(Err(Failed::Stream(code)));
            }
            if end.as_mut().poll(cx).is_ready() {
                self.send.finish();
                return Poll::Ready(Ok(Finished::Wanted));
            }
            if !self.held.is_empty() {
                let sent = self.send.poll_send(cx, &mut self.held);
                self.blocked = sent.is_pending();
                ready!(sent).map_err(Failed::stream)?;
                continue;
            }
            let room = self.send.poll_room(cx);
            self.blocked = room.is_pending();
            let room = ready!(room).map_err(Failed::stream)?;
            let read = ready!(socket.poll_read(cx, room.min(READ))).map_err(|_| Failed::Socket)?;
            let Some(bytes) = read else {
                self.send.finish();
                return Poll::Ready(Ok(Finished::BySocket));
            };
            self.sent += bytes.len() as u64;
            if let Some(tally) = &self.tally {
                tally.sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            }
            self.held = bytes;
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// From the stream to the socket.
    fn poll_down(&mut self, cx: &mut Context<'_>, socket: &Socket) -> Poll<Result<(), Failed>> {
        // A write takes two rounds, and more where the chunks are many and small.
        for _ in 0..2 * TURN {
            if !self.chunks.is_empty() {
                let written = ready!(socket.poll_write(cx, &self.chunks)).map_err(|_| Failed::Socket)?;
                self.received += written as u64;
                if let Some(tally) = &self.tally {
                    tally.received.fetch_add(written as u64, Ordering::Relaxed);
                }
                advance(&mut self.chunks, written);
                continue;
            }
            let taken = self.recv.poll_chunks(cx, &mut self.chunks, WRITE);
            if taken.is_pending() {
                // A flow that waits holds nothing.
                self.chunks = VecDeque::new();
            }
            if !ready!(taken).map_err(Failed::stream)? {
                // One that is no longer connected has nobody to tell.
                let _ = socket.shutdown();
                return Poll::Ready(Ok(()));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

fn advance(chunks: &mut VecDeque<Bytes>, mut written: usize) {
    while let Some(front) = chunks.front_mut() {
        if front.len() > written {
            front.advance(written);
            return;
        }
        written -= front.len();
        chunks.pop_front();
    }
}

impl Failed {
    fn stream(error: io::Error) -> Self {
        Self::Stream(StreamReset::of(&error).unwrap_or(ResetCode::Internal))
    }
}

impl Socket {
    /// Reads at most `most` bytes; `None` at the end. No buffer is held while it waits.
    fn poll_read(&self, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<Option<Bytes>>> {
        loop {
            ready!(match self {
                Self::Tcp(socket) => socket.poll_read_ready(cx),
                Self::Unix(socket) => socket.poll_read_ready(cx),
            })?;
            let mut buffer = BytesMut::with_capacity(most);
            let read = match self {
                Self::Tcp(socket) => socket.try_read_buf(&mut buffer),
                Self::Unix(socket) => socket.try_read_buf(&mut buffer),
            };
            match read {
                Ok(0) => return Poll::Ready(Ok(None)),
                // A little in a big buffer would keep all of it alive until it is acknowledged; what is held is counted by
                // its bytes.
                Ok(read) if read < most / 4 * 3 => {
                    return Poll::Ready(Ok(Some(Bytes::copy_from_slice(&buffer))));
                }
                Ok(_) => return Poll::Ready(Ok(Some(buffer.freeze()))),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Whether dropping the socket resets the connection. A unix socket knows no reset.
    fn reset_on_drop(&self, reset: bool) {
        if let Self::Tcp(socket) = self {
            // Fails on a connection that is gone already: nobody is left to be told then.
            let _ = SockRef::from(socket).set_linger(reset.then_some(Duration::ZERO));
        }
    }

    /// Waits until the connection has failed, which a socket that is read to its end tells nowhere else.
    async fn failed(&self) {
        let ready = match self {
            Self::Tcp(socket) => socket.ready(Interest::ERROR).await,
            // Knows no reset; that its peer has gone shows in the next write.
            Self::Unix(_) => std::future::pending().await,
        };
        // An error means that the runtime ends, and this with it.
        let _ = ready;
    }

    /// Sends FIN.
    fn shutdown(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => SockRef::from(socket).shutdown(Shutdown::Write),
            Self::Unix(socket) => SockRef::from(socket).shutdown(Shutdown::Write),
        }
    }

    fn poll_write(&self, cx: &mut Context<'_>, chunks: &VecDeque<Bytes>) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut count = 0;
        for (slice, chunk) in slices.iter_mut().zip(chunks) {
            *slice = IoSlice::new(chunk);
            count += 1;
        }
        loop {
            ready!(match self {
                Self::Tcp(socket) => socket.poll_write_ready(cx),
                Self::Unix(socket) => socket.poll_write_ready(cx),
            })?;
            let written = match self {
                Self::Tcp(socket) => socket.try_write_vectored(&slices[..count]),
                Self::Unix(socket) => socket.try_write_vectored(&slices[..count]),
            };
            match written {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => return Poll::Ready(written),
            }
        }
    }
}
