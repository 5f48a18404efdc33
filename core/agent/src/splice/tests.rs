use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dial = TcpStream::connect(listener.local_addr().unwrap());
    let (dialled, accepted) = tokio::join!(dial, listener.accept());
    (dialled.unwrap(), accepted.unwrap().0)
}

/// Caller and server, joined by a splice between them.
async fn joined() -> (TcpStream, TcpStream, JoinHandle<Spliced>) {
    let (caller, one) = pair().await;
    let (other, server) = pair().await;
    (caller, server, tokio::spawn(splice(one, other)))
}

#[tokio::test]
async fn half_close_passes_both_ways() {
    let (mut caller, mut server, task) = joined().await;
    caller.write_all(b"question").await.unwrap();
    caller.shutdown().await.unwrap();
    let mut heard = String::new();
    server.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "question");
    server.write_all(b"answer").await.unwrap();
    server.shutdown().await.unwrap();
    heard.clear();
    caller.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "answer");
    assert_eq!(task.await.unwrap(), Spliced { there: 8, back: 6, reset: false });
}

#[tokio::test]
async fn much_passes_unchanged_to_a_slow_reader() {
    let (caller, mut server, task) = joined().await;
    let (mut read, mut write) = caller.into_split();
    let sent: Vec<u8> = (0..4_000_000_u32).map(|index| (index * 7 / 3) as u8).collect();
    let writer = tokio::spawn({
        let sent = sent.clone();
        async move {
            write.write_all(&sent).await.unwrap();
            write.shutdown().await.unwrap();
        }
    });
    let mut got = Vec::new();
    let mut piece = [0; 1500];
    loop {
        match server.read(&mut piece).await.unwrap() {
            0 => break,
            length => got.extend_from_slice(&piece[..length]),
        }
        tokio::task::yield_now().await;
    }
    assert!(got == sent);
    drop(server);
    writer.await.unwrap();
    assert_eq!(read.read(&mut piece).await.unwrap(), 0);
    assert_eq!(task.await.unwrap().there, 4_000_000);
}

#[tokio::test]
async fn a_reset_passes_on() {
    let (mut caller, server, task) = joined().await;
    server.set_zero_linger().unwrap();
    drop(server);
    let error = caller.read(&mut [0; 8]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert!(task.await.unwrap().reset);
}

#[tokio::test]
async fn a_reset_after_the_end_passes_on() {
    let (mut caller, mut server, task) = joined().await;
    caller.shutdown().await.unwrap();
    assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0);
    // The server neither reads nor writes now: only the caller's reset can end this.
    caller.set_zero_linger().unwrap();
    drop(caller);
    assert!(task.await.unwrap().reset);
    // Reading has ended already; the next write tells.
    loop {
        if server.write_all(b"x").await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_was_said_before_a_reset_arrives() {
    let (caller, mut server, task) = joined().await;
    caller.writable().await.unwrap();
    caller.try_write(b"last words").unwrap();
    let mut heard = [0; 10];
    server.read_exact(&mut heard).await.unwrap();
    caller.set_zero_linger().unwrap();
    drop(caller);
    assert_eq!(&heard, b"last words");
    assert!(server.read(&mut [0; 8]).await.is_err());
    assert!(task.await.unwrap().reset);
}

#[tokio::test]
async fn a_dropped_splice_resets_both() {
    let (mut caller, mut server, task) = joined().await;
    caller.write_all(b"x").await.unwrap();
    server.read_exact(&mut [0; 1]).await.unwrap();
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    for socket in [&mut caller, &mut server] {
        let error = socket.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
}

#[tokio::test]
async fn a_direction_with_much_leaves_the_other_its_turn() {
    let (caller, one) = pair().await;
    let (other, mut server) = pair().await;
    // More than a turn, as far as the kernel takes it.
    while caller.try_write(&[7; CHUNK]).is_ok() {}
    server.write_all(b"x").await.unwrap();
    one.readable().await.unwrap();
    other.readable().await.unwrap();
    let (mut there, mut back) = (0, 0);
    {
        let mut joined = std::pin::pin!(join(&one, &other, &mut there, &mut back));
        let pending = poll_fn(|cx| Poll::Ready(joined.as_mut().poll(cx).is_pending())).await;
        assert!(pending);
    }
    assert!(there > 0 && there <= (TURN * CHUNK) as u64, "{there} at once");
    assert_eq!(back, 1);
}

#[tokio::test]
async fn a_reset_is_seen_while_the_other_takes_nothing() {
    let (mut caller, server, task) = joined().await;
    let bytes = vec![7; 1 << 20];
    // In the end nothing of it is taken for a second.
    while let Ok(written) = tokio::time::timeout(Duration::from_secs(1), caller.write(&bytes)).await {
        assert!(written.unwrap() > 0);
    }
    caller.set_zero_linger().unwrap();
    drop(caller);
    assert!(task.await.unwrap().reset);
    drop(server);
}
