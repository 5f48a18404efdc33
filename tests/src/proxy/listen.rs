//! Takes connections, or refuses them, and owns what becomes of them.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::connections::Entry;
use super::error::ProxyError;
use super::wire::Shared;

/// Connections at a time; more wait in the kernel.
const MOST: usize = 4096;

const BACKLOG: u32 = 1024;

/// After a failure to accept, as when descriptors are short.
const REST: Duration = Duration::from_millis(50);

/// A port of ours: listening, or only held so that nobody else gets it.
pub(super) enum Door {
    Open(TcpListener),
    Shut(TcpSocket),
}

impl Door {
    pub(super) fn new() -> std::io::Result<(Self, SocketAddr)> {
        let listener = bound(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?.listen(BACKLOG)?;
        let address = listener.local_addr()?;
        Ok((Self::Open(listener), address))
    }

    fn shut(self, address: SocketAddr) -> std::io::Result<Self> {
        match self {
            Self::Open(listener) => {
                let holder = bound(address)?;
                drop(listener);
                Ok(Self::Shut(holder))
            }
            Self::Shut(holder) => Ok(Self::Shut(holder)),
        }
    }

    fn open(self) -> std::io::Result<Self> {
        match self {
            Self::Open(listener) => Ok(Self::Open(listener)),
            Self::Shut(holder) => holder.listen(BACKLOG).map(Self::Open),
        }
    }

    /// Never, when it is shut. Cancel-safe.
    async fn accept(&self) -> std::io::Result<TcpStream> {
        match self {
            Self::Open(listener) => listener.accept().await.map(|(stream, _)| stream),
            Self::Shut(_) => std::future::pending().await,
        }
    }
}

/// Two sockets may hold the port for a moment: the one that listens and the one that will hold it.
fn bound(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Serves until `stop`, then ends everything.
pub(super) async fn listen<F>(
    mut door: Door,
    address: SocketAddr,
    shared: Arc<Shared>,
    serve: impl Fn(TcpStream, Arc<Entry>) -> F,
    stop: CancellationToken,
) -> Result<(), ProxyError>
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut settings = shared.settings.subscribe();
    let mut tasks = JoinSet::new();
    let beating = shared.metronome();
    tokio::pin!(beating);
    loop {
        let refuse = settings.borrow_and_update().refuse;
        let moved = if refuse { door.shut(address) } else { door.open() };
        door = moved.map_err(ProxyError::system("opening or closing its own port"))?;
        shared.refusing.send_if_modified(|now| std::mem::replace(now, refuse) != refuse);
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            _ = settings.changed() => {}
            Some(ended) = tasks.join_next() => if let Err(error) = ended {
                tracing::warn!(%error, "a connection's task failed");
            },
            () = &mut beating => {}
            accepted = door.accept(), if tasks.len() < MOST => match accepted {
                Ok(stream) => {
                    let (entry, listed) = shared.connections.add();
                    let _ = stream.set_nodelay(true);
                    let serving = serve(stream, entry);
                    tasks.spawn(async move {
                        let _listed = listed;
                        serving.await;
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept");
                    tokio::time::sleep(REST).await;
                }
            },
        }
    }
    drop(door);
    tasks.shutdown().await;
    Ok(())
}
