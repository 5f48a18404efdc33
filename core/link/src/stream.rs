use std::{
    collections::VecDeque,
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use kubetether_wire::{Read, ResetCode, StreamError, StreamId};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{OpenError, error::io_error, shared::Shared};

/// One connection in a link, both directions. Shutting it down for writing sends FIN; dropping it with a direction still
/// open cuts both (RESET with [`ResetCode::Dropped`]).
///
/// A cut by the peer is an [`io::Error`] of kind `ConnectionReset` whose source is a [`StreamReset`](crate::StreamReset);
/// what the peer sent before is read first. A stream that was opened early and is refused fails with the kind a socket
/// would give, and the [`Refusal`](kubetether_wire::Refusal) as source.
#[derive(Debug)]
pub struct Stream {
    recv: RecvStream,
    send: SendStream,
}

/// The reading half of a [`Stream`]. When it is dropped alone, what still comes is thrown away.
#[derive(Debug)]
pub struct RecvStream {
    held: Arc<Held>,
}

/// The writing half of a [`Stream`]. When it is dropped unfinished, both directions are cut.
#[derive(Debug)]
pub struct SendStream {
    held: Arc<Held>,
    /// Finished or cut here.
    ended: bool,
}

impl Stream {
    pub(crate) fn new(shared: Arc<Shared>, id: StreamId) -> Self {
        let held = Arc::new(Held { shared, id });
        Self { recv: RecvStream { held: Arc::clone(&held) }, send: SendStream { held, ended: false } }
    }

    /// The stream's number in its link, for logs.
    pub fn id(&self) -> u64 {
        self.recv.id()
    }

    /// The two halves, each usable by a task of its own. The stream is dropped when both are.
    pub fn into_split(self) -> (RecvStream, SendStream) {
        (self.recv, self.send)
    }

    /// Cuts both directions: what is not sent yet is dropped, the peer gets `code`.
    pub fn reset(self, code: ResetCode) {
        self.send.reset(code);
    }

    pub(crate) fn poll_opened(&self, cx: &mut Context<'_>) -> Poll<Result<(), OpenError>> {
        self.recv.held.shared.poll_opened(cx, self.recv.held.id)
    }

    pub(crate) fn poll_say(&mut self, cx: &mut Context<'_>, bytes: &mut Bytes) -> Poll<io::Result<usize>> {
        self.send.poll_send(cx, bytes)
    }
}

impl RecvStream {
    /// The stream's number in its link, for logs.
    pub fn id(&self) -> u64 {
        self.held.id
    }

    /// The next bytes as they came, without a copy; `None` at the end (FIN). Cancel-safe.
    ///
    /// # Errors
    /// `ConnectionReset` when the stream was cut.
    pub async fn chunk(&mut self) -> io::Result<Option<Bytes>> {
        poll_fn(|cx| self.poll_chunk(cx, usize::MAX)).await
    }

    /// [`chunk`](Self::chunk) of at most `max` bytes, for those who poll.
    ///
    /// # Errors
    /// As [`chunk`](Self::chunk).
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>, max: usize) -> Poll<io::Result<Option<Bytes>>> {
        let Held { shared, id } = &*self.held;
        let read = shared.act(|state| {
            let read = state.link.read(*id, max);
            if read == Ok(Read::Pending) {
                state.waiting(*id).reader = Some(cx.waker().clone());
            }
            read
        });
        Poll::Ready(match read {
            Ok(Read::Chunk(bytes)) => Ok(Some(bytes)),
            Ok(Read::End) => Ok(None),
            Ok(Read::Pending) => return Poll::Pending,
            Err(error) => Err(io_error(error)),
        })
    }

    /// Takes what is there, up to about `most` bytes, into `chunks`. Ready with `true` when there was something, with `false`
    /// at the end.
    pub(crate) fn poll_chunks(
        &mut self,
        cx: &mut Context<'_>,
        chunks: &mut VecDeque<Bytes>,
        most: usize,
    ) -> Poll<io::Result<bool>> {
        let Held { shared, id } = &*self.held;
        let mut taken = 0;
        shared.act(|state| {
            while taken < most {
                match state.link.read(*id, usize::MAX) {
                    Ok(Read::Chunk(bytes)) => {
                        taken += bytes.len();
                        chunks.push_back(bytes);
                    }
                    // What is there goes first; the rest is seen the next time.
                    _ if taken > 0 => break,
                    Ok(Read::End) => return Poll::Ready(Ok(false)),
                    Ok(Read::Pending) => {
                        state.waiting(*id).reader = Some(cx.waker().clone());
                        return Poll::Pending;
                    }
                    Err(error) => return Poll::Ready(Err(io_error(error))),
                }
            }
            Poll::Ready(Ok(true))
        })
    }
}

impl SendStream {
    /// The stream's number in its link, for logs.
    pub fn id(&self) -> u64 {
        self.held.id
    }

    /// Sends bytes without a copy; returns when all are taken over. Not cancel-safe: a cancelled send may have sent a part.
    ///
    /// # Errors
    /// `ConnectionReset` when the stream was cut, `BrokenPipe` after [`finish`](Self::finish).
    pub async fn send(&mut self, mut bytes: Bytes) -> io::Result<()> {
        while !bytes.is_empty() {
            poll_fn(|cx| self.poll_send(cx, &mut bytes)).await?;
        }
        Ok(())
    }

    /// Takes over as much of `bytes` as there is room for, without a copy; ready with how much, never with 0 of some.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &mut Bytes) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let Held { shared, id } = &*self.held;
        let written = shared.act(|state| {
            let written = state.link.write(*id, bytes);
            if written == Ok(0) {
                state.waiting(*id).writer = Some(cx.waker().clone());
            }
            written
        });
        ready(written)
    }

    /// Ends this direction (FIN); what was written is still sent. Never waits.
    pub fn finish(&mut self) {
        if !std::mem::replace(&mut self.ended, true) {
            self.held.shared.act(|state| state.link.finish(self.held.id));
        }
    }

    /// Cuts both directions: what is not sent yet is dropped, the peer gets `code`.
    pub fn reset(mut self, code: ResetCode) {
        self.ended = true;
        self.held.shared.act(|state| state.link.reset(self.held.id, code));
    }

    /// Cuts both directions, but only after the peer has got all that was written before: what a TCP reset does to data
    /// that has already arrived.
    pub fn reset_after_data(mut self, code: ResetCode) {
        self.cut_after_data(code);
    }

    pub(crate) fn cut_after_data(&mut self, code: ResetCode) {
        self.ended = true;
        self.held.shared.act(|state| state.link.reset_after_data(self.held.id, code));
    }

    /// Waits until the peer cuts the stream, or the link is closed. Cancel-safe. Only one at a time may wait on a stream.
    pub async fn cut(&mut self) -> ResetCode {
        poll_fn(|cx| self.poll_cut(cx)).await
    }

    pub(crate) fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<ResetCode> {
        self.held.poll_cut(cx)
    }

    /// How many bytes may be written now; waits for at least one.
    pub(crate) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Held { shared, id } = &*self.held;
        let room = shared.act(|state| {
            let room = state.link.room(*id);
            if room == Ok(0) {
                state.waiting(*id).writer = Some(cx.waker().clone());
            }
            room
        });
        ready(room)
    }
}

impl Drop for RecvStream {
    fn drop(&mut self) {
        // With both halves the whole stream is dropped: see `Held`.
        if Arc::strong_count(&self.held) > 1 {
            self.held.shared.act(|state| state.link.stop(self.held.id));
        }
    }
}

impl Drop for SendStream {
    fn drop(&mut self) {
        if !self.ended && Arc::strong_count(&self.held) > 1 {
            self.held.shared.act(|state| state.link.reset(self.held.id, ResetCode::Dropped));
        }
    }
}

impl AsyncRead for RecvStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        self.poll_chunk(cx, buffer.remaining())
            .map_ok(|chunk| buffer.put_slice(chunk.as_deref().unwrap_or_default()))
    }
}

impl AsyncWrite for SendStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let Held { shared, id } = &*self.held;
        let written = shared.act(|state| {
            let written = state.link.write_slice(*id, bytes);
            if written == Ok(0) {
                state.waiting(*id).writer = Some(cx.waker().clone());
            }
            written
        });
        ready(written)
    }

    /// Nothing to do: what was written is sent as soon as it can be.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.finish();
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.recv).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.send).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.send).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.send).poll_shutdown(cx)
    }
}

/// A program's hold on a stream; when it is dropped, so is the stream.
#[derive(Debug)]
pub(crate) struct Held {
    shared: Arc<Shared>,
    id: StreamId,
}

impl Held {
    pub(crate) fn new(shared: Arc<Shared>, id: StreamId) -> Self {
        Self { shared, id }
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(crate) fn id(&self) -> StreamId {
        self.id
    }

    pub(crate) fn poll_cut(&self, cx: &mut Context<'_>) -> Poll<ResetCode> {
        self.shared.act(|state| match state.link.cut(self.id) {
            Some(code) => Poll::Ready(code),
            None => {
                state.waiting(self.id).watcher = Some(cx.waker().clone());
                Poll::Pending
            }
        })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shared.act(|state| {
            state.waiting.remove(&self.id);
            state.link.release(self.id);
        });
    }
}

fn ready(written: Result<usize, StreamError>) -> Poll<io::Result<usize>> {
    match written {
        Ok(0) => Poll::Pending,
        Ok(written) => Poll::Ready(Ok(written)),
        Err(error) => Poll::Ready(Err(io_error(error))),
    }
}
