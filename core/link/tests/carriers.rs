//! Carriers that do not do what they should.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::{io, time::Duration};

use bytes::{Bytes, BytesMut};
use common::*;
use kubetether_link::{
    Acceptor, AttachError, Attached, CarrierId, CarrierRead, CarrierWrite, CloseReason, GoodbyeCode, IoRead,
    IoWrite, Link, LinkConfig, Role,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::Instant,
};

fn client() -> Link {
    Link::client(LinkConfig::new(Role::Client)).unwrap()
}

#[tokio::test]
async fn whoever_is_no_agent_is_told_from_one() {
    let link = client();
    let (near, mut far) = tcp_pair().await;
    let (read, write) = near.into_split();
    far.write_all(b"\x01\x00\x00\x04HTTP").await.unwrap();
    let error = must("an error", link.attach(IoRead::new(read), write, soon())).await.unwrap_err();
    assert!(matches!(error, AttachError::Protocol(_)), "{error}");

    let (near, far) = tcp_pair().await;
    let (read, write) = near.into_split();
    drop(far);
    let error = must("an error", link.attach(IoRead::new(read), write, soon())).await.unwrap_err();
    assert!(matches!(error, AttachError::Ended | AttachError::Io(_)), "{error}");

    let (near, _far) = tcp_pair().await;
    let (read, write) = near.into_split();
    let deadline = Instant::now() + Duration::from_millis(50);
    let error = must("an error", link.attach(IoRead::new(read), write, deadline)).await.unwrap_err();
    assert!(matches!(error, AttachError::TimedOut), "{error}");

    assert_eq!(link.close_reason(), None);
    assert_eq!(link.stats().carriers, 0);
    link.close(GoodbyeCode::Closed, "");
    must("the end", link.closed()).await;
    let (near, _far) = tcp_pair().await;
    let (read, write) = near.into_split();
    assert!(matches!(link.attach(IoRead::new(read), write, soon()).await, Err(AttachError::Closed(_))));
}

#[tokio::test]
async fn whoever_is_no_client_is_sent_away() {
    let acceptor = Acceptor::new(LinkConfig::new(Role::Gateway), 1).unwrap();
    let (mut near, far) = tcp_pair().await;
    let (read, write) = far.into_split();
    near.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let deadline = Instant::now() + Duration::from_millis(50);
    // What looks like a frame of an unknown kind is skipped until the time is over.
    let error = must("an error", acceptor.carrier(IoRead::new(read), write, deadline)).await.unwrap_err();
    assert!(matches!(error, AttachError::TimedOut), "{error}");
    let mut rest = Vec::new();
    let _ = must("the end", near.read_to_end(&mut rest)).await;
    assert_eq!(rest, b"");
}

#[tokio::test]
async fn a_client_of_another_version_is_told_so() {
    let acceptor = Acceptor::new(LinkConfig::new(Role::Gateway), 1).unwrap();
    let (mut near, far) = tcp_pair().await;
    let (read, write) = far.into_split();
    // Versions 9 to 9, and nothing else that this one understands.
    near.write_all(b"\x01\x00\x00\x13kubetether\x01\x01\x09\x02\x01\x09\x05\x01x").await.unwrap();
    let error = must("an error", acceptor.carrier(IoRead::new(read), write, soon())).await.unwrap_err();
    assert!(
        matches!(&error, AttachError::Refused(goodbye) if goodbye.code == GoodbyeCode::Version),
        "{error}"
    );
    let answer = read_all(&mut near).await;
    assert_eq!((answer[0], answer[4]), (0x04, 4));
    assert!(String::from_utf8_lossy(&answer).contains("9 to 9"));
}

#[tokio::test]
async fn links_are_bounded() {
    let acceptor = Acceptor::new(LinkConfig::new(Role::Gateway), 1).unwrap();
    let mut held = Vec::new();
    for round in 0..2 {
        let link = client();
        let (near, far) = tcp_pair().await;
        let ((read, write), (far_read, far_write)) = (near.into_split(), far.into_split());
        let (attached, joined) = tokio::join!(
            link.attach(IoRead::new(read), write, soon()),
            acceptor.carrier(IoRead::new(far_read), far_write, soon())
        );
        match (round, attached, joined) {
            (0, Ok(_), Ok(Attached::New(agent))) => held.push((link, agent)),
            (1, Err(AttachError::Refused(near)), Err(AttachError::Refused(far))) => {
                assert_eq!((near.code, near), (GoodbyeCode::Busy, far));
            }
            other => panic!("{other:?}"),
        }
    }
}

/// A carrier that needs no system, so that the clock may be simulated.
async fn attach_in_memory(
    link: &Link,
    acceptor: &Acceptor,
) -> (Result<CarrierId, AttachError>, Result<Attached, AttachError>) {
    let (near, far) = tokio::io::duplex(10_000);
    let ((near_read, near_write), (far_read, far_write)) = (tokio::io::split(near), tokio::io::split(far));
    tokio::join!(
        link.attach(IoRead::new(near_read), IoWrite::new(near_write), soon()),
        acceptor.carrier(IoRead::new(far_read), IoWrite::new(far_write), soon())
    )
}

#[tokio::test(start_paused = true)]
async fn a_link_long_without_a_carrier_gives_way() {
    let acceptor = Acceptor::new(LinkConfig::new(Role::Gateway), 2).unwrap();
    let (gone, stays, new) = (client(), client(), client());
    let (Ok(carrier), Ok(Attached::New(gone_agent))) = attach_in_memory(&gone, &acceptor).await else {
        panic!()
    };
    let (Ok(_), Ok(Attached::New(stays_agent))) = attach_in_memory(&stays, &acceptor).await else { panic!() };
    gone.retire(carrier);
    let mut carriers = gone_agent.carriers();
    must("the loss", carriers.wait_for(|up| *up == 0)).await.unwrap();
    // It may be back in a moment.
    let (refused, _) = attach_in_memory(&new, &acceptor).await;
    assert!(matches!(&refused, Err(AttachError::Refused(goodbye)) if goodbye.code == GoodbyeCode::Busy));
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(gone_agent.close_reason(), None);
    let (Ok(_), Ok(Attached::New(_new_agent))) = attach_in_memory(&new, &acceptor).await else { panic!() };
    assert!(gone_agent.close_reason().is_some());
    assert_eq!(stays_agent.close_reason(), None);
    assert_eq!(*acceptor.links().borrow(), 2);
    // Nobody else gives way.
    let (refused, _) = attach_in_memory(&client(), &acceptor).await;
    assert!(matches!(&refused, Err(AttachError::Refused(goodbye)) if goodbye.code == GoodbyeCode::Busy));
}

#[tokio::test]
async fn carriers_may_be_anything_that_reads_and_writes() {
    let acceptor = Acceptor::new(LinkConfig::new(Role::Gateway), 1).unwrap();
    let link = client();
    let ((near_read, near_write), (far_read, far_write)) = {
        let (near, far) = tokio::io::duplex(10_000);
        (tokio::io::split(near), tokio::io::split(far))
    };
    let (attached, joined) = tokio::join!(
        link.attach(IoRead::new(near_read), IoWrite::new(near_write), soon()),
        acceptor.carrier(IoRead::new(far_read), IoWrite::new(far_write), soon())
    );
    attached.unwrap();
    let Ok(Attached::New(agent)) = joined else { panic!() };
    let (near, mut far) = stream(&link, &agent).await;
    let bytes = noise(1 << 20);
    let writer = write_all(near, &bytes);
    assert!(read_all(&mut far).await[..] == bytes[..]);
    writer.abort();
}

/// Hands bytes on until it is told to stop, and then neither fails nor ends.
struct Deaf<W>(W, tokio::sync::watch::Receiver<bool>);

impl<W: CarrierWrite + Sync> CarrierWrite for Deaf<W> {
    const HEADROOM: usize = 3;
    const BUFFER: usize = 32 << 10;

    async fn send(&mut self, buffer: BytesMut) -> io::Result<BytesMut> {
        assert!(buffer.len() <= Self::BUFFER && buffer[..3] == [0; 3]);
        let mut bytes = BytesMut::zeroed(W::HEADROOM);
        bytes.extend_from_slice(&buffer[3..]);
        let Self(inner, stop) = self;
        let stopped = async { stop.wait_for(|stop| *stop).await.is_ok() };
        tokio::select! {
            biased;
            _ = stopped => std::future::pending().await,
            sent = inner.send(bytes) => sent,
        }
    }

    async fn close(&mut self) -> io::Result<()> {
        self.0.close().await
    }
}

#[tokio::test]
async fn a_carrier_that_takes_nothing_more_is_given_up() {
    let quick =
        |role| LinkConfig::new(role).heartbeat(Duration::from_millis(20)).silence(Duration::from_millis(200));
    let acceptor = Acceptor::new(quick(Role::Gateway), 1).unwrap();
    let link = Link::client(quick(Role::Client)).unwrap();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let (near, far) = tcp_pair().await;
    let ((read, write), (far_read, far_write)) = (near.into_split(), far.into_split());
    let (attached, joined) = tokio::join!(
        link.attach(IoRead::new(read), Deaf(write, stopped), soon()),
        acceptor.carrier(IoRead::new(far_read), far_write, soon())
    );
    attached.unwrap();
    let Ok(Attached::New(agent)) = joined else { panic!() };
    let (near, _far) = stream(&link, &agent).await;
    stop.send_replace(true);
    // The agent hears nothing more and gives it up; so the client's reads end.
    let mut carriers = agent.carriers();
    must("the agent's carrier to go", carriers.wait_for(|up| *up == 0)).await.unwrap();
    let mut carriers = link.carriers();
    must("the client's carrier to go", carriers.wait_for(|up| *up == 0)).await.unwrap();
    drop(near);
    link.close(GoodbyeCode::Closed, "");
    must("the end", link.closed()).await;
}

#[tokio::test]
async fn a_peer_that_does_not_read_delays_the_end_by_a_second_at_most() {
    let ends = Ends::new(1).await;
    let (near, mut far) = tcp_pair().await;
    let (read, write) = near.into_split();
    // A carrier whose other end says hello and then neither reads nor writes.
    let attach = ends.client.attach(IoRead::new(read), write, soon());
    let hello = async {
        let mut bytes = vec![0; 4096];
        let length = far.read(&mut bytes).await.unwrap();
        bytes.truncate(length);
        bytes
    };
    tokio::select! {
        _ = attach => panic!("nobody said hello"),
        hello = hello => assert!(hello.len() > 100),
    }
    ends.client.close(GoodbyeCode::Closed, "");
    must("the end", ends.client.closed()).await;
}

struct Panics;

impl CarrierRead for Panics {
    async fn recv(&mut self) -> io::Result<Option<Bytes>> {
        panic!("as the test wants it");
    }
}

#[tokio::test]
async fn a_panic_ends_the_link_with_a_reason() {
    let link = client();
    let (near, _far) = tcp_pair().await;
    let (_read, write) = near.into_split();
    let error = must("an error", link.attach(Panics, write, soon())).await.unwrap_err();
    assert!(matches!(error, AttachError::Closed(CloseReason::Panicked)), "{error}");
    assert_eq!(must("the end", link.closed()).await, CloseReason::Panicked);
}

#[tokio::test]
async fn a_link_without_carriers_ends_after_its_grace_period() {
    let grace = Duration::from_millis(100);
    let mut ends = Ends::with(
        LinkConfig::new(Role::Client).grace(grace),
        LinkConfig::new(Role::Gateway).grace(grace),
        2,
    )
    .await;
    let (mut near, _far) = ends.stream().await;
    ends.carriers.clear();
    assert_eq!(must("the client's end", ends.client.closed()).await, CloseReason::Lost);
    assert_eq!(must("the agent's end", ends.agent.closed()).await, CloseReason::Lost);
    assert_eq!(near.read_u8().await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(*ends.acceptor.links().borrow(), 0);
}

#[tokio::test]
async fn a_client_that_comes_too_late_learns_that_the_link_is_gone() {
    let mut ends = Ends::with(
        LinkConfig::new(Role::Client),
        LinkConfig::new(Role::Gateway).grace(Duration::from_millis(10)),
        1,
    )
    .await;
    ends.carriers.clear();
    must("the agent's end", ends.agent.closed()).await;
    let (near, far) = tcp_pair().await;
    let ((read, write), (far_read, far_write)) = (near.into_split(), far.into_split());
    let (attached, joined) = tokio::join!(
        ends.client.attach(IoRead::new(read), write, soon()),
        ends.acceptor.carrier(IoRead::new(far_read), far_write, soon())
    );
    assert!(attached.is_err() && joined.is_err());
    assert!(matches!(must("the client's end", ends.client.closed()).await, CloseReason::Lost));
}

#[tokio::test]
async fn a_cancelled_attach_leaves_no_carrier() {
    let link = client();
    let (near, mut far) = tcp_pair().await;
    let (read, write) = near.into_split();
    let waiting =
        tokio::time::timeout(Duration::from_millis(20), link.attach(IoRead::new(read), write, soon())).await;
    assert!(waiting.is_err());
    let mut hello = Vec::new();
    must("the carrier's end", far.read_to_end(&mut hello)).await.unwrap();
    assert_eq!(link.stats().carriers, 0);
}

/// Tells by its end when a carrier's reader has ended.
struct Marked<R> {
    read: R,
    _mark: std::sync::Arc<()>,
}

impl<R: CarrierRead> CarrierRead for Marked<R> {
    async fn recv(&mut self) -> io::Result<Option<Bytes>> {
        self.read.recv().await
    }
}

#[tokio::test]
async fn a_carrier_is_retired_under_full_load_and_nothing_is_said_twice() {
    let (link, acceptor) = (client(), Acceptor::new(LinkConfig::new(Role::Gateway), 1).unwrap());
    let marks = [(); 4].map(|()| std::sync::Arc::new(()));
    let (mut ids, mut agent) = (Vec::new(), None);
    for carrier in 0..2 {
        let (near, far) = tcp_pair().await;
        let ((read, write), (far_read, far_write)) = (near.into_split(), far.into_split());
        let (attached, joined) = tokio::join!(
            link.attach(Marked { read: IoRead::new(read), _mark: marks[carrier * 2].clone() }, write, soon()),
            acceptor.carrier(
                Marked { read: IoRead::new(far_read), _mark: marks[carrier * 2 + 1].clone() },
                far_write,
                soon()
            )
        );
        ids.push(attached.unwrap());
        if let Attached::New(new) = joined.unwrap() {
            agent = Some(new);
        }
    }
    let agent = agent.unwrap();
    let (near, far) = stream(&link, &agent).await;
    let ((mut near_read, near_write), (mut far_read, far_write)) =
        (tokio::io::split(near), tokio::io::split(far));
    let bytes = noise(16 << 20);
    let writers = [write_all(near_write, &bytes), write_all(far_write, &bytes)];
    let mut up = vec![0; bytes.len()];
    must("the first half", far_read.read_exact(&mut up[..8 << 20])).await.unwrap();
    link.retire(ids[0]);
    assert_eq!(link.stats().carriers, 1);
    let rest = async { far_read.read_exact(&mut up[8 << 20..]).await.unwrap() };
    let (_, down) = must("all of it", async { tokio::join!(rest, read_all(&mut near_read)) }).await;
    assert!(up[..] == bytes[..] && down[..] == bytes[..]);
    // Both ends are done with the carrier, and only with this one.
    let over = async {
        while marks[..2].iter().any(|mark| std::sync::Arc::strong_count(mark) > 1) {
            tokio::task::yield_now().await;
        }
    };
    must("the carrier's end", over).await;
    for end in [&link, &agent] {
        let stats = end.stats();
        assert_eq!((stats.resent, stats.carriers_lost, stats.carriers), (0, 0, 1));
        assert_eq!(end.close_reason(), None);
    }
    assert!(marks[2..].iter().all(|mark| std::sync::Arc::strong_count(mark) > 1));
    writers.iter().for_each(|writer| writer.abort());
}
