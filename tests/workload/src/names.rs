//! Names in the embedded cluster, whose pods share this machine's files: its name server is told by the environment.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

/// The address of the pod, where all of its servers listen.
const POD_IP: &str = "SIM_POD_IP";
/// `ADDRESS:PORT` of the name server.
const NAMESERVER: &str = "SIM_NAMESERVER";
/// Search domains, parted by spaces.
const SEARCH: &str = "SIM_SEARCH";

const PATIENCE: Duration = Duration::from_secs(2);
/// As resolvers do: a datagram may be lost, and a server busy.
const ATTEMPTS: u32 = 3;
const A: u16 = 1;

/// The pod's own address, if this is a pod of the embedded cluster.
pub(crate) fn pod_address() -> Option<IpAddr> {
    std::env::var(POD_IP).ok()?.parse().ok()
}

/// The address of a name, by the embedded cluster's name server; `None` when this is no pod of it.
pub(crate) fn look_up(host: &str) -> Option<io::Result<IpAddr>> {
    let server: SocketAddr = std::env::var(NAMESERVER).ok()?.parse().ok()?;
    let search = std::env::var(SEARCH).unwrap_or_default();
    let candidates =
        search.split_whitespace().map(|domain| format!("{host}.{domain}")).chain([host.to_owned()]);
    let mut last = Err(ErrorKind::NotFound.into());
    for name in candidates {
        last = ask(server, &name);
        if last.is_ok() {
            break;
        }
    }
    Some(last)
}

fn ask(server: SocketAddr, name: &str) -> io::Result<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut answer = [0; 4096];
    let mut last = ErrorKind::TimedOut.into();
    for _ in 0..ATTEMPTS {
        socket.send(&question(name))?;
        match socket.recv(&mut answer) {
            Ok(count) => return first_address(&answer[..count]).ok_or_else(|| ErrorKind::NotFound.into()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn question(name: &str) -> Vec<u8> {
    // One question, recursion desired.
    let mut bytes = vec![0x4b, 0x54, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.trim_end_matches('.').split('.') {
        bytes.push(u8::try_from(label.len()).unwrap_or(u8::MAX));
        bytes.extend(label.as_bytes());
    }
    bytes.extend([0, 0, 1, 0, 1]);
    bytes
}

/// The first A record of an answer.
fn first_address(answer: &[u8]) -> Option<IpAddr> {
    let number = |at: usize| Some(u16::from_be_bytes([*answer.get(at)?, *answer.get(at + 1)?]));
    let mut at = skip_name(answer, 12)? + 4;
    for _ in 0..number(6)? {
        at = skip_name(answer, at)?;
        let (kind, length) = (number(at)?, usize::from(number(at + 8)?));
        at += 10;
        let data = answer.get(at..at + length)?;
        if kind == A {
            return <[u8; 4]>::try_from(data).ok().map(IpAddr::from);
        }
        at += length;
    }
    None
}

fn skip_name(answer: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *answer.get(at)? {
            0 => return Some(at + 1),
            // A pointer to a name further up.
            0xc0.. => return Some(at + 2),
            length => at += usize::from(length) + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_address_is_found_behind_an_alias() {
        let mut answer = question("a.b");
        answer[7] = 2;
        answer.extend([0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 1, 0, 2, 0xc0, 14]);
        answer.extend([0xc0, 14, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 127, 9, 0, 1]);
        assert_eq!(first_address(&answer), Some(Ipv4Addr::new(127, 9, 0, 1).into()));
        assert_eq!(first_address(&answer[..answer.len() - 1]), None);
        assert_eq!(first_address(&question("a.b")), None);
    }
}
