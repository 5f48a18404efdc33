//! Port-forwards by `v4.channel.k8s.io`: of each port one channel for its bytes, one for what went wrong.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

/// Read from a pod at once.
const PIECE: usize = 32 * 1024;
/// Messages on their way between a socket and the WebSocket.
const QUEUE: usize = 16;
/// For what is on its way when a client goes.
const DRAIN: Duration = Duration::from_secs(2);

/// Connects each port of the pod and passes bytes until the client or all of them end.
pub(crate) async fn serve(upgraded: Upgraded, pod: Ipv4Addr, ports: &[u16]) {
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
    let (mut sink, mut stream) = socket.split();
    let (out, mut wanted) = mpsc::channel::<Bytes>(QUEUE);
    let mut inputs = Vec::new();
    let mut all = JoinSet::new();
    for (at, port) in ports.iter().enumerate() {
        let Ok(channel) = u8::try_from(at * 2) else { return };
        for channel in [channel, channel + 1] {
            let [low, high] = port.to_le_bytes();
            let greeting = Bytes::copy_from_slice(&[channel, low, high]);
            if sink.send(Message::Binary(greeting)).await.is_err() {
                return;
            }
        }
        let (input, incoming) = mpsc::channel(QUEUE);
        inputs.push(input);
        all.spawn(forward(SocketAddr::from((pod, *port)), channel, incoming, out.clone()));
    }
    drop(out);
    let sending = async {
        while let Some(message) = wanted.recv().await {
            sink.send(Message::Binary(message)).await?;
        }
        sink.send(crate::exec::goodbye()).await
    };
    let receiving = async {
        while let Some(Ok(message)) = stream.next().await {
            match message {
                Message::Binary(mut bytes) if !bytes.is_empty() => {
                    let channel = usize::from(bytes.split_to(1)[0]);
                    // The error channels are the server's alone.
                    let input = inputs.get(channel / 2).filter(|_| channel % 2 == 0);
                    if let Some(input) = input {
                        // A port that is over takes no more.
                        let _ = input.send(bytes).await;
                    }
                }
                Message::Close(_) => break,
                Message::Binary(_)
                | Message::Text(_)
                | Message::Ping(_)
                | Message::Pong(_)
                | Message::Frame(_) => {}
            }
        }
    };
    tokio::select! {
        _ = sending => {}
        () = receiving => {}
    }
    // What the client has sent last still goes its way.
    drop((inputs, wanted));
    drained(all).await;
}

/// Lets connections write what they have, for a moment.
pub(crate) async fn drained(mut all: JoinSet<()>) {
    let _ = tokio::time::timeout(DRAIN, async { while all.join_next().await.is_some() {} }).await;
}

/// One port: its bytes on `channel`, why it failed on the next.
async fn forward(to: SocketAddr, channel: u8, incoming: mpsc::Receiver<Bytes>, out: mpsc::Sender<Bytes>) {
    if let Err(error) = pass(to, channel, incoming, &out).await {
        let mut message = BytesMut::from(&[channel + 1][..]);
        message.extend_from_slice(told(to, &error).as_bytes());
        // A client that is gone needs no reason.
        let _ = out.send(message.freeze()).await;
    }
}

/// As the kubelet tells it.
pub(crate) fn told(to: SocketAddr, error: &io::Error) -> String {
    let refused = error.kind() == io::ErrorKind::ConnectionRefused;
    let why = if refused { "connect: connection refused".to_owned() } else { error.to_string() };
    format!(
        "error forwarding port {} to pod: failed to connect to localhost:{}: dial tcp4 {to}: {why}",
        to.port(),
        to.port()
    )
}

async fn pass(
    to: SocketAddr,
    channel: u8,
    mut incoming: mpsc::Receiver<Bytes>,
    out: &mpsc::Sender<Bytes>,
) -> io::Result<()> {
    let mut pod = TcpStream::connect(to).await?;
    // Only slower without it.
    let _ = pod.set_nodelay(true);
    let (mut from_pod, mut to_pod) = pod.split();
    let down = async {
        loop {
            let mut message = BytesMut::with_capacity(PIECE + 1);
            message.extend_from_slice(&[channel]);
            if from_pod.read_buf(&mut message).await? == 0 {
                return io::Result::Ok(());
            }
            if out.send(message.freeze()).await.is_err() {
                // The client is gone: only what it sent last is of interest.
                return std::future::pending().await;
            }
        }
    };
    let up = async {
        while let Some(bytes) = incoming.recv().await {
            to_pod.write_all(&bytes).await?;
        }
        io::Result::Ok(())
    };
    tokio::select! {
        done = down => done,
        done = up => done,
    }
}
