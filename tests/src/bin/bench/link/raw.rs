//! The raw loop: WebSocket port-forwards by kube's own client, one for each connection, and nothing on top.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::Request;
use kube::{Client, Resource};
use kubetether_workload::content::{Checked, pattern};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio_tungstenite::tungstenite::{self, Message};

use super::lane::Direction;

/// Bytes of one message, its channel's number included.
const MESSAGE: usize = 32 * 1024;

/// Port-forwards of one pod's ports in a process of its own.
#[derive(Debug)]
pub(super) struct Raw {
    _child: Child,
    addresses: Vec<SocketAddr>,
}

impl Raw {
    pub(super) async fn start(kubeconfig: &Path, namespace: &str, pod: &str, ports: &[u16]) -> Self {
        let program = std::env::current_exe().unwrap_or_else(|error| panic!("this program: {error}"));
        let mut command = Command::new(program);
        command.arg("raw").arg(kubeconfig).args([namespace, pod]).args(ports.iter().map(u16::to_string));
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("the raw loop: {error}"));
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let mut addresses = Vec::new();
        for port in ports {
            let line = lines.next_line().await.ok().flatten();
            let address = line.as_deref().and_then(|line| line.parse().ok());
            addresses.push(address.unwrap_or_else(|| panic!("the raw loop of {port}: {line:?}")));
        }
        Self { _child: child, addresses }
    }

    /// Where its ports are, in their order.
    pub(super) fn address(&self, index: usize) -> SocketAddr {
        self.addresses[index]
    }
}

/// `bench raw KUBECONFIG NAMESPACE POD PORT...`: prints an address for each port and serves until it is killed.
pub(crate) fn serve(args: &[String]) {
    let [kubeconfig, namespace, pod, ports @ ..] = args else {
        panic!("bench raw KUBECONFIG NAMESPACE POD PORT...")
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.unwrap_or_else(|error| panic!("runtime: {error}"));
    runtime.block_on(async {
        let client = connect(Path::new(kubeconfig)).await;
        let mut serving = tokio::task::JoinSet::new();
        for port in ports {
            let port: u16 = port.parse().unwrap_or_else(|error| panic!("{port}: {error}"));
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
            let listener = listener.unwrap_or_else(|error| panic!("a local port: {error}"));
            println!("{}", listener.local_addr().unwrap_or_else(|error| panic!("its address: {error}")));
            let (client, namespace, pod) = (client.clone(), namespace.clone(), pod.clone());
            serving.spawn(async move {
                loop {
                    let Ok((socket, _)) = listener.accept().await else { return };
                    let _ = socket.set_nodelay(true);
                    let (client, namespace, pod) = (client.clone(), namespace.clone(), pod.clone());
                    tokio::spawn(
                        async move { carry(socket, dial(&client, &namespace, &pod, port).await).await },
                    );
                }
            });
        }
        serving.join_all().await;
    });
}

/// A client of kube's own, without anything of the engine's.
pub(super) async fn connect(kubeconfig: &Path) -> Client {
    let read = Kubeconfig::read_from(kubeconfig).unwrap_or_else(|error| panic!("{error}"));
    let config = kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await;
    let config = config.unwrap_or_else(|error| panic!("{}: {error}", kubeconfig.display()));
    Client::try_from(config).unwrap_or_else(|error| panic!("no client: {error}"))
}

trait Socket:
    Stream<Item = tungstenite::Result<Message>> + Sink<Message, Error = tungstenite::Error> + Send
{
}
impl<S> Socket for S where
    S: Stream<Item = tungstenite::Result<Message>> + Sink<Message, Error = tungstenite::Error> + Send
{
}

async fn dial(client: &Client, namespace: &str, pod: &str, port: u16) -> impl Socket + Unpin + use<> {
    let request = Request::new(Pod::url_path(&(), Some(namespace))).portforward(pod, &[port]);
    let request = request.unwrap_or_else(|error| panic!("{error}"));
    let connection = client.connect(request).await.unwrap_or_else(|error| panic!("pod {pod}: {error}"));
    let mut stream = connection.into_stream();
    for _ in 0..2 {
        // The first message of each of its two channels holds the port.
        next(&mut stream).await;
    }
    stream
}

async fn carry(socket: TcpStream, stream: impl Socket) {
    let (mut sink, stream) = stream.split();
    let mut stream = std::pin::pin!(stream);
    let (mut read, mut write) = socket.into_split();
    let up = async {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(MESSAGE);
            buffer.put_u8(0);
            match read.read_buf(&mut (&mut buffer).limit(MESSAGE - 1)).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return,
            }
            if sink.send(Message::Binary(buffer.split().freeze())).await.is_err() {
                return;
            }
        }
    };
    let down = async {
        while let Some(Ok(message)) = stream.next().await {
            if let Message::Binary(bytes) = message
                && write.write_all(bytes.get(1..).unwrap_or_default()).await.is_err()
            {
                return;
            }
        }
    };
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}

/// Port-forwards without even a local port: bytes are made and looked at in the task that drives the WebSocket.
pub(super) struct Bare(Vec<Box<dyn Socket + Unpin>>);

impl Bare {
    pub(super) async fn open(kubeconfig: &Path, namespace: &str, pod: &str, port: u16, count: usize) -> Self {
        let client = connect(kubeconfig).await;
        let mut all: Vec<Box<dyn Socket + Unpin>> = Vec::new();
        for _ in 0..count {
            all.push(Box::new(dial(&client, namespace, pod, port).await));
        }
        Self(all)
    }

    /// All of them together; MB/s (10^6).
    pub(super) async fn carry(&mut self, direction: Direction, total: u64) -> f64 {
        let began = std::time::Instant::now();
        let count = self.0.len();
        let each = total / count as u64;
        let mut tasks = tokio::task::JoinSet::new();
        for mut socket in self.0.drain(..) {
            tasks.spawn(async move {
                drive(&mut socket, direction, each).await;
                socket
            });
        }
        self.0 = tasks.join_all().await;
        (each * count as u64) as f64 / began.elapsed().as_secs_f64() / 1e6
    }
}

async fn drive(socket: &mut (impl Socket + Unpin + ?Sized), direction: Direction, count: u64) {
    let word = if direction == Direction::Down { "down" } else { "up" };
    say(socket, format!("{word} {count}\n").as_bytes()).await;
    match direction {
        Direction::Down => {
            let mut checked = Checked::default();
            while checked.count() < count {
                checked.add(&next(socket).await);
            }
            assert_eq!((checked.count(), checked.wrong()), (count, None), "a wrong byte came");
        }
        Direction::Up => {
            let mut offset = 0;
            while offset < count {
                let part = (MESSAGE - 1).min(usize::try_from(count - offset).unwrap_or(MESSAGE));
                say(socket, pattern(offset, part)).await;
                offset += part as u64;
            }
            assert_eq!(&next(socket).await[..], b"ok\n", "a wrong byte arrived");
        }
    }
}

async fn say(socket: &mut (impl Socket + Unpin + ?Sized), bytes: &[u8]) {
    let mut message = BytesMut::with_capacity(1 + bytes.len());
    message.put_u8(0);
    message.put_slice(bytes);
    let sent = socket.send(Message::Binary(message.freeze())).await;
    sent.unwrap_or_else(|error| panic!("the raw loop: {error}"));
}

/// What the next message holds behind its channel's number.
async fn next(socket: &mut (impl Socket + Unpin + ?Sized)) -> Bytes {
    loop {
        match socket.next().await {
            Some(Ok(Message::Binary(mut bytes))) => {
                bytes.advance(bytes.len().min(1));
                return bytes;
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => panic!("the raw loop: {error}"),
            None => panic!("the raw loop ended"),
        }
    }
}
