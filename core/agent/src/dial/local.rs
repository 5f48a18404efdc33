//! A local port for each connection, also when the kernel has no fresh one.
//!
//! Of a connection whose caller ends first, our socket to the original is the one that keeps its port for a minute
//! (TIME_WAIT). There are some 28,000 ports for each destination, so beyond 470 such connections a second none is
//! left, and `net.ipv4.tcp_tw_reuse` is not for a pod to set. But a port that is asked for by number may be taken
//! over from TIME_WAIT at once, by a socket that allows it (`SO_REUSEADDR`) and with a peer whose segments carry time
//! stamps, which tell old ones from new (RFC 6191; Linux `tcp_twsk_unique`).

use std::cell::Cell;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;

/// Ports tried one after another. Nearly every one of them is only waiting.
const TRIES: usize = 64;
/// How long the kernel is not asked after it has found none or [`MANY`] connections were made: it looks at every
/// port, or at every other one, each time (2 ms once half of them wait, measured).
const TIGHT: Duration = Duration::from_secs(1);
/// Connections in [`TIGHT`]: in a minute not half of the ports.
const MANY: u32 = 200;
/// How long [`RANGE`] is not read again: that takes longer than a connection's own calls.
const FRESH: Duration = Duration::from_secs(1);
/// The kernel's own default for [`RANGE`].
const DEFAULT: RangeInclusive<u16> = 32_768..=60_999;
const RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

// The agent has one thread.
thread_local! {
    static NEXT: Cell<Option<u16>> = const { Cell::new(None) };
    static TIGHT_UNTIL: Cell<Option<Instant>> = const { Cell::new(None) };
    static RECENT: Cell<Option<(Instant, u32)>> = const { Cell::new(None) };
    static PORTS: Cell<Option<(Instant, [u16; 2])>> = const { Cell::new(None) };
}

/// Connects from any local port. Cancel-safe.
pub(super) async fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let now = Instant::now();
    if count(now) {
        TIGHT_UNTIL.set(Some(now + TIGHT));
    }
    let tight = TIGHT_UNTIL.get().is_some_and(|end| now < end);
    if !tight {
        match attempt(to, 0).await {
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {}
            done => return done,
        }
    }
    let range = range(now);
    for _ in 0..TRIES {
        match attempt(to, next(&range)).await {
            // Of a listener, or of an open connection to the same destination.
            Err(error) if is_taken(&error) => {}
            done => {
                if !tight && done.is_ok() {
                    TIGHT_UNTIL.set(Some(now + TIGHT));
                }
                return done;
            }
        }
    }
    attempt(to, 0).await
}

/// Whether many connections were made lately.
fn count(now: Instant) -> bool {
    let (since, count) = RECENT.get().filter(|(since, _)| now < *since + TIGHT).unwrap_or((now, 0));
    RECENT.set(Some((since, count + 1)));
    count >= MANY
}

fn is_taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable)
}

async fn attempt(to: SocketAddr, port: u16) -> io::Result<TcpStream> {
    let (socket, any) = if to.is_ipv4() {
        (TcpSocket::new_v4()?, Ipv4Addr::UNSPECIFIED.into())
    } else {
        (TcpSocket::new_v6()?, Ipv6Addr::UNSPECIFIED.into())
    };
    // Also on those that the kernel finds a port for: both sockets must allow it.
    socket.set_reuseaddr(true)?;
    if port > 0 {
        socket.bind(SocketAddr::new(any, port))?;
    }
    socket.connect(to).await
}

/// One after the other, so that the one that has waited longest is the next; from anywhere at first.
fn next(range: &RangeInclusive<u16>) -> u16 {
    let first = || {
        let mut random = [0; 2];
        // Only for spreading: without it all start at the same port.
        let _ = getrandom::fill(&mut random);
        range.start() + u16::from_ne_bytes(random) % (range.end() - range.start()).max(1)
    };
    let port = NEXT.get().filter(|port| range.contains(port)).unwrap_or_else(first);
    NEXT.set(Some(if port == *range.end() { *range.start() } else { port + 1 }));
    port
}

/// The ports that are for this.
fn range(now: Instant) -> RangeInclusive<u16> {
    if let Some((_, [first, last])) = PORTS.get().filter(|(read, _)| now < *read + FRESH) {
        return first..=last;
    }
    let range = read();
    PORTS.set(Some((now, [*range.start(), *range.end()])));
    range
}

fn read() -> RangeInclusive<u16> {
    std::fs::read_to_string(RANGE).ok().and_then(|text| parse(&text)).unwrap_or(DEFAULT)
}

fn parse(text: &str) -> Option<RangeInclusive<u16>> {
    let mut numbers = text.split_whitespace().map(str::parse);
    let (first, last) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    (0 < first && first <= last).then_some(first..=last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn many_are_told_from_some() {
        for _ in 0..5 {
            assert!((0..MANY).all(|_| !count(Instant::now())));
            tokio::time::sleep(TIGHT).await;
        }
        assert_eq!((0..2 * MANY).filter(|_| count(Instant::now())).count(), MANY as usize);
        tokio::time::sleep(TIGHT).await;
        assert!(!count(Instant::now()));
    }

    #[test]
    fn ports_go_round() {
        assert_eq!(parse("32768\t60999\n"), Some(DEFAULT));
        assert_eq!((parse(""), parse("0 5"), parse("9 5"), parse("1 x")), (None, None, None, None));
        let range = 1000..=1002;
        let ports: Vec<u16> = (0..6).map(|_| next(&range)).collect();
        assert_eq!(ports[..3], ports[3..]);
        assert!((1000..=1002).all(|port| ports.contains(&port)), "{ports:?}");
        assert_eq!(next(&(7..=7)), 7);
    }
}
