//! Joining two TCP connections until both directions have ended: half-close both ways, a reset as a reset.

use std::cell::RefCell;
use std::io;
use std::time::Duration;

use rustix::net::{RecvFlags, Shutdown, sockopt};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Bytes moved at once. All connections share one buffer: bytes are taken from a socket only when the other has
/// them, so a slow receiver costs no memory here, however many there are.
const CHUNK: usize = 64 << 10;
/// A peer that is silent this long is asked whether it still lives, three times, at intervals: nodes vanish
/// without a word, and connections to them must not count for ever.
const KEEPALIVE: Duration = Duration::from_secs(120);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_PROBES: u32 = 3;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spliced {
    /// Bytes from the first to the second.
    pub(crate) there: u64,
    /// Bytes from the second to the first.
    pub(crate) back: u64,
    /// Whether either side was reset; then both were.
    pub(crate) reset: bool,
}

/// Joins `one` and `other`. When one is reset the other is too; a dropped future resets both.
pub(crate) async fn splice(one: TcpStream, other: TcpStream) -> Spliced {
    let abort = Abort { one: &one, other: &other, armed: true };
    let (mut there, mut back) = (0, 0);
    let reset = join(&one, &other, &mut there, &mut back).await.is_err();
    if !reset {
        abort.disarm();
    }
    Spliced { there, back, reset }
}

/// Settings that every connection of a caller gets. What the kernel refuses is not worth failing for.
pub(crate) fn tune(socket: &TcpStream) {
    let _ = socket.set_nodelay(true);
    let _ = sockopt::set_socket_keepalive(socket, true);
    let _ = sockopt::set_tcp_keepidle(socket, KEEPALIVE);
    let _ = sockopt::set_tcp_keepintvl(socket, KEEPALIVE_INTERVAL);
    let _ = sockopt::set_tcp_keepcnt(socket, KEEPALIVE_PROBES);
}

/// Sends RST on both when dropped armed: the sockets are closed right after it.
struct Abort<'a> {
    one: &'a TcpStream,
    other: &'a TcpStream,
    armed: bool,
}

impl Abort<'_> {
    fn disarm(mut self) {
        self.armed = false;
    }
}

impl Drop for Abort<'_> {
    fn drop(&mut self) {
        if self.armed {
            // A socket that cannot be told is gone already.
            let _ = self.one.set_zero_linger();
            let _ = self.other.set_zero_linger();
        }
    }
}

async fn join(one: &TcpStream, other: &TcpStream, there: &mut u64, back: &mut u64) -> io::Result<()> {
    let going = pump(one, other, there);
    let coming = pump(other, one, back);
    tokio::pin!(going, coming);
    let (mut gone, mut come) = (false, false);
    while !(gone && come) {
        tokio::select! {
            result = &mut going, if !gone => {
                result?;
                gone = true;
            }
            result = &mut coming, if !come => {
                result?;
                come = true;
            }
            // Who has ended its direction can still be reset, which no read tells any more.
            error = failure(one), if gone => return Err(error),
            error = failure(other), if come => return Err(error),
        }
    }
    Ok(())
}

/// Moves bytes until the end of `from`, then ends `to`.
async fn pump(from: &TcpStream, to: &TcpStream, count: &mut u64) -> io::Result<()> {
    loop {
        from.readable().await?;
        match step(from, to) {
            Ok(0) => break,
            Ok(moved) => *count += moved as u64,
            // Spurious, or the receiver is full: then it is the one to wait for.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => to.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(rustix::net::shutdown(to, Shutdown::Write)?)
}

/// One look, one write, and only then the take; 0 at the end of `from`. Never waits.
fn step(from: &TcpStream, to: &TcpStream) -> io::Result<usize> {
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.resize(CHUNK, 0);
        let seen = receive(from, scratch, RecvFlags::PEEK)?;
        if seen == 0 {
            return Ok(0);
        }
        let written = to.try_write(&scratch[..seen])?;
        // TRUNC takes bytes of a TCP socket without copying them.
        receive(from, &mut scratch[..written], RecvFlags::TRUNC)
    })
}

fn receive(from: &TcpStream, buffer: &mut [u8], flags: RecvFlags) -> io::Result<usize> {
    from.try_io(Interest::READABLE, || Ok(rustix::net::recv(from, buffer, flags)?.1))
}

/// Waits until the socket has failed: reset, most often. Cancel-safe.
pub(crate) async fn failure(socket: &TcpStream) -> io::Error {
    match socket.ready(Interest::ERROR).await {
        Ok(_) => match socket.take_error() {
            Ok(Some(error)) | Err(error) => error,
            // Whoever wrote to it has got the error already.
            Ok(None) => io::ErrorKind::ConnectionReset.into(),
        },
        Err(error) => error,
    }
}

#[cfg(test)]
mod tests;
