//! TCP ports of Services.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::backends::Backends;
use super::listening::Table;

/// Of one direction of a connection.
const BUFFER: usize = 64 * 1024;
/// As many may wait to be accepted as a kernel lets.
const BACKLOG: i32 = 4096;
/// Between two looks whether anybody listens: at first, and later.
const EAGER: Duration = Duration::from_millis(10);
const PATIENT: Duration = Duration::from_millis(500);

/// A port of a Service.
pub(super) struct Port {
    backends: watch::Receiver<Arc<Backends>>,
    listening: Arc<Table>,
    tasks: TaskTracker,
    stop: CancellationToken,
    // relays -> port: an endpoint refused its connection
    refused: Arc<Notify>,
}

impl Port {
    pub(super) fn new(
        backends: watch::Receiver<Arc<Backends>>,
        listening: Arc<Table>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        Self { backends, listening, tasks, stop, refused: Arc::default() }
    }

    /// Listens while somebody behind the port does. Connections outlive their endpoint's place in the Service.
    pub(super) async fn serve(mut self, address: SocketAddr) -> io::Result<()> {
        // An error means that the Service is gone.
        while self.until_open().await.is_ok() {
            let listener = listen(address)?;
            loop {
                tokio::select! {
                    accepted = listener.accept() => if let Ok((caller, from)) = accepted {
                        self.take(caller, from);
                    },
                    changed = self.backends.changed() => if changed.is_err() || self.backends.borrow().all().is_empty() {
                        break;
                    },
                    () = self.refused.notified() => if !self.is_open() {
                        break;
                    },
                }
            }
        }
        Ok(())
    }

    fn take(&self, caller: TcpStream, from: SocketAddr) {
        let Some(to) = self.backends.borrow().pick(from.ip()) else { return };
        let (stop, refused) = (self.stop.clone(), self.refused.clone());
        self.tasks.spawn(async move {
            tokio::select! {
                () = relay(caller, to, &refused) => {}
                () = stop.cancelled() => {}
            }
        });
    }

    fn is_open(&self) -> bool {
        let backends = self.backends.borrow().clone();
        !backends.all().is_empty() && self.listening.has_any(backends.all())
    }

    /// Waits until somebody behind the port listens.
    async fn until_open(&mut self) -> Result<(), watch::error::RecvError> {
        let mut pause = EAGER;
        while !self.is_open() {
            let nobody = self.backends.borrow_and_update().all().is_empty();
            tokio::select! {
                changed = self.backends.changed() => {
                    changed?;
                    pause = EAGER;
                }
                () = tokio::time::sleep(pause), if !nobody => pause = (pause * 3 / 2).min(PATIENT),
            }
        }
        Ok(())
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Both directions, each to its end; a reset goes on as a reset.
async fn relay(mut caller: TcpStream, to: SocketAddr, refused: &Notify) {
    let connected = TcpStream::connect(to).await;
    let Ok(mut endpoint) = connected else {
        refused.notify_one();
        // The caller was accepted already: refused looks like this here.
        let _ = caller.set_zero_linger();
        return;
    };
    // Only slower without it.
    let _ = (caller.set_nodelay(true), endpoint.set_nodelay(true));
    let done = {
        let ((from_caller, to_caller), (from_endpoint, to_endpoint)) = (caller.split(), endpoint.split());
        tokio::try_join!(copy(from_caller, to_endpoint), copy(from_endpoint, to_caller))
    };
    if done.is_err() {
        let _ = (caller.set_zero_linger(), endpoint.set_zero_linger());
    }
}

async fn copy(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            // The other side may have gone already.
            let _ = to.shutdown().await;
            return Ok(());
        }
        to.write_all(&buffer[..count]).await?;
    }
}
