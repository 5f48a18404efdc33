//! Two ends of a link over loopback TCP, for the tests.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

use std::{sync::Arc, time::Duration};

use kubetether_link::{Acceptor, Attached, IoRead, Link, LinkConfig, Role, Stream};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinHandle},
    time::{Instant, timeout},
};

/// Long enough for anything that works.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// A client, an agent, and the carriers between them.
pub(crate) struct Ends {
    pub(crate) client: Link,
    pub(crate) agent: Link,
    pub(crate) acceptor: Acceptor,
    pub(crate) carriers: Vec<Cable>,
}

/// One carrier: a proxy between two TCP connections, which can be cut.
pub(crate) struct Cable(Vec<AbortHandle>);

impl Cable {
    pub(crate) fn cut(&self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.cut();
    }
}

pub(crate) fn soon() -> Instant {
    Instant::now() + LONG
}

/// Awaits something that must come.
pub(crate) async fn must<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(LONG, future).await {
        Ok(done) => done,
        Err(_) => panic!("this did not come: {what}"),
    }
}

/// Two connected TCP sockets.
pub(crate) async fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (far, _) = listener.accept().await.unwrap();
    near.set_nodelay(true).unwrap();
    far.set_nodelay(true).unwrap();
    (near, far)
}

impl Ends {
    pub(crate) async fn new(carriers: usize) -> Self {
        Self::with(LinkConfig::new(Role::Client), LinkConfig::new(Role::Gateway), carriers).await
    }

    pub(crate) async fn with(client: LinkConfig, agent: LinkConfig, carriers: usize) -> Self {
        let client = Link::client(client).unwrap();
        let acceptor = Acceptor::new(agent, 4).unwrap();
        let (first, agent) = attach(&client, &acceptor).await;
        let mut ends = Self { client, agent: agent.unwrap(), acceptor, carriers: vec![first] };
        for _ in 1..carriers {
            ends.attach().await;
        }
        ends
    }

    /// One more carrier.
    pub(crate) async fn attach(&mut self) {
        let (cable, new) = attach(&self.client, &self.acceptor).await;
        assert!(new.is_none());
        self.carriers.push(cable);
    }

    /// A stream from the client, and its other end.
    pub(crate) async fn stream(&self) -> (Stream, Stream) {
        stream(&self.client, &self.agent).await
    }

    /// Waits until both ends have so many carriers.
    pub(crate) async fn carriers_are(&self, number: usize) {
        for link in [&self.client, &self.agent] {
            let mut carriers = link.carriers();
            must("carriers", carriers.wait_for(|up| *up == number)).await.unwrap();
        }
    }
}

/// A stream from one end, and its other end.
pub(crate) async fn stream(from: &Link, to: &Link) -> (Stream, Stream) {
    let (near, far) =
        tokio::join!(from.open(kubetether_link::Open::Call), async { to.accept().await.unwrap().accept() });
    (near.unwrap(), far)
}

async fn attach(client: &Link, acceptor: &Acceptor) -> (Cable, Option<Link>) {
    let (near, near_far) = tcp_pair().await;
    let (far_near, far) = tcp_pair().await;
    let (near_read, near_write) = near_far.into_split();
    let (far_read, far_write) = far_near.into_split();
    let pump = |mut from: tokio::net::tcp::OwnedReadHalf, mut to: tokio::net::tcp::OwnedWriteHalf| {
        tokio::spawn(async move {
            let _ = tokio::io::copy(&mut from, &mut to).await;
            let _ = to.shutdown().await;
        })
        .abort_handle()
    };
    let cable = Cable(vec![pump(near_read, far_write), pump(far_read, near_write)]);
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    let (attached, joined) = must("attach", async {
        tokio::join!(
            client.attach(IoRead::new(near_read), near_write, soon()),
            acceptor.carrier(IoRead::new(far_read), far_write, soon())
        )
    })
    .await;
    attached.unwrap();
    match joined.unwrap() {
        Attached::New(link) => (cable, Some(link)),
        Attached::Joined => (cable, None),
    }
}

/// Bytes that do not repeat soon.
pub(crate) fn noise(length: usize) -> Arc<[u8]> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}

/// Writes all and finishes, in a task of its own.
pub(crate) fn write_all(
    mut to: impl tokio::io::AsyncWrite + Unpin + Send + 'static,
    bytes: &Arc<[u8]>,
) -> JoinHandle<()> {
    let bytes = Arc::clone(bytes);
    tokio::spawn(async move {
        to.write_all(&bytes).await.unwrap();
        to.shutdown().await.unwrap();
        // Kept until the other direction is over, too.
        std::future::pending::<()>().await;
    })
}

/// Reads to the end.
pub(crate) async fn read_all(from: &mut (impl tokio::io::AsyncRead + Unpin)) -> Vec<u8> {
    let mut all = Vec::new();
    must("end of stream", from.read_to_end(&mut all)).await.unwrap();
    all
}
