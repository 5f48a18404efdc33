//! The two halves of a carrier: what was agreed on, over the connection that was upgraded.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use kubetether_link::{CarrierRead, CarrierWrite};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};

use super::upgrade::Framing;
use super::websocket::Piece;
use super::{channels, spdy, take, websocket};

/// Bytes of a buffer that is read into.
const READ: usize = 128 << 10;

/// When less room is left, a new one is made.
const LEAST: usize = 32 << 10;

/// Room before the data for what each framing wants there.
const INNER: usize = spdy::HEADER;

/// Makes a carrier of an upgraded connection, ready to be sent on.
pub(super) async fn open<S>(stream: S, framing: Framing, port: u16) -> io::Result<(Reader<S>, Writer<S>)>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (read, write) = tokio::io::split(stream);
    let owed = Owed::default();
    let in_websocket = framing != Framing::Spdy;
    let frames = in_websocket.then(websocket::Decoder::default);
    let inner = match framing {
        Framing::Spdy | Framing::Tunnel => Inner::Spdy(spdy::Decoder::default()),
        Framing::Channels => Inner::Channels(channels::Decoder::default()),
    };
    let (input, piece) = (BytesMut::new(), Bytes::new());
    let mut reader = Reader { io: read, input, frames, inner, piece, owed: owed.clone() };
    let mut writer = Writer { io: write, framing, owed };
    if framing != Framing::Channels {
        writer.write(&framed(&spdy::open(port), in_websocket)).await?;
        reader.ready().await?;
    }
    Ok((reader, writer))
}

/// A frame of SPDY's as it goes out.
fn framed(frame: &[u8], in_websocket: bool) -> Vec<u8> {
    if !in_websocket {
        return frame.to_vec();
    }
    let mut message = vec![0; websocket::HEADER];
    message.extend_from_slice(frame);
    let start = websocket::wrap(&mut message, websocket::HEADER);
    message.split_off(start)
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
    Spdy(spdy::Decoder),
}

/// The receiving half.
pub(super) struct Reader<S> {
    io: ReadHalf<S>,
    /// Read, and not looked at yet.
    input: BytesMut,
    /// Those of a WebSocket, where there is one.
    frames: Option<websocket::Decoder>,
    inner: Inner,
    /// What is left of the last piece of the input.
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
            if let Inner::Spdy(decoder) = &mut self.inner
                && let Some(event) = decoder.next(&mut self.piece)?
            {
                match event {
                    spdy::Event::Data(bytes) => return Ok(Next::Data(bytes)),
                    spdy::Event::Ready => return Ok(Next::Ready),
                    spdy::Event::End => return Ok(Next::End),
                    spdy::Event::Answer(frame) => {
                        self.owed.add(&framed(&frame, self.frames.is_some()));
                    }
                }
                continue;
            }
            let Some(frames) = &mut self.frames else {
                if self.input.is_empty() {
                    return Ok(Next::Nothing);
                }
                let all = self.input.len();
                self.piece = take(&mut self.input, all);
                continue;
            };
            match frames.next(&mut self.input)? {
                None => return Ok(Next::Nothing),
                Some(Piece::Ping(payload)) => self.owed.add(&websocket::pong(&payload)),
                Some(Piece::Close(1000 | 1001 | 1005, _)) => return Ok(Next::End),
                Some(Piece::Close(code, text)) => {
                    let text = format!("the API server ended the port-forward: {text} ({code})");
                    return Err(io::Error::new(io::ErrorKind::ConnectionAborted, text));
                }
                Some(Piece::Data { first, bytes }) => match &mut self.inner {
                    Inner::Spdy(_) => self.piece = bytes,
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
pub(super) struct Writer<S> {
    io: WriteHalf<S>,
    framing: Framing,
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
        let inner = Self::HEADROOM
            - match self.framing {
                Framing::Spdy | Framing::Tunnel => spdy::HEADER,
                Framing::Channels => channels::HEADER,
            };
        match self.framing {
            Framing::Spdy | Framing::Tunnel => spdy::wrap(&mut buffer[inner..Self::HEADROOM], length),
            Framing::Channels => channels::wrap(&mut buffer[inner..Self::HEADROOM]),
        }
        let start = match self.framing {
            Framing::Spdy => inner,
            Framing::Tunnel | Framing::Channels => websocket::wrap(&mut buffer, inner),
        };
        self.write(&buffer[start..]).await?;
        buffer.clear();
        Ok(buffer)
    }

    async fn close(&mut self) -> io::Result<()> {
        if self.framing != Framing::Spdy {
            self.write(&websocket::normal_close()).await?;
        }
        self.io.shutdown().await
    }
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
        let (opened, ()) = tokio::join!(open(near, Framing::Tunnel, 8000), server);
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
    async fn spdy_needs_nothing_around_it() {
        let (near, mut far) = duplex(1 << 20);
        let mut asked = vec![0; spdy::open(8000).len()];
        let server = async {
            far.read_exact(&mut asked).await.unwrap();
            far.write_all(&[0x80, 3, 0, 2, 0, 0, 0, 4, 0, 0, 0, 3]).await.unwrap();
        };
        let (opened, ()) = tokio::join!(open(near, Framing::Spdy, 8000), server);
        let (mut reader, mut writer) = opened.unwrap();
        assert_eq!(asked, spdy::open(8000));

        let ping = [0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 2];
        far.write_all(&ping).await.unwrap();
        far.write_all(&[0, 0, 0, 3, 0, 0, 0, 3, 7, 8, 9]).await.unwrap();
        assert_eq!(reader.recv().await.unwrap().unwrap(), [7, 8, 9].as_slice());
        writer.send(buffer(b"abc")).await.unwrap();
        let mut sent = [0; 12 + 11];
        far.read_exact(&mut sent).await.unwrap();
        assert_eq!(sent[..12], ping);
        assert_eq!(sent[12..], *b"\0\0\0\x03\0\0\0\x03abc");

        writer.close().await.unwrap();
        assert_eq!(far.read(&mut sent).await.unwrap(), 0);
        far.write_all(&[0, 0, 0, 3, 1, 0, 0, 0]).await.unwrap();
        assert_eq!(reader.recv().await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_tunnel_that_is_refused_is_none() {
        let (near, mut far) = duplex(1 << 20);
        far.write_all(&served(2, &[0, 0, 0, 1, 1, 0, 0, 2, b'n', b'o'])).await.unwrap();
        let error = open(near, Framing::Tunnel, 8000).await.map(drop).unwrap_err();
        assert_eq!((error.kind(), error.to_string()), (io::ErrorKind::ConnectionRefused, "no".into()));
        let (near, far) = duplex(1 << 20);
        drop(far);
        assert!(open(near, Framing::Tunnel, 8000).await.is_err());
    }

    #[tokio::test]
    async fn older_servers_have_channels() {
        let (near, mut far) = duplex(1 << 20);
        let (mut reader, mut writer) = open(near, Framing::Channels, 8000).await.unwrap();
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
