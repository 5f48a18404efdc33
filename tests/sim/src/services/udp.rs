//! UDP ports of Services.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::backends::Backends;

/// A caller that says nothing for this long is forgotten, as conntrack does.
const IDLE: Duration = Duration::from_secs(30);
/// Callers at once; further ones are not heard.
const CALLERS: usize = 4096;
const DATAGRAM: usize = 65_536;

struct Caller {
    socket: Arc<UdpSocket>,
    to: SocketAddr,
    seen: Instant,
}

/// Passes datagrams while somebody is behind the port; without anybody they are lost.
pub(super) async fn serve(address: SocketAddr, backends: watch::Receiver<Arc<Backends>>) -> io::Result<()> {
    let socket = Arc::new(UdpSocket::bind(address).await?);
    let mut callers: HashMap<SocketAddr, Caller> = HashMap::new();
    let mut answers = JoinSet::new();
    let mut buffer = vec![0; DATAGRAM];
    loop {
        // An error is an answer that a caller did not take.
        let Ok((count, from)) = socket.recv_from(&mut buffer).await else { continue };
        callers.retain(|_, one| one.seen.elapsed() < IDLE);
        while answers.try_join_next().is_some() {}
        let current = backends.borrow().clone();
        if callers.get(&from).is_none_or(|one| !current.contains(one.to)) {
            let Some(to) = current.pick(from.ip()) else { continue };
            if callers.len() >= CALLERS {
                continue;
            }
            let own = UdpSocket::bind((IpAddr::from(Ipv4Addr::UNSPECIFIED), 0)).await?;
            own.connect(to).await?;
            let own = Arc::new(own);
            answers.spawn(bring_back(own.clone(), socket.clone(), from));
            callers.insert(from, Caller { socket: own, to, seen: Instant::now() });
        }
        if let Some(one) = callers.get_mut(&from) {
            one.seen = Instant::now();
            // A lost datagram is in the nature of UDP.
            let _ = one.socket.send(&buffer[..count]).await;
        }
    }
}

async fn bring_back(from: Arc<UdpSocket>, through: Arc<UdpSocket>, to: SocketAddr) {
    let mut buffer = vec![0; DATAGRAM];
    loop {
        match tokio::time::timeout(IDLE, from.recv(&mut buffer)).await {
            Ok(Ok(count)) => drop(through.send_to(&buffer[..count], to).await),
            // Refused by the endpoint: the next datagram may find it.
            Ok(Err(_)) => tokio::time::sleep(Duration::from_millis(10)).await,
            Err(_) => return,
        }
    }
}
