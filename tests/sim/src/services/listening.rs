//! Who listens on this machine, by the kernel's own table.
//!
//! A Service whose endpoints do not listen refuses its callers. A relay that listened for them would accept first; so
//! it looks whether anybody listens before it does itself.

use std::collections::HashSet;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A look is good for this long; it costs the kernel about a millisecond.
const FRESH: Duration = Duration::from_millis(10);
/// The state of a socket that listens (`TCP_LISTEN` in the kernel's tcp_states.h).
const LISTEN: &str = "0A";
/// Read at once: the kernel tells those that listen first, and the rest is not read.
const PIECE: usize = 4 * 1024;

/// The kernel's table, looked at when somebody asks.
#[derive(Debug, Default)]
pub(super) struct Table(Mutex<Option<(Instant, Listening)>>);

/// Addresses at which somebody listens.
#[derive(Debug, Default)]
struct Listening {
    addresses: HashSet<SocketAddr>,
    /// Ports of listeners at all addresses.
    everywhere: HashSet<u16>,
}

impl Table {
    /// Whether somebody listens at one of these addresses.
    pub(super) fn has_any(&self, addresses: &[SocketAddr]) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref().is_none_or(|(seen, _)| seen.elapsed() > FRESH) {
            *known = Some((Instant::now(), look()));
        }
        let listening = known.as_ref().map(|(_, listening)| listening);
        listening.is_some_and(|listening| addresses.iter().any(|one| listening.has(*one)))
    }
}

impl Listening {
    fn has(&self, address: SocketAddr) -> bool {
        self.everywhere.contains(&address.port()) || self.addresses.contains(&address)
    }
}

fn look() -> Listening {
    let mut now = Listening::default();
    for file in ["/proc/net/tcp", "/proc/net/tcp6"] {
        // A machine without IPv6 has only the first.
        if let Some(text) = first_listening(file) {
            parse(&text, &mut now);
        }
    }
    now
}

/// The beginning of the table, as far as it is about sockets that listen. It is the kernel's memory: nothing to wait
/// for.
fn first_listening(file: &str) -> Option<String> {
    let mut file = std::fs::File::open(file).ok()?;
    let mut text = Vec::new();
    loop {
        let mut piece = vec![0; PIECE];
        let count = file.read(&mut piece).ok()?;
        text.extend_from_slice(&piece[..count]);
        let seen = String::from_utf8_lossy(&text);
        let whole = seen.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let last = whole.lines().last().and_then(|line| line.split_whitespace().nth(3));
        // The heading has no state.
        if count == 0 || last.is_some_and(|state| state != LISTEN && state != "st" && state.len() == 2) {
            return Some(whole.to_owned());
        }
    }
}

fn parse(text: &str, into: &mut Listening) {
    for line in text.lines() {
        let mut words = line.split_whitespace().skip(1);
        let (local, state) = (words.next(), words.nth(1));
        let Some((address, port)) =
            local.filter(|_| state == Some(LISTEN)).and_then(|local| local.split_once(':'))
        else {
            continue;
        };
        let Ok(port) = u16::from_str_radix(port, 16) else { continue };
        if address.bytes().all(|digit| digit == b'0') {
            into.everywhere.insert(port);
        } else if let (8, Ok(number)) = (address.len(), u32::from_str_radix(address, 16)) {
            // In the machine's own byte order.
            let address = IpAddr::V4(Ipv4Addr::from(number.to_ne_bytes()));
            into.addresses.insert(SocketAddr::new(address, port));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_seen_and_its_end_too() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert!(look().has(address));
        drop(listener);
        assert!(!look().has(address));
    }
}
