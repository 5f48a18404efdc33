//! Carriers: what a link lives on.

use std::{future::Future, io};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::tcp::OwnedWriteHalf,
};

/// The reading half of an ordered byte stream to the peer.
pub trait CarrierRead: Send + 'static {
    /// The next bytes, of any number above zero; `None` at the end. Called by one task, never cancelled but to drop the
    /// carrier.
    fn recv(&mut self) -> impl Future<Output = io::Result<Option<Bytes>>> + Send;
}

/// The writing half of an ordered byte stream to the peer.
pub trait CarrierWrite: Send + 'static {
    /// Bytes that [`send`](Self::send) wants in front of the data of each buffer (a WebSocket channel's number, say). They
    /// come as zeros.
    const HEADROOM: usize = 0;

    /// The most bytes one buffer may have, headroom included.
    const BUFFER: usize = 128 << 10;

    /// Sends one buffer (headroom, then at least one byte of data) whole. Gives a buffer back, whose contents do not
    /// matter, to be used again. Called by one task, never cancelled but to drop the carrier.
    fn send(&mut self, buffer: BytesMut) -> impl Future<Output = io::Result<BytesMut>> + Send;

    /// Flushes and ends the stream.
    fn close(&mut self) -> impl Future<Output = io::Result<()>> + Send;
}

/// A carrier's reading half over anything that reads.
#[derive(Debug)]
pub struct IoRead<R> {
    io: R,
    buffer: BytesMut,
}

/// A carrier's writing half over anything that writes.
#[derive(Debug)]
pub struct IoWrite<W> {
    io: W,
}

/// Bytes asked for in one read.
const READ: usize = 64 << 10;

impl<R> IoRead<R> {
    /// Reads carrier bytes from `io`.
    pub fn new(io: R) -> Self {
        Self { io, buffer: BytesMut::new() }
    }
}

impl<W> IoWrite<W> {
    /// Writes carrier bytes to `io`.
    pub fn new(io: W) -> Self {
        Self { io }
    }
}

impl<R: tokio::io::AsyncRead + Unpin + Send + 'static> CarrierRead for IoRead<R> {
    async fn recv(&mut self) -> io::Result<Option<Bytes>> {
        // A carrier may be idle for hours: its buffer is made when there is something to read.
        if self.buffer.capacity() < READ / 4 {
            self.buffer.reserve(READ);
        }
        let read = self.io.read_buf(&mut self.buffer).await?;
        if read < READ / 4 {
            // A little in a big buffer would keep all of it alive for as long as somebody holds the little.
            let little = Bytes::copy_from_slice(&self.buffer);
            self.buffer.clear();
            return Ok((read > 0).then_some(little));
        }
        Ok(Some(self.buffer.split().freeze()))
    }
}

impl<W: tokio::io::AsyncWrite + Unpin + Send + 'static> CarrierWrite for IoWrite<W> {
    async fn send(&mut self, mut buffer: BytesMut) -> io::Result<BytesMut> {
        self.io.write_all(&buffer).await?;
        buffer.clear();
        Ok(buffer)
    }

    async fn close(&mut self) -> io::Result<()> {
        self.io.shutdown().await
    }
}

impl CarrierWrite for OwnedWriteHalf {
    async fn send(&mut self, mut buffer: BytesMut) -> io::Result<BytesMut> {
        self.write_all(&buffer).await?;
        buffer.clear();
        Ok(buffer)
    }

    async fn close(&mut self) -> io::Result<()> {
        self.shutdown().await
    }
}
