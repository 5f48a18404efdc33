//! One stream and one socket, joined.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io::{self, IoSlice},
    net::Shutdown,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use kubetether_wire::ResetCode;
use socket2::SockRef;
use tokio::{
    io::Interest,
    net::{TcpStream, UnixStream},
    time::timeout,
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

/// Bytes asked of the socket in one read, and of the stream for one write.
const CHUNK: usize = 64 << 10;
/// Slices of one vectored write.
const SLICES: usize = 16;
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
    relay_until(stream, socket, std::future::pending())
}

/// [`relay`] that is brought to an orderly end when `end` is ready: the peer is told that no more comes, and the socket
/// gets what still arrives for it within a second. Such an end is [`End::Wanted`].
///
/// When the future is dropped, both are cut.
pub fn relay_until(
    stream: Stream,
    socket: impl Into<Socket>,
    end: impl Future<Output = ()> + Send,
) -> impl Future<Output = Flow> + Send {
    let socket = socket.into();
    // From now on until both have ended, also when this is never polled: nobody may take half of a flow for all of it.
    socket.reset_on_drop(true);
    run(stream, socket, end)
}

async fn run(stream: Stream, socket: Socket, end: impl Future<Output = ()>) -> Flow {
    let (mut recv, mut send) = stream.into_split();
    let (mut sent, mut received) = (0, 0);
    let outcome = {
        let mut up = std::pin::pin!(to_stream(&socket, &mut send, &mut sent, end));
        let mut down = std::pin::pin!(to_socket(&socket, &mut recv, &mut received));
        let (mut up_done, mut down_done) = (false, false);
        loop {
            let outcome = tokio::select! {
                up = &mut up, if !up_done => {
                    up_done = true;
                    if matches!(up, Ok(Finished::Wanted)) {
                        break match down_done {
                            true => Ok(Finished::Wanted),
                            false => timeout(LAST_BYTES, down).await.unwrap_or(Ok(())).map(|()| Finished::Wanted),
                        };
                    }
                    up.map(|_| ())
                }
                down = &mut down, if !down_done => { down_done = true; down }
                // Who has ended its direction can still be reset, which no read tells any more.
                () = socket.failed(), if up_done && !down_done => Err(Failed::Socket),
            };
            match outcome {
                Ok(()) if up_done && down_done => break Ok(Finished::BySocket),
                Ok(()) => {}
                // The stream was cut, but what came before is still read from it.
                // A socket that takes nothing does not hold it up for longer than this.
                Err(failed @ Failed::Stream(_)) if !down_done => {
                    break timeout(LAST_BYTES, down).await.unwrap_or(Ok(())).and(Err(failed));
                }
                // The socket takes no more, but what it holds is still sent.
                Err(Failed::Socket) if !up_done => {
                    break match timeout(LAST_BYTES, up).await {
                        Ok(Err(Failed::Stream(code))) => Err(Failed::Stream(code)),
                        _ => Err(Failed::Socket),
                    };
                }
                Err(failed) => break Err(failed),
            }
        }
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
            send.reset_after_data(ResetCode::Reset);
            End::SocketReset
        }
        Err(Failed::Stream(code)) => End::StreamReset(code),
    };
    Flow { sent, received, end }
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

async fn to_stream(
    socket: &Socket,
    send: &mut SendStream,
    sent: &mut u64,
    end: impl Future<Output = ()>,
) -> Result<Finished, Failed> {
    let mut end = std::pin::pin!(end);
    loop {
        let bytes = poll_fn(|cx| {
            // Both are seen also while the socket is silent or the stream has no room.
            if let Poll::Ready(code) = send.poll_cut(cx) {
                return Poll::Ready(Err(Failed::Stream(code)));
            }
            if end.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(Err(Finished::Wanted)));
            }
            let room = ready!(send.poll_room(cx)).map_err(Failed::stream)?;
            let read = ready!(socket.poll_read(cx, room.min(CHUNK))).map_err(|_| Failed::Socket)?;
            Poll::Ready(Ok(read.ok_or(Finished::BySocket)))
        })
        .await?;
        let mut bytes = match bytes {
            Ok(bytes) => bytes,
            Err(finished) => {
                send.finish();
                return Ok(finished);
            }
        };
        *sent += bytes.len() as u64;
        while !bytes.is_empty() {
            poll_fn(|cx| send.poll_send(cx, &mut bytes)).await.map_err(Failed::stream)?;
        }
    }
}

async fn to_socket(socket: &Socket, recv: &mut RecvStream, received: &mut u64) -> Result<(), Failed> {
    let (mut taken, mut chunks) = (Vec::new(), VecDeque::new());
    while poll_fn(|cx| recv.poll_chunks(cx, &mut taken, CHUNK)).await.map_err(Failed::stream)? {
        chunks.extend(taken.drain(..));
        while !chunks.is_empty() {
            let written = poll_fn(|cx| socket.poll_write(cx, &chunks)).await.map_err(|_| Failed::Socket)?;
            *received += written as u64;
            advance(&mut chunks, written);
        }
        if chunks.capacity() > 4 * SLICES {
            (taken, chunks) = (Vec::new(), VecDeque::new());
        }
    }
    // One that is no longer connected has nobody to tell.
    let _ = socket.shutdown();
    Ok(())
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
                // A little in a big buffer would keep all of it alive until it is acknowledged.
                Ok(read) if read < most / 4 => {
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
