//! The agent as a process: those who stop reading hold up nobody else.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kubetether_link::{Answer, Link, Open, Request};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

mod support;

use support::client::{self, attach};
use support::scene::Scene;
use support::server;
use support::{PATIENCE, Start, address, until};

/// Connections of which one side does not read, in each direction.
const STALLED: usize = 20;
const MUCH: usize = 4 << 20;

/// Writes for as long as somebody takes it; counts.
async fn flood(mut to: impl AsyncWrite + Unpin, written: Arc<AtomicU64>) {
    let bytes = vec![7; 64 << 10];
    while let Ok(length) = to.write(&bytes).await {
        written.fetch_add(length as u64, Ordering::Relaxed);
    }
}

/// Waits until nothing moves any more.
async fn settled(written: &AtomicU64) {
    let mut last = (u64::MAX, std::time::Instant::now());
    until("everything stands still", async || {
        let now = written.load(Ordering::Relaxed);
        if now != last.0 {
            last = (now, std::time::Instant::now());
        }
        (now > 0 && last.1.elapsed() > Duration::from_millis(500)).then_some(())
    })
    .await;
}

/// Sends much through one connection and back, both ways at once.
async fn assert_moves(near: impl AsyncRead + AsyncWrite, far: impl AsyncRead + AsyncWrite) {
    let (mut near_read, mut near_write) = tokio::io::split(near);
    let (mut far_read, mut far_write) = tokio::io::split(far);
    let bytes = vec![1; MUCH];
    let (mut there, mut back) = (vec![0; MUCH], vec![0; MUCH]);
    let all = async {
        tokio::try_join!(
            near_write.write_all(&bytes),
            far_write.write_all(&bytes),
            async { far_read.read_exact(&mut there).await.map(drop) },
            async { near_read.read_exact(&mut back).await.map(drop) },
        )
    };
    timeout(PATIENCE, all).await.expect("held up").unwrap();
    assert!(there == bytes && back == bytes);
}

async fn assert_answers(link: &Link) {
    for _ in 0..20 {
        let answer =
            timeout(PATIENCE, client::ask(link, Request::Status)).await.expect("no answer to a call");
        assert!(matches!(answer, Ok(Answer::Status(_))), "{answer:?}");
    }
}

#[tokio::test]
async fn through_a_gateway() {
    let listener = tokio::net::TcpListener::bind((address(), 0)).await.unwrap();
    let there = listener.local_addr().unwrap();
    let agent = Start::agent("gateway").ready().await;
    let link = attach(agent.control()).await;
    let open = async || {
        let open = Open::Dial { host: there.ip().to_string(), port: there.port(), deadline: PATIENCE };
        let (stream, socket) = tokio::join!(timeout(PATIENCE, link.open(open)), listener.accept());
        (stream.expect("not opened").unwrap(), socket.unwrap().0)
    };
    let (written, mut floods, mut silent) = (Arc::new(AtomicU64::new(0)), JoinSet::new(), Vec::new());
    let (active, its_other_end) = open().await;
    for _ in 0..STALLED {
        let (stream, socket) = open().await;
        floods.spawn(flood(stream, Arc::clone(&written)));
        silent.push((None, Some(socket)));
        let (stream, socket) = open().await;
        floods.spawn(flood(socket, Arc::clone(&written)));
        silent.push((Some(stream), None));
    }
    settled(&written).await;
    assert_moves(active, its_other_end).await;
    assert_answers(&link).await;
    let (late, its_other_end) = open().await;
    assert_moves(late, its_other_end).await;
    drop(silent);
}

#[tokio::test]
async fn through_an_interceptor() {
    let scene = Scene::new().await;
    let link = scene.armed().await;
    let call = async || {
        let caller = TcpStream::connect(scene.exposed()).await.unwrap();
        (caller, client::next(&link).await.accept())
    };
    let (written, mut floods, mut silent) = (Arc::new(AtomicU64::new(0)), JoinSet::new(), Vec::new());
    let (active, its_other_end) = call().await;
    for _ in 0..STALLED {
        let (caller, stream) = call().await;
        floods.spawn(flood(stream, Arc::clone(&written)));
        silent.push((None, Some(caller)));
        let (caller, stream) = call().await;
        floods.spawn(flood(caller, Arc::clone(&written)));
        silent.push((Some(stream), None));
    }
    settled(&written).await;
    assert_moves(active, its_other_end).await;
    assert_answers(&link).await;
    let (late, its_other_end) = call().await;
    assert_moves(late, its_other_end).await;
    // Those that pass through have nothing to do with it.
    assert_eq!(server::ask(scene.unexposed(), "x").await.unwrap(), "original 81:x");
    drop(silent);
}

#[tokio::test]
async fn past_the_client() {
    let (originals, silent) = (address(), address());
    let deaf = server::serve(silent, |socket| async move {
        std::future::pending::<()>().await;
        drop(socket);
        Ok(())
    })
    .await;
    let scene = Scene::with([server::named(originals, "original").await, deaf], |start| start).await;
    let (written, mut floods) = (Arc::new(AtomicU64::new(0)), JoinSet::new());
    for _ in 0..STALLED {
        let caller = TcpStream::connect(scene.unexposed()).await.unwrap();
        floods.spawn(flood(caller, Arc::clone(&written)));
    }
    settled(&written).await;
    for _ in 0..50 {
        assert_eq!(server::ask(scene.exposed(), "x").await.unwrap(), "original:x");
    }
}
