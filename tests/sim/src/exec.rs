//! Commands in a pod, by `v4.channel.k8s.io` or `v5.channel.k8s.io`: a channel for each of the standard streams.

use std::process::ExitStatus;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};

use crate::kubelet::{Container, Run};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
/// Of version 5: closes the channel that follows.
const CLOSE: u8 = 255;

const PIECE: usize = 16 * 1024;
const QUEUE: usize = 16;

/// What is to be run, with which streams.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) command: Vec<String>,
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
    /// There is none here: output comes as from a pipe.
    pub(crate) tty: bool,
}

/// Runs the command until it ends or the client goes; then it is killed.
pub(crate) async fn serve(upgraded: Upgraded, run: &Run, container: &Arc<Container>, wanted: Wanted) {
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
    let (mut sink, mut stream) = socket.split();
    let started = run.exec(container, &wanted.command).await;
    let mut running = match started {
        Ok(running) => running,
        Err(why) => {
            let status = json!({
                "metadata": {}, "status": "Failure", "code": 500, "reason": "InternalError",
                "message": format!("Internal error occurred: {why}"),
            });
            let _ = sink.send(message(STATUS, status.to_string().as_bytes())).await;
            let _ = sink.send(goodbye()).await;
            return;
        }
    };
    let group = running.group();
    let (out, mut pieces) = mpsc::channel::<(u8, Bytes)>(QUEUE);
    let streams = (running.child.stdout.take(), running.child.stderr.take());
    let reading = async {
        let (first, second) = streams;
        let errors = if wanted.tty { STDOUT } else { STDERR };
        tokio::join!(
            read(first, STDOUT, wanted.stdout, out.clone()),
            read(second, errors, wanted.stderr || wanted.tty, out.clone()),
        );
        drop(out);
    };
    let mut stdin = running.child.stdin.take().filter(|_| wanted.stdin);
    let listening = async {
        while let Some(Ok(message)) = stream.next().await {
            let bytes = match message {
                Message::Binary(bytes) => bytes,
                Message::Close(_) => return,
                Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
            };
            match (bytes.first(), bytes.get(1..)) {
                (Some(&STDIN), Some(data)) => {
                    if let Some(to) = stdin.as_mut()
                        && to.write_all(data).await.is_err()
                    {
                        stdin = None;
                    }
                }
                (Some(&CLOSE), Some([STDIN, ..])) => stdin = None,
                _ => {}
            }
        }
    };
    let working = async {
        let writing = async {
            while let Some((channel, bytes)) = pieces.recv().await {
                if sink.send(message(channel, &bytes)).await.is_err() {
                    return;
                }
            }
        };
        tokio::join!(reading, writing);
        let status = running.wait().await;
        let told = status.map_or_else(|error| failed(&error.to_string(), None), ended);
        let _ = sink.send(message(STATUS, told.to_string().as_bytes())).await;
        let _ = sink.send(goodbye()).await;
    };
    tokio::select! {
        () = working => {}
        () = async { listening.await; linger().await } => group.signal(rustix::process::Signal::KILL),
    }
}

/// The client is gone; what it has sent last is still worked on for a moment.
async fn linger() {
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
}

async fn read(
    from: Option<impl AsyncRead + Unpin>,
    channel: u8,
    wanted: bool,
    out: mpsc::Sender<(u8, Bytes)>,
) {
    let Some(mut from) = from else { return };
    loop {
        let mut piece = BytesMut::with_capacity(PIECE);
        match from.read_buf(&mut piece).await {
            Ok(0) | Err(_) => return,
            Ok(_) if !wanted => {}
            Ok(_) => {
                if out.send((channel, piece.freeze())).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// kubectl takes a close without a code for a fault.
pub(crate) fn goodbye() -> Message {
    Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() }))
}

fn message(channel: u8, bytes: &[u8]) -> Message {
    let mut message = BytesMut::with_capacity(bytes.len() + 1);
    message.extend_from_slice(&[channel]);
    message.extend_from_slice(bytes);
    Message::Binary(message.freeze())
}

fn ended(status: ExitStatus) -> Value {
    use std::os::unix::process::ExitStatusExt;
    if status.success() {
        return json!({ "metadata": {}, "status": "Success" });
    }
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(127));
    failed(&format!("command terminated with non-zero exit code: exit status {code}"), Some(code))
}

fn failed(message: &str, code: Option<i32>) -> Value {
    let mut status = json!({
        "metadata": {}, "status": "Failure", "reason": "InternalError", "code": 500, "message": message,
    });
    if let Some(code) = code {
        status["reason"] = "NonZeroExitCode".into();
        status["details"] = json!({ "causes": [{ "reason": "ExitCode", "message": code.to_string() }] });
    }
    status
}
