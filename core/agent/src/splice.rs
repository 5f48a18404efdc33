//! Joining two TCP connections until both directions have ended: half-close both ways, a reset as a reset.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::net::{RecvFlags, Shutdown, sockopt};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Bytes moved at once. All connections share one buffer: bytes are taken from a socket only when the other has
/// them, so a slow receiver costs no memory here, however many there are.
const CHUNK: usize = 64 << 10;
/// Steps of one direction before the other has its turn: far below what tokio lets a task do at once (128), all of which a
/// direction with two quick sockets would take for itself.
const TURN: usize = 8;
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

/// Joins `one` and `other`. When one is reset the other is too; a dropped future resets both, and so
/// does the end of the process.
pub(crate) async fn splice(one: TcpStream, other: TcpStream) -> Spliced {
    // From now on, and not only at the end: a process that is killed must not look like an orderly end of both.
    reset_on_close(&one, true);
    reset_on_close(&other, true);
    let (mut there, mut back) = (0, 0);
    let reset = join(&one, &other, &mut there, &mut back).await.is_err();
    if !reset {
        reset_on_close(&one, false);
        reset_on_close(&other, false);
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

fn reset_on_close(socket: &TcpStream, reset: bool) {
    // A socket that cannot be told is gone already.
    let _ = sockopt::set_socket_linger(socket, reset.then_some(Duration::ZERO));
}

/// One future without futures of its own: an idle connection costs little.
async fn join(one: &TcpStream, other: &TcpStream, there: &mut u64, back: &mut u64) -> io::Result<()> {
    let (mut going, mut coming) = (Way::new(there), Way::new(back));
    let mut failing: [Option<Pin<Box<dyn Future<Output = io::Error> + Send + '_>>>; 2] = [None, None];
    poll_fn(|cx| {
        if going.poll(cx, one, other)? & coming.poll(cx, other, one)? {
            return Poll::Ready(Ok(()));
        }
        // Who has ended its direction, or is not read since the other takes nothing, can still be reset, which no read
        // tells then.
        for (failing, (way, from)) in failing.iter_mut().zip([(&going, one), (&coming, other)]) {
            if !way.ended && !way.full {
                *failing = None;
                continue;
            }
            let failing = failing.get_or_insert_with(|| Box::pin(failure(from)));
            if let Poll::Ready(error) = failing.as_mut().poll(cx) {
                return Poll::Ready(Err(error));
            }
        }
        Poll::Pending
    })
    .await
}

/// One direction.
struct Way<'a> {
    count: &'a mut u64,
    /// There is something that the receiver does not take yet.
    full: bool,
    ended: bool,
}

impl<'a> Way<'a> {
    fn new(count: &'a mut u64) -> Self {
        Self { count, full: false, ended: false }
    }

    /// Moves bytes until the end of `from`, then ends `to`; a turn's worth at once. Tells whether it has ended.
    fn poll(&mut self, cx: &mut Context<'_>, from: &TcpStream, to: &TcpStream) -> io::Result<bool> {
        for _ in 0..TURN {
            if self.ended {
                return Ok(true);
            }
            let ready = if self.full { to.poll_write_ready(cx) } else { from.poll_read_ready(cx) };
            match ready {
                Poll::Ready(ready) => ready?,
                Poll::Pending => return Ok(false),
            }
            if std::mem::take(&mut self.full) {
                continue;
            }
            match step(from, to) {
                Ok(0) => {
                    rustix::net::shutdown(to, Shutdown::Write)?;
                    self.ended = true;
                }
                Ok(moved) => *self.count += moved as u64,
                // Spurious, or the receiver is full: then it is the one to wait for.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.full = true,
                Err(error) => return Err(error),
            }
        }
        if !self.ended {
            cx.waker().wake_by_ref();
        }
        Ok(self.ended)
    }
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
