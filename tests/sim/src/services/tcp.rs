//! TCP ports of Services.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::backends::Backends;

/// Of one direction of a connection.
const BUFFER: usize = 64 * 1024;
/// As many may wait to be accepted as a kernel lets.
const BACKLOG: i32 = 4096;

/// Listens while somebody is behind the port. Connections outlive their endpoint's place in the Service.
pub(super) async fn serve(
    address: SocketAddr,
    mut backends: watch::Receiver<Arc<Backends>>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> io::Result<()> {
    loop {
        // An error means that the Service is gone.
        if backends.wait_for(|backends| !backends.is_empty()).await.is_err() {
            return Ok(());
        }
        let listener = listen(address)?;
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let Ok((caller, from)) = accepted else { continue };
                    let Some(to) = backends.borrow().pick(from.ip()) else { continue };
                    let stop = stop.clone();
                    tasks.spawn(async move {
                        tokio::select! {
                            () = relay(caller, to) => {}
                            () = stop.cancelled() => {}
                        }
                    });
                }
                changed = backends.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    if backends.borrow().is_empty() {
                        break;
                    }
                }
            }
        }
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
async fn relay(mut caller: TcpStream, to: SocketAddr) {
    let connected = TcpStream::connect(to).await;
    let Ok(mut endpoint) = connected else {
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
