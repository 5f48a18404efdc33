//! The ports that an asker's connections come from: none of them twice within minutes.
//!
//! A kernel leads a new connection to where the former one from the same port went as long as it remembers that one: 10 s
//! where its server reset it, 120 s where nobody answered (nf_conntrack_tcp_timeout_close and _syn_sent). Left to itself a
//! kernel may take a port again after seconds, and a request counts as lost for what happened to an earlier one.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use socket2::{Domain, Protocol, Socket, Type};

/// Below those that a kernel gives by itself (ip_local_port_range).
const FIRST: u16 = 1024;
const COUNT: u64 = 31_744;
/// As many ports as askers use at most: 200 a second.
const EACH: Duration = Duration::from_millis(5);

/// Ports in their order, by the clock: of two programs the later one begins behind the earlier one.
#[derive(Debug)]
pub struct Ports {
    next: u64,
}

impl Ports {
    /// Begins at the port of this moment.
    #[must_use]
    pub fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { next: u64::try_from(now.as_millis() / EACH.as_millis()).unwrap_or_default() }
    }

    /// The one for the next connection.
    pub fn take(&mut self) -> u16 {
        self.next += 1;
        FIRST + u16::try_from(self.next % COUNT).unwrap_or_default()
    }
}

impl Default for Ports {
    fn default() -> Self {
        Self::new()
    }
}

/// Connects from a port, or from any if somebody has it.
///
/// # Errors
/// Those of the connect.
pub fn connect(from: u16, to: SocketAddr, deadline: Duration) -> io::Result<TcpStream> {
    let any = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    let free = socket.bind(&SocketAddr::new(any, from).into());
    match free.and_then(|()| socket.connect_timeout(&to.into(), deadline)) {
        Ok(()) => Ok(socket.into()),
        Err(error) if matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable) => {
            TcpStream::connect_timeout(&to, deadline)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn none_comes_twice_within_minutes() {
        let mut ports = Ports::new();
        let taken: std::collections::BTreeSet<u16> = (0..COUNT).map(|_| ports.take()).collect();
        assert_eq!(taken.len() as u64, COUNT);
        assert!(taken.iter().all(|port| (FIRST..32_768).contains(port)));
        assert!(EACH * u32::try_from(COUNT).unwrap() > Duration::from_secs(120));
    }

    #[test]
    fn a_port_that_somebody_has_is_no_obstacle() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let taken = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let first = connect(taken, address, EACH * 200).unwrap();
        assert_eq!(first.local_addr().unwrap().port(), taken);
        // The same two ends again.
        let second = connect(taken, address, EACH * 200).unwrap();
        assert_ne!(second.local_addr().unwrap().port(), taken);
    }
}
