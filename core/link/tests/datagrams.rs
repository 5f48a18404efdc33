//! UDP associations, with the state machine's real driver and real sockets.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::{io, net::Ipv4Addr, sync::Arc, time::Duration};

use common::{Ends, LONG, must, noise};
use kubetether_link::{
    DatagramEnd, Datagrams, Open, OpenError, Refusal, RefusalCode, ResetCode, StreamReset, Tally,
    relay_datagrams,
};
use tokio::net::UdpSocket;

fn udp() -> Open {
    Open::DialDatagrams { host: "dns".into(), port: 53, deadline: LONG }
}

async fn association(ends: &Ends) -> (Datagrams, Datagrams) {
    let (near, far) = tokio::join!(ends.client.open_datagrams(udp()), async {
        let incoming = ends.agent.accept().await.unwrap();
        assert_eq!(*incoming.open(), udp());
        incoming.accept_datagrams()
    });
    (near.unwrap(), far)
}

async fn socket() -> UdpSocket {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap()
}

/// Two sockets that are connected to each other.
async fn sockets() -> (UdpSocket, UdpSocket) {
    let (a, b) = (socket().await, socket().await);
    a.connect(b.local_addr().unwrap()).await.unwrap();
    b.connect(a.local_addr().unwrap()).await.unwrap();
    (a, b)
}

#[tokio::test]
async fn datagrams_of_all_sizes_over_real_carriers() {
    let ends = Ends::new(2).await;
    let (near, far) = association(&ends).await;
    for length in [0, 1, 1200, 8000, 65_507] {
        let datagram = noise(length);
        near.send(&datagram).unwrap();
        assert_eq!(must("a datagram", far.recv()).await.unwrap(), datagram[..]);
        far.send(&datagram).unwrap();
        assert_eq!(must("its answer", near.recv()).await.unwrap(), datagram[..]);
    }
    assert_eq!(near.send(&[0; 65_508]).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    assert_eq!(ends.client.stats().datagrams_received, 5);
}

#[tokio::test]
async fn what_is_said_with_the_opening_goes_along_and_a_refusal_is_told() {
    let ends = Ends::new(1).await;
    let (mut opening, near) = ends.client.open_datagrams_early(udp()).unwrap();
    near.send(b"question").unwrap();
    let far = must("the association", ends.agent.accept()).await.unwrap().accept_datagrams();
    assert_eq!(must("the question", far.recv()).await.unwrap(), b"question"[..]);
    must("the answer to the opening", opening.opened()).await.unwrap();

    let (_, near) = ends.client.open_datagrams_early(udp()).unwrap();
    let incoming = must("the association", ends.agent.accept()).await.unwrap();
    incoming.refuse(Refusal::new(RefusalCode::NameNotFound, "no such name"));
    assert_eq!(must("a refusal", near.recv()).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    let refused = tokio::join!(ends.client.open_datagrams(udp()), async {
        drop(ends.agent.accept().await);
    });
    assert!(matches!(refused.0, Err(OpenError::Refused(_))));
}

#[tokio::test]
async fn an_association_outlives_all_carriers_and_ends_with_a_reason() {
    let mut ends = Ends::new(2).await;
    let (near, far) = association(&ends).await;
    ends.carriers.drain(..).for_each(|carrier| carrier.cut());
    ends.carriers_are(0).await;
    // It waits for a carrier.
    near.send(b"patient").unwrap();
    ends.attach().await;
    assert_eq!(must("the datagram", far.recv()).await.unwrap(), b"patient"[..]);
    near.send(b"last").unwrap();
    assert_eq!(must("the last datagram", far.recv()).await.unwrap(), b"last"[..]);
    near.close(ResetCode::Idle);
    assert_eq!(must("the end", far.cut()).await, ResetCode::Idle);
    let error = must("the end", far.recv()).await.unwrap_err();
    assert_eq!(StreamReset::of(&error), Some(ResetCode::Idle));
    drop(far);
    while ends.agent.stats().streams + ends.client.stats().streams > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_socket_and_an_association_are_joined() {
    let ends = Ends::new(1).await;
    let (near, far) = association(&ends).await;
    let (inner, outer) = sockets().await;
    let tally = Arc::new(Tally::default());
    let (end, wanted) = tokio::sync::oneshot::channel::<()>();
    let wanted = async { drop(wanted.await) };
    let relay = tokio::spawn(relay_datagrams(far, inner, LONG, wanted, Some(Arc::clone(&tally))));
    let mut buffer = vec![0; 65_536];
    for length in [1, 0, 1200, 9000] {
        near.send(&noise(length)).unwrap();
        let got = must("a datagram", outer.recv(&mut buffer)).await.unwrap();
        assert_eq!(buffer[..got], noise(length)[..]);
        outer.send(&noise(length)).await.unwrap();
        assert_eq!(must("its answer", near.recv()).await.unwrap(), noise(length)[..]);
    }
    drop(end);
    let flow = must("the end", relay).await.unwrap();
    assert_eq!((flow.sent, flow.received, flow.end), (4, 4, DatagramEnd::Wanted));
    assert_eq!(tally.sent.load(std::sync::atomic::Ordering::Relaxed), 10_201);
    assert_eq!(must("the end", near.cut()).await, ResetCode::Dropped);
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_told_and_so_is_silence() {
    let ends = Ends::new(1).await;
    let (near, far) = association(&ends).await;
    let (inner, outer) = sockets().await;
    drop(outer);
    let relay = tokio::spawn(relay_datagrams(far, inner, LONG, std::future::pending(), None));
    near.send(b"anybody there?").unwrap();
    assert_eq!(must("the end", near.cut()).await, ResetCode::Refused);
    let flow = must("the end", relay).await.unwrap();
    assert_eq!(flow.end, DatagramEnd::Socket(ResetCode::Refused));

    let (near, far) = association(&ends).await;
    let (inner, _outer) = sockets().await;
    let idle = Duration::from_millis(50);
    let relay = tokio::spawn(relay_datagrams(far, inner, idle, std::future::pending(), None));
    assert_eq!(must("the end", near.cut()).await, ResetCode::Idle);
    assert_eq!(must("the end", relay).await.unwrap().end, DatagramEnd::Idle);
}
