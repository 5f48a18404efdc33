use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use kubetether_wire::ResetCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One connection in a link, both directions. Shutting it down for writing sends FIN; dropping it with a direction still
/// open cuts both (RESET with [`ResetCode::Dropped`]).
///
/// A cut by the peer is an [`io::Error`] of kind `ConnectionReset` whose source is a [`StreamReset`](crate::StreamReset).
#[derive(Debug)]
pub struct Stream {
    recv: RecvStream,
    send: SendStream,
}

/// The reading half of a [`Stream`].
#[derive(Debug)]
pub struct RecvStream;

/// The writing half of a [`Stream`].
#[derive(Debug)]
pub struct SendStream;

impl Stream {
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
}

impl RecvStream {
    /// The stream's number in its link, for logs.
    pub fn id(&self) -> u64 {
        todo!()
    }

    /// The next bytes as they came, without a copy; `None` at the end (FIN). Cancel-safe.
    ///
    /// # Errors
    /// `ConnectionReset` when the stream was cut.
    pub async fn chunk(&mut self) -> io::Result<Option<Bytes>> {
        std::future::pending().await
    }
}

impl SendStream {
    /// The stream's number in its link, for logs.
    pub fn id(&self) -> u64 {
        todo!()
    }

    /// Sends bytes without a copy; returns when all are taken over. Not cancel-safe: a cancelled send may have sent a part.
    ///
    /// # Errors
    /// `ConnectionReset` when the stream was cut, `BrokenPipe` after [`finish`](Self::finish).
    pub async fn send(&mut self, bytes: Bytes) -> io::Result<()> {
        let _ = bytes;
        std::future::pending().await
    }

    /// Ends this direction (FIN); what was written is still sent. Never waits.
    pub fn finish(&mut self) {
        todo!()
    }

    /// Cuts both directions: what is not sent yet is dropped, the peer gets `code`.
    pub fn reset(self, code: ResetCode) {
        let _ = code;
        todo!()
    }

    /// Cuts both directions, but only after the peer has got all that was written before: what a TCP reset does to data
    /// that has already arrived.
    pub fn reset_after_data(self, code: ResetCode) {
        let _ = code;
        todo!()
    }

    /// Waits until the peer cuts the stream, or the link is closed. Cancel-safe.
    pub async fn cut(&mut self) -> ResetCode {
        std::future::pending().await
    }
}

impl AsyncRead for RecvStream {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        todo!()
    }
}

impl AsyncWrite for SendStream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        todo!()
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        todo!()
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
