//! Streams over real sockets: what goes in comes out, ends as it was ended, and nobody holds up another.

mod common;

use std::io::ErrorKind;

use common::*;
use kubetether_link::{
    Answer, CallCode, CallError, CloseReason, GoodbyeCode, IoRead, LinkConfig, Open, OpenError, Refusal,
    RefusalCode, Request, ResetCode, Role, StreamReset,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn ten_megabytes_both_ways(carriers: usize) {
    let ends = Ends::new(carriers).await;
    let (near, far) = ends.stream().await;
    let bytes = noise(10 << 20);
    let (mut near_read, near_write) = near.into_split();
    let (mut far_read, far_write) = far.into_split();
    let writers = [write_all(near_write, &bytes), write_all(far_write, &bytes)];
    let (back, forth) = tokio::join!(read_all(&mut near_read), read_all(&mut far_read));
    assert!(back[..] == bytes[..] && forth[..] == bytes[..]);
    writers.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn ten_megabytes_over_one_carrier() {
    ten_megabytes_both_ways(1).await;
}

#[tokio::test]
async fn ten_megabytes_over_four_carriers() {
    ten_megabytes_both_ways(4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_megabytes_over_four_carriers_on_two_threads() {
    ten_megabytes_both_ways(4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn carriers_are_cut_during_a_transfer() {
    let mut ends = Ends::new(2).await;
    let (near, far) = ends.stream().await;
    let bytes = noise(20 << 20);
    let (mut near_read, near_write) = near.into_split();
    let (mut far_read, far_write) = far.into_split();
    let writers = [write_all(near_write, &bytes), write_all(far_write, &bytes)];
    let readers = tokio::spawn(async move {
        let (back, forth) = tokio::join!(read_all(&mut near_read), read_all(&mut far_read));
        (back, forth)
    });
    let before = ends.client.stats().received;
    for round in 1..=6 {
        // Somewhere in the middle, each time later.
        while ends.client.stats().received < before + round * (2 << 20) {
            tokio::task::yield_now().await;
        }
        ends.carriers.remove(0).cut();
        ends.attach().await;
    }
    let (back, forth) = must("both directions", readers).await.unwrap();
    assert!(back[..] == bytes[..] && forth[..] == bytes[..]);
    assert!(ends.client.stats().carriers_lost >= 6);
    writers.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn all_carriers_are_lost_and_the_stream_goes_on_with_a_new_one() {
    let mut ends = Ends::new(2).await;
    let (mut near, mut far) = ends.stream().await;
    near.write_all(b"before").await.unwrap();
    let mut bytes = [0; 6];
    far.read_exact(&mut bytes).await.unwrap();
    ends.carriers.clear();
    ends.carriers_are(0).await;
    near.write_all(b"during").await.unwrap();
    ends.attach().await;
    must("bytes", far.read_exact(&mut bytes)).await.unwrap();
    assert_eq!(&bytes, b"during");
}

#[tokio::test]
async fn half_close_and_reset_arrive_as_such() {
    let ends = Ends::new(1).await;
    let (mut near, mut far) = ends.stream().await;
    near.write_all(b"request").await.unwrap();
    near.shutdown().await.unwrap();
    assert_eq!(read_all(&mut far).await, b"request");
    far.write_all(b"answer").await.unwrap();
    drop(near.into_split().1);
    far.shutdown().await.unwrap();

    let (mut near, far) = ends.stream().await;
    far.reset(ResetCode::TimedOut);
    let error = must("reset", near.read_u8()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(StreamReset::of(&error), Some(ResetCode::TimedOut));
    let (mut near, far) = ends.stream().await;
    drop(far);
    let error = must("drop", near.read_u8()).await.unwrap_err();
    assert_eq!(StreamReset::of(&error), Some(ResetCode::Dropped));
    assert_eq!(near.write_u8(1).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn refusals_arrive_as_they_were_said() {
    let ends = Ends::new(1).await;
    let dial = Open::Dial { host: "db".into(), port: 1, deadline: LONG };
    let refusal = Refusal::new(RefusalCode::NameNotFound, "no db here");
    let (opened, ()) = tokio::join!(ends.client.open(dial.clone()), async {
        let incoming = ends.agent.accept().await.unwrap();
        assert_eq!(incoming.open(), &dial);
        incoming.refuse(refusal.clone());
    });
    assert!(matches!(opened, Err(OpenError::Refused(got)) if got == refusal));
    let (opened, ()) = tokio::join!(ends.client.open(dial.clone()), async {
        drop(ends.agent.accept().await.unwrap());
    });
    assert!(matches!(opened, Err(OpenError::Refused(got)) if got.code == RefusalCode::Internal));
    // One that was written to early says it in its own words.
    let (mut opening, mut stream) = ends.client.open_early(dial).unwrap();
    stream.write_all(b"early").await.unwrap();
    ends.agent.accept().await.unwrap().refuse(Refusal::new(RefusalCode::Refused, ""));
    assert!(matches!(must("answer", opening.opened()).await, Err(OpenError::Refused(_))));
    assert_eq!(stream.read_u8().await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn one_who_gives_up_is_noticed() {
    let ends = Ends::new(1).await;
    let (_, stream) = ends.client.open_early(Open::Call).unwrap();
    let mut incoming = ends.agent.accept().await.unwrap();
    drop(stream);
    must("the caller's end", incoming.cancelled()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_streams_at_once() {
    let ends = Ends::new(2).await;
    let agent = ends.agent.clone();
    let echo = tokio::spawn(async move {
        let mut tasks = tokio::task::JoinSet::new();
        while let Some(incoming) = agent.accept().await {
            tasks.spawn(async move {
                let (mut read, mut write) = tokio::io::split(incoming.accept());
                tokio::io::copy(&mut read, &mut write).await.unwrap();
                write.shutdown().await.unwrap();
            });
        }
    });
    let mut tasks = tokio::task::JoinSet::new();
    let bytes = noise(20_000);
    for index in 0..1000 {
        let (link, bytes) = (ends.client.clone(), bytes.clone());
        tasks.spawn(async move {
            let mut stream = link.open(Open::Call).await.unwrap();
            let bytes = &bytes[index..];
            stream.write_all(bytes).await.unwrap();
            stream.shutdown().await.unwrap();
            assert!(read_all(&mut stream).await == bytes);
        });
    }
    must("all streams", tasks.join_all()).await;
    ends.client.close(GoodbyeCode::Closed, "done");
    must("the echo", echo).await.unwrap();
}

#[tokio::test]
async fn a_reader_that_stops_holds_up_its_own_stream_only() {
    let ends = Ends::new(1).await;
    // As many as would fill the link's window, and as many again.
    let mut stalled = Vec::new();
    for _ in 0..20 {
        let (near, far) = ends.stream().await;
        let (near_read, near_write) = near.into_split();
        stalled.push((near_read, write_all(near_write, &noise(4 << 20)), far));
    }
    let (mut near, mut far) = ends.stream().await;
    for _ in 0..50 {
        near.write_all(&[7; 10_000]).await.unwrap();
        let mut bytes = [0; 10_000];
        must("the other stream", far.read_exact(&mut bytes)).await.unwrap();
    }
    let (_, writer, mut far) = stalled.pop().unwrap();
    assert!(read_all(&mut far).await[..] == noise(4 << 20)[..]);
    writer.abort();
    stalled.into_iter().for_each(|(_, writer, _)| writer.abort());
}

#[tokio::test]
async fn calls_are_answered() {
    let ends = Ends::new(1).await;
    let agent = ends.agent.clone();
    let serve = tokio::spawn(async move {
        while let Some(incoming) = agent.accept().await {
            let call = incoming.call(1 << 20, soon()).await.unwrap();
            let answer = match Request::decode(call.request()) {
                Ok(Request::Disarm) => Answer::Disarm { open_flows: 3 },
                Ok(Request::Drain) => continue,
                _ => Answer::failed(CallCode::Unsupported, "not here"),
            };
            call.answer(&answer.encode()).await.unwrap();
        }
    });
    let asked = ends.client.ask(&Request::Disarm, soon()).await;
    assert_eq!(asked.unwrap(), Answer::Disarm { open_flows: 3 });
    let failed = ends.client.ask(&Request::Status, soon()).await.unwrap_err();
    assert!(matches!(failed, CallError::Failed(failure) if failure.code == CallCode::Unsupported));
    let cut = ends.client.ask(&Request::Drain, soon()).await.unwrap_err();
    assert!(matches!(cut, CallError::Io(_)), "{cut:?}");
    ends.client.close(GoodbyeCode::Closed, "");
    must("the server", serve).await.unwrap();
}

#[tokio::test]
async fn a_call_that_is_not_answered_ends_at_its_deadline() {
    let ends = Ends::new(1).await;
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_millis(50);
    let error = must("deadline", ends.client.call(b"hello?", deadline)).await.unwrap_err();
    assert!(matches!(error, CallError::TimedOut));
    let mut incoming = ends.agent.accept().await.unwrap();
    must("the caller's end", incoming.cancelled()).await;
}

#[tokio::test]
async fn a_link_closes_for_both() {
    let ends = Ends::new(2).await;
    let (mut near, mut far) = ends.stream().await;
    ends.client.close(GoodbyeCode::Closed, "that was it");
    let reason = must("the agent's end", ends.agent.closed()).await;
    assert!(matches!(&reason, CloseReason::Peer(goodbye) if goodbye.text == "that was it"), "{reason}");
    assert!(matches!(must("the client's end", ends.client.closed()).await, CloseReason::Local(_)));
    for stream in [&mut near, &mut far] {
        let error = stream.read_u8().await.unwrap_err();
        assert_eq!(StreamReset::of(&error), Some(ResetCode::LinkClosed));
    }
    assert!(ends.agent.accept().await.is_none());
    assert!(matches!(ends.client.open(Open::Call).await, Err(OpenError::Closed(_))));
    assert_eq!(*ends.acceptor.links().borrow(), 0);
}

#[tokio::test]
async fn the_last_handle_closes_the_link() {
    let ends = Ends::new(1).await;
    let (mut near, _far) = ends.stream().await;
    let copy = ends.client.clone();
    drop(ends.client);
    assert!(ends.agent.close_reason().is_none());
    drop(copy);
    must("the agent's end", ends.agent.closed()).await;
    assert!(must("the stream's end", near.read_u8()).await.is_err());
}

#[tokio::test]
async fn flushed_means_that_the_peer_has_it() {
    let ends = Ends::new(1).await;
    let (mut near, mut far) = ends.stream().await;
    let bytes = noise(100_000);
    near.write_all(&bytes).await.unwrap();
    near.shutdown().await.unwrap();
    must("the flush", ends.client.flushed()).await;
    ends.client.close(GoodbyeCode::Closed, "");
    must("the agent's end", ends.agent.closed()).await;
    assert!(read_all(&mut far).await[..] == bytes[..]);
}

#[tokio::test]
async fn a_leaving_agent_is_announced_and_takes_no_new_link() {
    let ends = Ends::new(1).await;
    ends.acceptor.drain();
    ends.agent.drain("terminating");
    let mut draining = ends.client.peer_draining();
    must("the notice", draining.wait_for(|draining| *draining)).await.unwrap();
    let (near, _far) = ends.stream().await;
    drop(near);
    let other = kubetether_link::Link::client(LinkConfig::new(Role::Client)).unwrap();
    let (near, far) = tcp_pair().await;
    let ((read, write), (far_read, far_write)) = (near.into_split(), far.into_split());
    let (attached, joined) = tokio::join!(
        other.attach(IoRead::new(read), write, soon()),
        ends.acceptor.carrier(IoRead::new(far_read), far_write, soon())
    );
    let is_draining = |error: &kubetether_link::AttachError| matches!(error, kubetether_link::AttachError::Refused(goodbye) if goodbye.code == GoodbyeCode::Draining);
    assert!(is_draining(&attached.unwrap_err()) && is_draining(&joined.unwrap_err()));
}
