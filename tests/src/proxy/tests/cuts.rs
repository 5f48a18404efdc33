//! Connections that are cut, refused, and held.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::server::{Caller, Server};
use crate::proxy::{Cut, Proxy, Scope};
use crate::wait::{SHORT, eventually};

async fn echoes(stream: &mut TokioIo<Upgraded>) -> bool {
    let mut back = [0; 4];
    stream.write_all(b"ping").await.is_ok() && stream.read_exact(&mut back).await.is_ok()
}

async fn open(proxy: &Proxy, count: usize) {
    eventually("so many open connections", SHORT, async || match proxy.wire().open() {
        open if open == count => Ok(()),
        open => Err(format!("{open} open, not {count}")),
    })
    .await;
}

#[tokio::test]
async fn one_or_all_upgraded_ones_or_everything_is_cut() {
    let server = Server::start().await;
    let proxy = Proxy::start(&server.kubeconfig()).await.unwrap();
    let mut plain = Caller::new(proxy.kubeconfig()).await;
    let mut callers = Vec::new();
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut caller = Caller::new(proxy.kubeconfig()).await;
        streams.push(caller.upgrade().await);
        callers.push(caller);
    }
    let mut alive = async |expected: [bool; 3]| {
        for (stream, expected) in streams.iter_mut().zip(expected) {
            assert_eq!(timeout(SHORT, echoes(stream)).await.unwrap(), expected);
        }
    };
    alive([true; 3]).await;

    assert_eq!(proxy.wire().cut(Cut::OneUpgraded), 1);
    open(&proxy, 3).await;
    alive([false, true, true]).await;

    assert_eq!(proxy.wire().cut(Cut::Upgraded), 2);
    open(&proxy, 1).await;
    alive([false; 3]).await;
    plain.text("GET", "/version").await.unwrap();

    assert_eq!(proxy.wire().cut(Cut::All), 1);
    assert!(plain.text("GET", "/version").await.is_err());
    open(&proxy, 0).await;
    assert_eq!((proxy.wire().cut(Cut::All), proxy.wire().accepted()), (0, 4));
}

#[tokio::test]
async fn a_cut_is_a_reset() {
    let server = Server::start().await;
    let proxy = Proxy::start(&server.kubeconfig()).await.unwrap();
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    open(&proxy, 1).await;
    proxy.wire().cut(Cut::All);
    assert_eq!(stream.read(&mut [0]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn cuts_come_again_and_again_until_told_otherwise() {
    let server = Server::start().await;
    let proxy = Proxy::start(&server.kubeconfig()).await.unwrap();
    let every = Duration::from_millis(100);
    let began = Instant::now();
    proxy.wire().cut_every(Some((every, Cut::All)));
    for count in 1..=3 {
        let mut caller = Caller::new(proxy.kubeconfig()).await;
        timeout(SHORT, caller.closed()).await.unwrap();
        assert!(began.elapsed() >= every * count, "cut {count} after {:?}", began.elapsed());
    }
    proxy.wire().cut_every(None);
    let mut caller = Caller::new(proxy.kubeconfig()).await;
    assert!(timeout(every * 3, caller.closed()).await.is_err());
}

#[tokio::test]
async fn refused_connections_are_refused_while_open_ones_stay() {
    let server = Server::start().await;
    let proxy = Proxy::start(&server.kubeconfig()).await.unwrap();
    let mut caller = Caller::new(proxy.kubeconfig()).await;
    for _ in 0..3 {
        proxy.wire().refuse(true).await;
        let refused = TcpStream::connect(proxy.address()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        caller.text("GET", "/version").await.unwrap();
        proxy.wire().refuse(false).await;
        Caller::new(proxy.kubeconfig()).await.text("GET", "/version").await.unwrap();
    }
}

#[tokio::test]
async fn a_blackhole_holds_open_and_new_connections_and_then_lets_them_go_on() {
    let server = Server::start().await;
    let proxy = Proxy::start(&server.kubeconfig()).await.unwrap();
    let mut caller = Caller::new(proxy.kubeconfig()).await;
    caller.text("GET", "/version").await.unwrap();
    proxy.wire().blackhole(Scope::All);
    let path = proxy.kubeconfig();
    let fresh = tokio::spawn(async move { Caller::new(path).await.text("GET", "/fresh").await });
    let mut held = tokio::spawn(async move { caller.text("GET", "/held").await });
    open(&proxy, 2).await;
    assert!(timeout(Duration::from_millis(300), &mut held).await.is_err());
    assert_eq!((server.seen().len(), fresh.is_finished()), (1, false));

    proxy.wire().release();
    timeout(SHORT, held).await.unwrap().unwrap().unwrap();
    timeout(SHORT, fresh).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_blackhole_can_take_carriers_only() {
    let server = Server::start().await;
    let proxy = Proxy::start(&server.kubeconfig()).await.unwrap();
    let mut plain = Caller::new(proxy.kubeconfig()).await;
    let mut caller = Caller::new(proxy.kubeconfig()).await;
    let mut stream = caller.upgrade().await;
    assert!(echoes(&mut stream).await);
    proxy.wire().blackhole(Scope::Upgraded);
    stream.write_all(b"ping").await.unwrap();
    plain.text("GET", "/version").await.unwrap();
    let mut back = [0; 4];
    assert!(timeout(Duration::from_millis(200), stream.read_exact(&mut back)).await.is_err());
    proxy.wire().release();
    timeout(SHORT, stream.read_exact(&mut back)).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_round_trip_takes_its_time() {
    let server = Server::start().await;
    let proxy = Proxy::start(&server.kubeconfig()).await.unwrap();
    let mut caller = Caller::new(proxy.kubeconfig()).await;
    let mut time = async || {
        let began = Instant::now();
        caller.text("GET", "/version").await.unwrap();
        began.elapsed()
    };
    let bare = time().await;
    proxy.wire().round_trip(Duration::from_millis(200));
    let delayed = time().await;
    assert!(delayed >= Duration::from_millis(200), "{delayed:?}");
    // One round trip, not two: a loaded machine may take its time, but hardly a whole one.
    assert!(delayed < bare + Duration::from_millis(400), "{delayed:?}, without delay {bare:?}");
}
