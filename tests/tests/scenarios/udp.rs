//! UDP goes through a forward: whole datagrams, each peer apart, and no carrier that is lost ends it.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use kubetether::{ErrorCode, Session};
use kubetether_tests::proxy::{Cut, Proxy};
use kubetether_tests::{App, CLOSE, LONG, Outcome, SHORT, eventually, scenario};
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// After this long a datagram, or its answer, is taken for lost and said again.
const AGAIN: Duration = Duration::from_secs(1);

/// A local program that asks by UDP.
struct Peer(UdpSocket);

impl Peer {
    async fn new(to: SocketAddr) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        socket.connect(to).await.unwrap();
        Self(socket)
    }

    /// The first answer that `is` the one to this question, which is said until there is one, as UDP's programs do.
    async fn ask(&self, question: &[u8], is: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        let mut buffer = vec![0; 65_536];
        let asked = async || {
            // A port that nobody listens on tells the next send.
            let _ = self.0.send(question).await;
            while let Ok(Ok(length)) = timeout(AGAIN, self.0.recv(&mut buffer)).await {
                if is(&buffer[..length]) {
                    return Ok(buffer[..length].to_vec());
                }
            }
            Err(format!("no answer to {} bytes", question.len()))
        };
        eventually("an answer by UDP", LONG, asked).await
    }

    async fn echo(&self, question: &[u8]) {
        self.ask(question, |answer| answer == question).await;
    }
}

/// Bytes of which no two datagrams here have the same.
fn bytes(mark: u8, length: usize) -> Vec<u8> {
    (0..length).map(|at| mark ^ at as u8 ^ (at >> 8) as u8).collect()
}

/// An A query, with an id of its own.
fn query(id: u16, name: &str) -> Vec<u8> {
    let mut query = [&id.to_be_bytes()[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    for label in name.split('.') {
        query.push(u8::try_from(label.len()).unwrap());
        query.extend_from_slice(label.as_bytes());
    }
    query.extend_from_slice(&[0, 0, 1, 0, 1]);
    query
}

async fn echoes(session: &Session, destination: &str) {
    let forward = session.forward(destination).await.good();
    Peer::new(forward.address()).await.echo(destination.as_bytes()).await;
    forward.close(CLOSE).await.good();
}

#[test]
fn core_dns_answers() {
    scenario("udp-dns", async |at| {
        at.shop(&App::orders()).await;
        let session = at.session().await;
        let forward = session.forward("kube-dns.kube-system:53/udp").await.good();
        assert_eq!(forward.destination().to_string(), "kube-dns.kube-system:53/udp");
        let peer = Peer::new(forward.address()).await;
        for id in [7, 8] {
            let question = query(id, "kubernetes.default.svc.cluster.local");
            let answer = peer.ask(&question, |answer| answer.starts_with(&id.to_be_bytes())).await;
            // Of a response without an error, with one answer.
            assert_eq!((answer[2] >> 7, answer[3] & 15, answer[7]), (1, 0, 1), "{answer:?}");
        }
        let stats = forward.stats();
        assert_eq!((stats.connections, stats.open, stats.refused), (1, 1, 0));
        assert!(stats.sent > 100 && stats.received > stats.sent, "{stats:?}");
        session.close(CLOSE).await.good();
    });
}

#[test]
fn datagrams_of_all_sizes_and_peers_apart() {
    scenario("udp-echo", async |at| {
        at.shop(&App::orders().udp("dns", 5353)).await;
        let namespace = at.namespace().name();
        let session = at.session().await;
        let forward = session.forward("orders:5353/udp").await.good();
        let peers = [Peer::new(forward.address()).await, Peer::new(forward.address()).await];
        for length in [1, 1200, 8000, 65_507] {
            for (mark, peer) in (1..).zip(&peers) {
                peer.echo(&bytes(mark, length)).await;
            }
        }
        // Each heard what it has said itself, or a second answer to that.
        for (mark, peer) in (1..).zip(&peers) {
            let mut buffer = vec![0; 65_536];
            while let Ok(length) = peer.0.try_recv(&mut buffer) {
                assert_eq!(buffer[..length], bytes(mark, length)[..]);
            }
        }
        let stats = forward.stats();
        assert_eq!((stats.connections, stats.open), (2, 2));
        for destination in [
            format!("orders.{namespace}:5353/udp"),
            "svc/orders:dns/udp".to_owned(),
            "deploy/orders:5353/udp".to_owned(),
        ] {
            echoes(&session, &destination).await;
        }
        session.forward("svc/orders:http/udp").await.bad(ErrorCode::NoSuchPort, &["http", "5353"]);
        session.forward("nobody:53/udp").await.bad(ErrorCode::NameNotFound, &["nobody"]);
        session.close(CLOSE).await.good();
    });
}

#[test]
fn an_association_outlives_its_carriers() {
    scenario("udp-cuts", async |at| {
        at.shop(&App::orders().udp("dns", 5353)).await;
        let proxy = Proxy::start(at.cluster().kubeconfig()).await.unwrap();
        let config = at.config().kubeconfig(proxy.kubeconfig());
        let session = Session::start(config).await.good();
        let forward = session.forward("orders:5353/udp").await.good();
        let peer = Peer::new(forward.address()).await;
        peer.echo(b"before").await;
        for round in 0..3 {
            assert!(proxy.wire().cut(Cut::Upgraded) > 0, "round {round}: there was a carrier");
            peer.echo(format!("after cut {round}").as_bytes()).await;
        }
        // It is the one that it was.
        let stats = forward.stats();
        assert_eq!((stats.connections, stats.open, stats.refused), (1, 1, 0));
        session.close(CLOSE).await.good();
        at.cleaned_up(SHORT).await;
    });
}
