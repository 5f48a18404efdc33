//! A socket, a relay, a link, a relay, a socket: what one end does, the other sees.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::{io::ErrorKind, time::Duration};

use common::*;
use kubetether_link::{End, Flow, ResetCode, relay, relay_tallied};
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    sync::oneshot,
    task::JoinHandle,
};

/// The two sockets of the programs, and the relays between them.
struct Path {
    ends: Ends,
    near: TcpStream,
    far: TcpStream,
    flows: [JoinHandle<Flow>; 2],
}

impl Path {
    async fn new(carriers: usize) -> Self {
        let ends = Ends::new(carriers).await;
        let (near_stream, far_stream) = ends.stream().await;
        let (near, near_relay) = tcp_pair().await;
        let (far, far_relay) = tcp_pair().await;
        let flows =
            [tokio::spawn(relay(near_stream, near_relay)), tokio::spawn(relay(far_stream, far_relay))];
        Self { ends, near, far, flows }
    }

    async fn flows(self) -> (Ends, [Flow; 2]) {
        let [near, far] = self.flows;
        (self.ends, [must("the near flow", near).await.unwrap(), must("the far flow", far).await.unwrap()])
    }
}

fn reset(socket: TcpStream) {
    SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_pass_both_ways_and_half_close_is_kept() {
    let path = Path::new(2).await;
    let bytes = noise(5 << 20);
    let (mut near_read, mut near_write) = path.near.into_split();
    let (mut far_read, mut far_write) = path.far.into_split();
    let forth = bytes.clone();
    let writer = tokio::spawn(async move {
        near_write.write_all(&forth).await.unwrap();
        near_write.shutdown().await.unwrap();
        near_write
    });
    assert!(read_all(&mut far_read).await[..] == bytes[..]);
    // Only after the other direction has ended.
    let answer = noise(3 << 20);
    let back = answer.clone();
    let writer_back = tokio::spawn(async move {
        far_write.write_all(&back).await.unwrap();
        far_write.shutdown().await.unwrap();
        far_write
    });
    assert!(read_all(&mut near_read).await[..] == answer[..]);
    drop((writer.await.unwrap(), writer_back.await.unwrap()));
    for (flow, sent, received) in [(path.flows, 5 << 20, 3 << 20)].into_iter().flat_map(|(flows, a, b)| {
        let [near, far] = flows;
        [(near, a, b), (far, b, a)]
    }) {
        let flow = must("the flow", flow).await.unwrap();
        assert_eq!((flow.sent, flow.received, flow.end), (sent, received, End::Finished));
    }
}

#[tokio::test]
async fn a_reset_arrives_as_a_reset_after_the_data_before_it() {
    let mut path = Path::new(1).await;
    path.near.write_all(b"last words").await.unwrap();
    // The kernel has it all in the relay's socket before the reset follows.
    let mut bytes = [0; 10];
    path.far.read_exact(&mut bytes).await.unwrap();
    reset(std::mem::replace(&mut path.near, tcp_pair().await.0));
    let error = must("the reset", path.far.read_u8()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let (_ends, [near, far]) = path.flows().await;
    assert_eq!((near.end, far.end), (End::SocketReset, End::StreamReset(ResetCode::Reset)));
}

#[tokio::test]
async fn a_program_that_closes_with_bytes_unread_resets_the_other() {
    let mut path = Path::new(1).await;
    path.near.write_all(&[1; 1000]).await.unwrap();
    let mut one = [0; 1];
    path.far.read_exact(&mut one).await.unwrap();
    // Closing a socket that has bytes unread is a reset.
    path.far = tcp_pair().await.0;
    let mut outcome = path.near.read_u8().await;
    if matches!(&outcome, Err(error) if error.kind() == ErrorKind::UnexpectedEof) {
        outcome = path.near.write_u8(1).await.map(|()| 0);
    }
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_reset_is_seen_though_the_other_direction_is_finished() {
    let mut path = Path::new(1).await;
    path.near.shutdown().await.unwrap();
    assert_eq!(read_all(&mut path.far).await, b"");
    reset(std::mem::replace(&mut path.far, tcp_pair().await.0));
    let error = must("the reset", path.near.read_u8()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_reset_behind_the_end_of_the_same_socket_is_seen() {
    let mut path = Path::new(1).await;
    path.near.shutdown().await.unwrap();
    assert_eq!(read_all(&mut path.far).await, b"");
    reset(std::mem::replace(&mut path.near, tcp_pair().await.0));
    // Nobody writes: only the reset itself can tell.
    let error = must("the reset", path.far.read_u8()).await.map(|_| ()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof), "{error}");
    let (_ends, [near, far]) = path.flows().await;
    assert_eq!((near.end, far.end), (End::SocketReset, End::StreamReset(ResetCode::Reset)));
}

#[tokio::test]
async fn a_cut_does_not_wait_for_a_socket_that_takes_nothing() {
    let ends = Ends::new(1).await;
    let (near_stream, far_stream) = ends.stream().await;
    // Its peer never reads.
    let (_near, near_relay) = tcp_pair().await;
    let flow = tokio::spawn(relay(near_stream, near_relay));
    let (_recv, mut send) = far_stream.into_split();
    // Until there is no room anywhere on the way.
    while tokio::time::timeout(Duration::from_millis(300), send.send(vec![7; 1 << 20].into())).await.is_ok() {
    }
    send.reset(ResetCode::TimedOut);
    let flow = must("the flow", flow).await.unwrap();
    assert_eq!(flow.end, End::StreamReset(ResetCode::TimedOut));
}

#[tokio::test]
async fn a_cut_is_seen_by_a_relay_whose_own_peer_has_finished() {
    let ends = Ends::new(1).await;
    let (near_stream, far_stream) = ends.stream().await;
    let (mut near, near_relay) = tcp_pair().await;
    let flow = tokio::spawn(relay(near_stream, near_relay));
    let (_recv, mut send) = far_stream.into_split();
    send.finish();
    assert_eq!(read_all(&mut near).await, b"");
    // The socket is silent: only the stream can tell.
    send.reset(ResetCode::TimedOut);
    let flow = must("the flow", flow).await.unwrap();
    assert_eq!(flow.end, End::StreamReset(ResetCode::TimedOut));
    let outcome = near.write_u8(1).await;
    assert!(outcome.is_err() || near.write_u8(1).await.is_err());
}

#[tokio::test]
async fn a_cut_behind_the_own_end_does_not_wait_for_a_socket_that_takes_nothing() {
    let ends = Ends::new(1).await;
    let (near_stream, far_stream) = ends.stream().await;
    // Its peer ends its direction and never reads.
    let (mut near, near_relay) = tcp_pair().await;
    near.shutdown().await.unwrap();
    let flow = tokio::spawn(relay(near_stream, near_relay));
    let (mut recv, mut send) = far_stream.into_split();
    assert_eq!(must("the end", recv.chunk()).await.unwrap(), None);
    while tokio::time::timeout(Duration::from_millis(300), send.send(vec![7; 1 << 20].into())).await.is_ok() {
    }
    send.reset(ResetCode::TimedOut);
    let flow = must("the flow", flow).await.unwrap();
    assert_eq!(flow.end, End::StreamReset(ResetCode::TimedOut));
}

#[tokio::test]
async fn an_end_that_is_wanted_behind_a_half_close_is_orderly() {
    let ends = Ends::new(1).await;
    let (near_stream, far_stream) = ends.stream().await;
    let (mut near, near_relay) = tcp_pair().await;
    let (mut far, far_relay) = tcp_pair().await;
    let (want, wanted) = oneshot::channel::<()>();
    let end = async move { drop(wanted.await) };
    let flow = tokio::spawn(relay_tallied(near_stream, near_relay, end, Default::default()));
    let _far_flow = tokio::spawn(relay(far_stream, far_relay));
    near.shutdown().await.unwrap();
    assert!(read_all(&mut far).await.is_empty());
    far.write_all(b"answer").await.unwrap();
    let mut answer = [0; 6];
    near.read_exact(&mut answer).await.unwrap();
    want.send(()).unwrap();
    assert_eq!(must("the flow", flow).await.unwrap().end, End::Wanted);
    assert_eq!(near.read(&mut answer).await.unwrap(), 0, "an end, and no reset");
}

#[tokio::test]
async fn a_lost_link_resets_the_socket() {
    let mut path = Path::new(1).await;
    path.ends.client.close(kubetether_link::GoodbyeCode::Closed, "");
    let error = must("the reset", path.near.read_u8()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let error = must("the reset", path.far.read_u8()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_dropped_relay_cuts_both() {
    let mut path = Path::new(1).await;
    path.flows[0].abort();
    for socket in [&mut path.near, &mut path.far] {
        let error = must("the reset", socket.read_u8()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
}

#[tokio::test]
async fn unix_sockets_are_relayed_too() {
    let ends = Ends::new(1).await;
    let (near_stream, far_stream) = ends.stream().await;
    let (mut near, near_relay) = UnixStream::pair().unwrap();
    let (mut far, far_relay) = UnixStream::pair().unwrap();
    let flows = [tokio::spawn(relay(near_stream, near_relay)), tokio::spawn(relay(far_stream, far_relay))];
    near.write_all(b"question").await.unwrap();
    near.shutdown().await.unwrap();
    assert_eq!(read_all(&mut far).await, b"question");
    far.write_all(b"answer").await.unwrap();
    far.shutdown().await.unwrap();
    assert_eq!(read_all(&mut near).await, b"answer");
    for flow in flows {
        assert_eq!(must("the flow", flow).await.unwrap().end, End::Finished);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_connection_survives_the_loss_of_every_carrier() {
    let mut path = Path::new(2).await;
    let bytes = noise(8 << 20);
    let (mut near_read, mut near_write) = path.near.into_split();
    let (mut far_read, mut far_write) = path.far.into_split();
    let forth = bytes.clone();
    let _writer = tokio::spawn(async move {
        near_write.write_all(&forth).await.unwrap();
        near_write.shutdown().await.unwrap();
    });
    let echo = tokio::spawn(async move {
        tokio::io::copy(&mut far_read, &mut far_write).await.unwrap();
        far_write.shutdown().await.unwrap();
    });
    let reader = tokio::spawn(async move { read_all(&mut near_read).await });
    for round in 1..=3 {
        while path.ends.client.stats().received < round * (1 << 20) {
            tokio::task::yield_now().await;
        }
        path.ends.carriers.clear();
        path.ends.carriers_are(0).await;
        path.ends.attach().await;
    }
    assert!(must("the echo", reader).await.unwrap()[..] == bytes[..]);
    must("the other end", echo).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_is_seen_while_nothing_more_can_be_sent() {
    let path = Path::new(2).await;
    let mut near = path.near;
    let bytes = noise(1 << 20);
    // Nobody reads at the far end: in the end nothing of it is taken for a second.
    while let Ok(written) = tokio::time::timeout(Duration::from_secs(1), near.write(&bytes)).await {
        assert!(written.unwrap() > 0);
    }
    reset(near);
    let [near_flow, far_flow] = path.flows;
    assert_eq!(must("the near flow", near_flow).await.unwrap().end, End::SocketReset);
    drop((far_flow, path.far, path.ends));
}
