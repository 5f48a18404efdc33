//! Whether somebody listens at an endpoint of this machine, found out without a connection that a program would notice.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::Local;

/// Who listens in this network namespace, by proc(5); `None` where that cannot be read.
#[derive(Debug)]
pub(crate) struct Listeners(Option<Vec<SocketAddr>>);

impl Listeners {
    /// As it is now. Blocks: the kernel may walk through all connections of the machine.
    pub(crate) fn now() -> Self {
        Self(listeners())
    }

    /// Whether it is certain that nobody listens there. Of other machines' endpoints that is not known.
    pub(crate) fn nobody_at(&self, local: &Local) -> bool {
        match local {
            // A path that may not be looked at may have somebody.
            Local::Unix(path) => matches!(path.try_exists(), Ok(false)),
            Local::Tcp { host, port } => {
                let wanted: &[IpAddr] = match host.parse() {
                    Ok(address) => &[address],
                    Err(_) if host == "localhost" => &[LOOPBACK.0, LOOPBACK.1],
                    Err(_) => return false,
                };
                let Some(listeners) = &self.0 else { return false };
                wanted.iter().all(IpAddr::is_loopback)
                    && !listeners
                        .iter()
                        .any(|at| at.port() == *port && wanted.iter().any(|address| takes(at.ip(), *address)))
            }
        }
    }
}

const LOOPBACK: (IpAddr, IpAddr) = (IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST));

/// Whether a listener at this address may take connections to that one. One at `::` may take those of IPv4, too.
fn takes(listener: IpAddr, address: IpAddr) -> bool {
    let listener = listener.to_canonical();
    listener == address || listener.is_unspecified() && (listener.is_ipv6() || address.is_ipv4())
}

fn listeners() -> Option<Vec<SocketAddr>> {
    let mut all = Vec::new();
    let mut read = 0;
    for file in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
        // Without IPv6 there is no second one.
        let Ok(file) = File::open(file) else { continue };
        read += 1;
        let lines = BufReader::new(file).lines().skip(1).map_while(Result::ok);
        // Listeners come first (`tcp4_seq_show` walks their table before that of connections), which may be many.
        all.extend(lines.map_while(|line| listener(&line)));
    }
    (read > 0).then_some(all)
}

/// `  0: 0100007F:1F90 00000000:0000 0A …`: the local address, in the machine's own order of bytes, and the state LISTEN.
fn listener(line: &str) -> Option<SocketAddr> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (local, state) = (fields.next()?, fields.nth(1)?);
    let (address, port) = local.split_once(':')?;
    let word =
        |at: usize| u32::from_str_radix(address.get(at * 8..at * 8 + 8)?, 16).ok().map(u32::to_ne_bytes);
    let address: IpAddr = if address.len() == 8 {
        word(0)?.into()
    } else {
        let mut bytes = [0; 16];
        for (at, four) in bytes.chunks_exact_mut(4).enumerate() {
            four.copy_from_slice(&word(at)?);
        }
        bytes.into()
    };
    (state == "0A").then_some(SocketAddr::new(address, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn nobody(host: &str, port: u16) -> bool {
        is_alone(&Local::Tcp { host: host.into(), port })
    }

    fn is_alone(local: &Local) -> bool {
        Listeners::now().nobody_at(local)
    }

    #[test]
    fn who_listens_is_seen_and_who_does_not() {
        // None of them can be anybody else's while these live.
        let [one, all] = ["127.0.0.1:0", "0.0.0.0:0"].map(|at| TcpListener::bind(at).unwrap());
        let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
        assert!(!nobody("127.0.0.1", port(&one)) && !nobody("localhost", port(&one)));
        assert!(!nobody("127.0.0.9", port(&all)));
        assert!(nobody("127.0.0.9", port(&one)));
        // Bound, and nobody listens.
        let bound = bound_only();
        assert!(nobody("127.0.0.1", bound.local_addr().unwrap().port()));
        // Of other machines nothing is known, and names are not looked up.
        assert!(!nobody("10.255.255.1", 1) && !nobody("db.example", 1));
    }

    fn bound_only() -> tokio::net::TcpSocket {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        socket
    }

    #[test]
    fn a_socket_that_is_not_there_has_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.sock");
        assert!(is_alone(&Local::Unix(path.clone())));
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert!(!is_alone(&Local::Unix(path)));
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn lines_of_the_table() {
        let rest = "00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0";
        let v4 = format!("   0: 0100007F:1F90 00000000:0000 0A {rest}");
        assert_eq!(listener(&v4), Some("127.0.0.1:8080".parse().unwrap()));
        let v6 = format!("   1: 00000000000000000000000001000000:0050 {:0>32}:0000 0A {rest}", 0);
        assert_eq!(listener(&v6), Some("[::1]:80".parse().unwrap()));
        assert_eq!(listener(&v4.replace(" 0A ", " 01 ")), None);
        assert_eq!(listener("nonsense"), None);
    }
}
