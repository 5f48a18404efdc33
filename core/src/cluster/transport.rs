//! A carrier: one WebSocket port-forward through the API server to an agent's control port.
//!
//! kube's client sends the request, so that every way to log in works; the WebSocket itself is ours. Inside it, bytes go
//! as the server agreed to: see [`spdy`] and, for servers before 1.31, [`channels`].

mod channels;
mod spdy;
mod upgrade;
mod websocket;

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use k8s_openapi::api::core::v1::Pod;
use kube::Resource;
use kube::core::Request;
use kubetether_link::{CarrierRead, CarrierWrite};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};

use self::upgrade::Subprotocol;
use self::websocket::Piece;
use super::Cluster;
use crate::{Deadline, Error, ErrorCode, Result};

/// Bytes of a buffer that is read into.
const READ: usize = 128 << 10;

/// When less room is left, a new one is made.
const LEAST: usize = 32 << 10;

/// Room before the data for what each subprotocol wants there.
const INNER: usize = spdy::HEADER;

/// Opens a carrier to a port on the loopback of a pod.
pub(crate) async fn dial(
    cluster: &Cluster,
    pod: &str,
    port: u16,
    deadline: Deadline,
) -> Result<(impl CarrierRead + use<>, impl CarrierWrite + use<>)> {
    let object = format!("pods/{pod}/portforward");
    let url = Pod::url_path(&(), Some(cluster.namespace()));
    let request = Request::new(url).portforward(pod, &[port]).map_err(|error| {
        Error::new(ErrorCode::Internal, "a port-forward request of ours is malformed").because(error)
    })?;
    let upgraded = upgrade::upgrade(cluster.client(), request);
    let (stream, subprotocol) = cluster.request("get", &object, deadline, upgraded).await?;
    let opened = tokio::time::timeout_at(deadline.instant(), open(stream, subprotocol, port)).await;
    let opened = opened.map_err(|_| Error::deadline(format_args!("opening a port-forward to pod {pod}")))?;
    opened.map_err(|error| {
        let text = format!("the port-forward to pod {pod} was not opened: {error}");
        Error::new(ErrorCode::AgentUnreachable, text).on(object.clone()).because(error)
    })
}

/// Makes a carrier of a WebSocket, ready to be sent on.
async fn open<S>(stream: S, subprotocol: Subprotocol, port: u16) -> io::Result<(Reader<S>, Writer<S>)>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (read, write) = tokio::io::split(stream);
    let owed = Owed::default();
    let inner = match subprotocol {
        Subprotocol::Tunnel => Inner::Tunnel(spdy::Decoder::default()),
        Subprotocol::Channels => Inner::Channels(channels::Decoder::default()),
    };
    let mut reader = Reader {
        io: read,
        input: BytesMut::new(),
        frames: websocket::Decoder::default(),
        inner,
        piece: Bytes::new(),
        owed: owed.clone(),
    };
    let mut writer = Writer { io: write, subprotocol, owed };
    if subprotocol == Subprotocol::Tunnel {
        let mut message = BytesMut::zeroed(websocket::HEADER);
        message.extend_from_slice(&spdy::open(port));
        let start = websocket::wrap(&mut message, websocket::HEADER);
        writer.write(&message[start..]).await?;
        reader.ready().await?;
    }
    Ok((reader, writer))
}

/// Frames that answer something, for the writer to send with the next ones: heartbeats see to it that there are some.
#[derive(Clone, Default)]
struct Owed(Arc<Mutex<Vec<u8>>>);

/// More than this is not owed to anybody who means well.
const MOST_OWED: usize = 4096;

impl Owed {
    fn add(&self, frame: &[u8]) {
        let mut owed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if owed.len() < MOST_OWED {
            owed.extend_from_slice(frame);
        }
    }

    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

enum Inner {
    Channels(channels::Decoder),
    Tunnel(spdy::Decoder),
}

/// The receiving half.
struct Reader<S> {
    io: ReadHalf<S>,
    /// Read, and not looked at yet.
    input: BytesMut,
    frames: websocket::Decoder,
    inner: Inner,
    /// What is left of the last piece of a message.
    piece: Bytes,
    owed: Owed,
}

impl<S> CarrierRead for Reader<S>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    async fn recv(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            match self.next()? {
                Next::Data(bytes) => return Ok(Some(bytes)),
                Next::End => return Ok(None),
                Next::Ready => {}
                Next::Nothing => {
                    if !self.read().await? {
                        return Ok(None);
                    }
                }
            }
        }
    }
}

/// What is next in what was read.
enum Next {
    Data(Bytes),
    Ready,
    End,
    Nothing,
}

impl<S: AsyncRead> Reader<S> {
    /// Waits until bytes may be sent.
    async fn ready(&mut self) -> io::Result<()> {
        loop {
            match self.next()? {
                Next::Ready => return Ok(()),
                Next::Data(_) => {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "bytes came too early"));
                }
                Next::Nothing if self.read().await? => {}
                Next::Nothing | Next::End => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
    }

    fn next(&mut self) -> io::Result<Next> {
        loop {
            if let Inner::Tunnel(decoder) = &mut self.inner
                && let Some(event) = decoder.next(&mut self.piece)?
            {
                match event {
                    spdy::Event::Data(bytes) => return Ok(Next::Data(bytes)),
                    spdy::Event::Ready => return Ok(Next::Ready),
                    spdy::Event::End => return Ok(Next::End),
                    spdy::Event::Answer(frame) => {
                        let mut message = vec![0; websocket::HEADER];
                        message.extend_from_slice(&frame);
                        let start = websocket::wrap(&mut message, websocket::HEADER);
                        self.owed.add(&message[start..]);
                    }
                }
                continue;
            }
            match self.frames.next(&mut self.input)? {
                None => return Ok(Next::Nothing),
                Some(Piece::Ping(payload)) => self.owed.add(&websocket::pong(&payload)),
                Some(Piece::Close(1000 | 1001 | 1005, _)) => return Ok(Next::End),
                Some(Piece::Close(code, text)) => {
                    let text = format!("the API server ended the port-forward: {text} ({code})");
                    return Err(io::Error::new(io::ErrorKind::ConnectionAborted, text));
                }
                Some(Piece::Data { first, bytes }) => match &mut self.inner {
                    Inner::Tunnel(_) => self.piece = bytes,
                    Inner::Channels(decoder) => {
                        let bytes = decoder.data(first, bytes)?;
                        if !bytes.is_empty() {
                            return Ok(Next::Data(bytes));
                        }
                    }
                },
            }
        }
    }

    /// Reads as much as there is; `false` at the end.
    async fn read(&mut self) -> io::Result<bool> {
        if self.input.capacity() - self.input.len() < LEAST {
            self.input.reserve(READ);
        }
        if self.io.read_buf(&mut self.input).await? == 0 {
            return Ok(false);
        }
        // TLS gives no more than a record at once; what else is there saves wakeups and locks later on.
        while self.input.capacity() - self.input.len() >= LEAST {
            match self.io.read_buf(&mut self.input).now_or_never() {
                Some(Ok(1..)) => {}
                // An end and an error are met again.
                Some(Ok(0) | Err(_)) | None => break,
            }
        }
        Ok(true)
    }
}

/// The sending half.
struct Writer<S> {
    io: WriteHalf<S>,
    subprotocol: Subprotocol,
    owed: Owed,
}

impl<S: AsyncWrite> Writer<S> {
    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.io.write_all(bytes).await?;
        // TLS may have kept a part.
        self.io.flush().await
    }
}

impl<S> CarrierWrite for Writer<S>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    const HEADROOM: usize = websocket::HEADER + INNER;
    // The node queues up to 50 frames: bigger ones would make urgent ones wait.
    const BUFFER: usize = 64 << 10;

    async fn send(&mut self, mut buffer: BytesMut) -> io::Result<BytesMut> {
        let owed = self.owed.take();
        if !owed.is_empty() {
            self.write(&owed).await?;
        }
        let length = buffer.len() - Self::HEADROOM;
        let inner = match self.subprotocol {
            Subprotocol::Tunnel => {
                let inner = Self::HEADROOM - spdy::HEADER;
                spdy::wrap(&mut buffer[inner..Self::HEADROOM], length);
                inner
            }
            Subprotocol::Channels => {
                let inner = Self::HEADROOM - channels::HEADER;
                channels::wrap(&mut buffer[inner..Self::HEADROOM]);
                inner
            }
        };
        let start = websocket::wrap(&mut buffer, inner);
        self.write(&buffer[start..]).await?;
        buffer.clear();
        Ok(buffer)
    }

    async fn close(&mut self) -> io::Result<()> {
        self.write(&websocket::normal_close()).await?;
        self.io.shutdown().await
    }
}

/// What went wrong, as the server said it.
fn refused(words: &[u8]) -> io::Error {
    let text = String::from_utf8_lossy(words).trim().to_owned();
    io::Error::new(io::ErrorKind::ConnectionRefused, text)
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};

    use super::*;

    /// A frame as a server sends it.
    fn served(opcode: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0x80 | opcode, 126];
        frame.extend((payload.len() as u16).to_be_bytes());
        frame.extend(payload);
        frame
    }

    /// The next frame of a client's: its kind, and its payload unmasked.
    async fn received(far: &mut DuplexStream) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        far.read_exact(&mut head).await.unwrap();
        let length = match head[1] & 0x7f {
            126 => far.read_u16().await.unwrap().into(),
            127 => far.read_u64().await.unwrap() as usize,
            length => length.into(),
        };
        let mut key = [0; 4];
        far.read_exact(&mut key).await.unwrap();
        let mut payload = vec![0; length];
        far.read_exact(&mut payload).await.unwrap();
        payload.iter_mut().zip(key.into_iter().cycle()).for_each(|(byte, key)| *byte ^= key);
        (head[0], payload)
    }

    fn buffer(bytes: &[u8]) -> BytesMut {
        let mut buffer = BytesMut::zeroed(Writer::<DuplexStream>::HEADROOM);
        buffer.extend_from_slice(bytes);
        buffer
    }

    #[tokio::test]
    async fn a_tunnel_is_used_when_the_node_has_taken_it() {
        let (near, mut far) = duplex(1 << 20);
        let reply = served(2, &[0x80, 3, 0, 2, 0, 0, 0, 4, 0, 0, 0, 3]);
        let server = async {
            assert_eq!(received(&mut far).await, (0x82, spdy::open(8000).to_vec()));
            far.write_all(&reply).await.unwrap();
        };
        let (opened, ()) = tokio::join!(open(near, Subprotocol::Tunnel, 8000), server);
        let (mut reader, mut writer) = opened.unwrap();

        far.write_all(&served(9, b"ping")).await.unwrap();
        far.write_all(&served(2, &[0, 0, 0, 3, 0, 0, 0, 3, 7, 8, 9])).await.unwrap();
        assert_eq!(reader.recv().await.unwrap().unwrap(), [7, 8, 9].as_slice());
        writer.send(buffer(b"abc")).await.unwrap();
        assert_eq!(received(&mut far).await, (0x8a, b"ping".to_vec()));
        assert_eq!(received(&mut far).await, (0x82, b"\0\0\0\x03\0\0\0\x03abc".to_vec()));
        let much = vec![5; 100_000];
        writer.send(buffer(&much)).await.unwrap();
        assert_eq!(received(&mut far).await.1[8..], much);

        writer.close().await.unwrap();
        assert_eq!(received(&mut far).await, (0x88, vec![3, 232]));
        far.write_all(&served(2, &[0, 0, 0, 3, 1, 0, 0, 0])).await.unwrap();
        assert_eq!(reader.recv().await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_tunnel_that_is_refused_is_none() {
        let (near, mut far) = duplex(1 << 20);
        far.write_all(&served(2, &[0, 0, 0, 1, 1, 0, 0, 2, b'n', b'o'])).await.unwrap();
        let error = open(near, Subprotocol::Tunnel, 8000).await.map(drop).unwrap_err();
        assert_eq!((error.kind(), error.to_string()), (io::ErrorKind::ConnectionRefused, "no".into()));
        let (near, far) = duplex(1 << 20);
        drop(far);
        assert!(open(near, Subprotocol::Tunnel, 8000).await.is_err());
    }

    #[tokio::test]
    async fn older_servers_have_channels() {
        let (near, mut far) = duplex(1 << 20);
        let (mut reader, mut writer) = open(near, Subprotocol::Channels, 8000).await.unwrap();
        for message in [&[0, 64, 31][..], &[1, 64, 31], &[0, 7, 8]] {
            far.write_all(&served(2, message)).await.unwrap();
        }
        assert_eq!(reader.recv().await.unwrap().unwrap(), [7, 8].as_slice());
        writer.send(buffer(b"abc")).await.unwrap();
        assert_eq!(received(&mut far).await, (0x82, b"\0abc".to_vec()));
        far.write_all(&served(8, &[3, 243, b'!'])).await.unwrap();
        assert!(reader.recv().await.unwrap_err().to_string().contains("! (1011)"));
    }
}
