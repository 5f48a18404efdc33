//! Port-forwards by SPDY/3.1, as the engine asks for it, or inside WebSocket messages, as kubectl does
//! (`SPDY/3.1+portforward.k8s.io`, KEP-4006). Of each connection to a port one stream for its bytes, one for what went wrong.

mod dictionary;
mod inflate;

use std::collections::HashMap;
use std::future::ready;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_util::codec::{BytesCodec, Framed};

use self::inflate::Inflater;
use crate::port_forward::{drained, told};

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const CONTROL: u32 = 0x8003_0000;
const FIN: u8 = 1;
/// Of the header of any frame.
const HEADER: usize = 8;

/// Read from a pod at once.
const PIECE: usize = 32 * 1024;
/// Frames on their way between a socket and the WebSocket.
const QUEUE: usize = 16;

/// Serves one client, who speaks SPDY itself, until it goes.
pub(crate) async fn serve(upgraded: Upgraded, pod: Ipv4Addr) {
    let (sink, stream) = Framed::new(TokioIo::new(upgraded), BytesCodec::new()).split();
    let stream = stream.scan((), |(), bytes| ready(bytes.ok().map(BytesMut::freeze)));
    both(pod, sink, stream).await;
}

/// Serves one client, who speaks it inside a WebSocket, until it goes.
pub(crate) async fn serve_in_websocket(upgraded: Upgraded, pod: Ipv4Addr) {
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
    let (sink, stream) = socket.split();
    let sink = sink.with(|frame| ready(Ok::<_, Error>(Message::Binary(frame))));
    let stream = stream.scan((), |(), message| {
        ready(match message {
            Ok(Message::Binary(bytes)) => Some(bytes),
            Ok(Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {
                Some(Bytes::new())
            }
            Ok(Message::Close(_)) | Err(_) => None,
        })
    });
    both(pod, sink, stream).await;
}

/// Both directions, until one is at its end.
async fn both(pod: Ipv4Addr, sink: impl Sink<Bytes>, stream: impl Stream<Item = Bytes>) {
    let (mut sink, mut stream) = (pin!(sink), pin!(stream));
    let (out, mut frames) = mpsc::channel::<Bytes>(QUEUE);
    let mut connection = Connection {
        pod,
        out,
        inflater: Inflater::new(dictionary::dictionary()),
        begun: [false; 2],
        errors: HashMap::new(),
        inputs: HashMap::new(),
        tasks: JoinSet::new(),
    };
    let sending = async {
        while let Some(frame) = frames.recv().await {
            if sink.send(frame).await.is_err() {
                return;
            }
        }
    };
    let receiving = async {
        let mut input = BytesMut::new();
        while let Some(bytes) = stream.next().await {
            input.extend_from_slice(&bytes);
            while let Some(frame) = whole_frame(&mut input) {
                if connection.take(frame).await.is_none() {
                    return;
                }
            }
        }
    };
    tokio::select! {
        () = sending => {}
        () = receiving => {}
    }
    // What the client has sent last still goes its way.
    drop(frames);
    let Connection { inputs, tasks, .. } = connection;
    drop(inputs);
    drained(tasks).await;
}

/// The next frame, if all of it is there; none is longer than its 24 bits of length say.
fn whole_frame(input: &mut BytesMut) -> Option<Bytes> {
    let length = input.get(4..HEADER)?.get_u32() & 0xff_ffff;
    let whole = HEADER + usize::try_from(length).ok()?;
    (input.len() >= whole).then(|| input.split_to(whole).freeze())
}

struct Connection {
    pod: Ipv4Addr,
    out: mpsc::Sender<Bytes>,
    inflater: Inflater,
    /// Whether the first headers came, and went.
    begun: [bool; 2],
    /// Streams of what went wrong, by request.
    errors: HashMap<String, u32>,
    /// What streams of bytes are written to.
    inputs: HashMap<u32, mpsc::Sender<Option<Bytes>>>,
    tasks: JoinSet<()>,
}

impl Connection {
    /// Does what a frame says; none at the end.
    async fn take(&mut self, mut frame: Bytes) -> Option<()> {
        while self.tasks.try_join_next().is_some() {}
        let first = frame.get_u32();
        let second = frame.get_u32();
        let flags = u8::try_from(second >> 24).ok()?;
        if first & 0x8000_0000 == 0 {
            self.data(first, frame, flags & FIN != 0).await;
            return Some(());
        }
        match u16::try_from(first & 0xffff).ok()? {
            SYN_STREAM => {
                let id = frame.get(..4)?.get_u32() & 0x7fff_ffff;
                let headers = self.headers(frame.get(10..)?)?;
                self.open(id, &headers).await;
            }
            RST_STREAM => drop(self.inputs.remove(&(frame.get(..4)?.get_u32() & 0x7fff_ffff))),
            PING => self.send(control(PING, &frame)).await,
            GOAWAY => return None,
            _ => {}
        }
        Some(())
    }

    async fn data(&mut self, id: u32, bytes: Bytes, last: bool) {
        let Some(input) = self.inputs.get(&id) else { return };
        // One that is over takes no more.
        if !bytes.is_empty() {
            let _ = input.send(Some(bytes)).await;
        }
        if last {
            let _ = input.send(None).await;
        }
    }

    /// Names and values of a header block.
    fn headers(&mut self, block: &[u8]) -> Option<HashMap<String, String>> {
        // Once: zlib's own header, and which dictionary.
        let block = if std::mem::replace(&mut self.begun[0], true) { block } else { block.get(6..)? };
        let plain = self.inflater.piece(block)?;
        let mut rest = plain.as_slice();
        let number = |rest: &mut &[u8]| {
            let (first, after) = rest.split_at_checked(4)?;
            *rest = after;
            usize::try_from(u32::from_be_bytes(first.try_into().ok()?)).ok()
        };
        let count = number(&mut rest)?;
        let mut text = || {
            let length = number(&mut rest)?;
            let (text, after) = rest.split_at_checked(length)?;
            rest = after;
            Some(String::from_utf8_lossy(text).into_owned())
        };
        let mut all = HashMap::new();
        for _ in 0..count {
            let (name, value) = (text()?, text()?);
            all.insert(name.to_lowercase(), value);
        }
        Some(all)
    }

    async fn open(&mut self, id: u32, headers: &HashMap<String, String>) {
        let header = |name: &str| headers.get(name).map_or("", String::as_str);
        let request = header("requestid").to_owned();
        let mut reply = BytesMut::new();
        reply.put_u32(id);
        if !std::mem::replace(&mut self.begun[1], true) {
            // zlib with SPDY's dictionary, named by its Adler-32; what follows is stored and needs none.
            reply.put_slice(&[0x78, 0xbb, 0xe3, 0xc6, 0xa7, 0xc2]);
        }
        // No headers: a stored block of the count, and the empty one that says that nothing follows yet.
        reply.put_slice(&[0, 4, 0, 0xfb, 0xff, 0, 0, 0, 0]);
        reply.put_slice(&[0, 0, 0, 0xff, 0xff]);
        self.send(control(SYN_REPLY, &reply)).await;
        if header("streamtype") == "error" {
            self.errors.insert(request, id);
            return;
        }
        let errors = self.errors.remove(&request);
        let Ok(port) = header("port").parse() else { return };
        let (input, incoming) = mpsc::channel(QUEUE);
        self.inputs.insert(id, input);
        let (to, out) = (SocketAddr::from((self.pod, port)), self.out.clone());
        self.tasks.spawn(forward(to, id, errors, incoming, out));
    }

    async fn send(&self, frame: Bytes) {
        // The end is seen elsewhere.
        let _ = self.out.send(frame).await;
    }
}

fn control(kind: u16, body: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(HEADER + body.len());
    frame.put_u32(CONTROL | u32::from(kind));
    frame.put_u32(u32::try_from(body.len()).unwrap_or_default() & 0xff_ffff);
    frame.put_slice(body);
    frame.freeze()
}

fn data(id: u32, bytes: &[u8], last: bool) -> Bytes {
    let mut frame = BytesMut::with_capacity(HEADER + bytes.len());
    frame.put_u32(id);
    let flags = if last { u32::from(FIN) << 24 } else { 0 };
    frame.put_u32(flags | u32::try_from(bytes.len()).unwrap_or_default() & 0xff_ffff);
    frame.put_slice(bytes);
    frame.freeze()
}

/// One connection to a port of the pod.
async fn forward(
    to: SocketAddr,
    id: u32,
    errors: Option<u32>,
    incoming: mpsc::Receiver<Option<Bytes>>,
    out: mpsc::Sender<Bytes>,
) {
    let connected = TcpStream::connect(to).await;
    match connected {
        Ok(pod) => {
            // Only slower without it.
            let _ = pod.set_nodelay(true);
            let (from_pod, to_pod) = pod.into_split();
            tokio::select! {
                () = down(from_pod, id, &out) => {}
                () = up(incoming, to_pod) => {}
            }
        }
        Err(error) => {
            if let Some(errors) = errors {
                let _ = out.send(data(errors, told(to, &error).as_bytes(), false)).await;
            }
        }
    }
    for one in errors.into_iter().chain([id]) {
        let _ = out.send(data(one, &[], true)).await;
    }
}

async fn down(mut pod: tokio::net::tcp::OwnedReadHalf, id: u32, out: &mpsc::Sender<Bytes>) {
    let mut piece = vec![0; PIECE];
    while let Ok(count) = pod.read(&mut piece).await {
        if count == 0 {
            return;
        }
        if out.send(data(id, &piece[..count], false)).await.is_err() {
            // The client is gone: only what it sent last is of interest.
            return std::future::pending().await;
        }
    }
}

/// Writes what comes; ends only when the stream was given up or the pod takes no more.
async fn up(mut incoming: mpsc::Receiver<Option<Bytes>>, mut pod: OwnedWriteHalf) {
    while let Some(bytes) = incoming.recv().await {
        let done = match bytes {
            Some(bytes) => pod.write_all(&bytes).await,
            // Its answer may still come.
            None => pod.shutdown().await,
        };
        if done.is_err() {
            return;
        }
    }
}
