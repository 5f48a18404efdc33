//! A local UDP port: each peer that sends to it has an association of its own with the destination.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kubetether_link::{Datagrams, Link, Open, ResetCode, StreamReset, wire};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::refusal::{never_opened, refused};
use super::{BREATH, DIAL, GATEWAY, Route};
use crate::flow::{Counted, FlowEnd};
use crate::{Deadline, Error, ErrorCode, Result};

/// An association without a datagram either way for this long has ended; the gateway's time is the same.
const IDLE: Duration = Duration::from_secs(60);
/// Datagrams of one peer that wait until its association is open; more are dropped.
const WAITING: usize = 64;

/// A local address that sends.
struct Peer {
    /// To its task; closed when that has ended.
    datagrams: mpsc::Sender<Vec<u8>>,
    last: Instant,
}

/// Takes datagrams for ever, of at most so many peers at once.
pub(super) async fn serve(socket: Arc<UdpSocket>, route: &Arc<Route>, most: usize) {
    let mut peers: HashMap<SocketAddr, Peer> = HashMap::new();
    let mut buffer = vec![0; wire::MAX_DATAGRAM + 1];
    loop {
        let (length, from) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                // What an earlier answer met, on some systems.
                tracing::debug!(%error, "a local datagram could not be taken");
                tokio::time::sleep(BREATH).await;
                continue;
            }
        };
        let datagram = buffer[..length].to_vec();
        let datagram = match peers.get_mut(&from) {
            Some(peer) => {
                peer.last = Instant::now();
                match peer.datagrams.try_send(datagram) {
                    // Its association has ended: it gets a new one.
                    Err(mpsc::error::TrySendError::Closed(datagram)) => datagram,
                    Ok(()) => continue,
                    Err(mpsc::error::TrySendError::Full(_)) => {
                        tracing::trace!("a datagram is dropped: too many wait for their association");
                        continue;
                    }
                }
            }
            None => datagram,
        };
        if peers.len() >= most && !peers.contains_key(&from) {
            make_room(&mut peers, most);
        }
        let (datagrams, taken) = mpsc::channel(WAITING);
        // There is room for one.
        let _ = datagrams.try_send(datagram);
        peers.insert(from, Peer { datagrams, last: Instant::now() });
        let association = Association {
            route: route.clone(),
            socket: socket.clone(),
            peer: from,
            counted: route.begin(from),
        };
        route.shared.tasks.spawn("forwarded datagrams", association.serve(taken));
    }
}

/// Forgets the peers that are over, and when there are none of those the one that has been silent longest.
fn make_room(peers: &mut HashMap<SocketAddr, Peer>, most: usize) {
    peers.retain(|_, peer| !peer.datagrams.is_closed());
    while peers.len() >= most
        && let Some(oldest) = peers.iter().min_by_key(|(_, peer)| peer.last).map(|(peer, _)| *peer)
    {
        peers.remove(&oldest);
    }
}

/// What one peer says, and hears.
struct Association {
    route: Arc<Route>,
    socket: Arc<UdpSocket>,
    peer: SocketAddr,
    counted: Counted,
}

impl Association {
    async fn serve(self, datagrams: mpsc::Receiver<Vec<u8>>) {
        let ending = self.route.ending.clone();
        let through = async {
            // Boxed: it need not be held while the association lasts.
            match Box::pin(self.route.associate(Deadline::after(GATEWAY))).await {
                Ok(association) => {
                    let end = self.carry(association, datagrams).await;
                    tracing::debug!(end = end.map(tracing::field::display), "association ended");
                    end.map_or(FlowEnd::Idle, FlowEnd::cut)
                }
                Err(error) => {
                    tracing::debug!(error = error.report(), "a forwarded association was refused");
                    never_opened(&error)
                }
            }
        };
        let end = tokio::select! {
            biased;
            () = ending.cancelled() => FlowEnd::Closed,
            end = through => end,
        };
        self.counted.end(end);
    }

    /// Passes datagrams both ways. Returns with what the cluster's side has ended it, or `None` when it was idle or its peer
    /// had to give way.
    async fn carry(
        &self,
        association: Datagrams,
        mut datagrams: mpsc::Receiver<Vec<u8>>,
    ) -> Option<ResetCode> {
        let tally = self.counted.tally();
        let mut last = Instant::now();
        let code = |error: &std::io::Error| Some(StreamReset::of(error).unwrap_or(ResetCode::Refused));
        loop {
            tokio::select! {
                datagram = datagrams.recv() => {
                    let datagram = datagram?;
                    // Longer than there are any is only what the machine itself has put together.
                    let length = datagram.len().min(wire::MAX_DATAGRAM);
                    if let Err(error) = association.send(&datagram[..length]) {
                        return code(&error);
                    }
                    tally.sent.fetch_add(length as u64, Ordering::Relaxed);
                }
                datagram = association.recv() => match datagram {
                    Ok(datagram) => {
                        if let Err(error) = self.socket.send_to(&datagram, self.peer).await {
                            tracing::debug!(%error, "a datagram could not be given to its peer");
                        }
                        tally.received.fetch_add(datagram.len() as u64, Ordering::Relaxed);
                    }
                    Err(error) => return code(&error),
                },
                () = sleep_until(last + IDLE) => {
                    association.close(ResetCode::Idle);
                    return None;
                }
            }
            last = Instant::now();
        }
    }
}

impl Route {
    /// An association with the destination.
    pub(super) async fn associate(&self, deadline: Deadline) -> Result<Datagrams> {
        let (mut place, mut fresh) = self.resolver.place(&self.shared.cluster, false, deadline).await?;
        loop {
            let link = self.shared.gateway.link(&self.shared, deadline).await?;
            match self.open_datagrams(&link, place.clone(), deadline).await {
                // As with connections: the pod may be another one, or the gateway.
                Err(error) if !fresh && matches!(error.code(), ErrorCode::Refused | ErrorCode::Deadline) => {
                    (place, fresh) = self.resolver.place(&self.shared.cluster, true, deadline).await?;
                }
                Err(_) if !link.is_usable() && deadline.left() > BREATH => tokio::time::sleep(BREATH).await,
                other => return other,
            }
        }
    }

    async fn open_datagrams(
        &self,
        link: &Link,
        (host, port): (String, u16),
        deadline: Deadline,
    ) -> Result<Datagrams> {
        let limit = deadline.left().min(DIAL);
        let open = Open::DialDatagrams { host: host.clone(), port, deadline: limit };
        match tokio::time::timeout_at(deadline.instant(), link.open_datagrams(open)).await {
            Ok(Ok(association)) => Ok(association),
            Ok(Err(error)) => Err(refused(self.resolver.destination(), &host, error)),
            Err(_) => Err(Error::deadline(format_args!(
                "opening an association with {} in the cluster",
                self.resolver.destination()
            ))),
        }
    }
}
