//! The world stopped before and after a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::timeout;

use super::server::{Caller, Server};
use crate::proxy::{Moment, Proxy, mutating};
use crate::wait::{SHORT, eventually};

/// Long enough for a request that is not held to arrive.
const A_WHILE: Duration = Duration::from_millis(200);

fn writes(server: &Server) -> usize {
    server.seen().iter().filter(|seen| seen.method == "POST").count()
}

#[tokio::test]
async fn the_world_stops_before_and_goes_on() {
    let server = Server::start().await;
    let proxy = Proxy::start(&server.kubeconfig()).await.unwrap();
    let mut first = Caller::new(proxy.kubeconfig()).await;
    let mut second = Caller::new(proxy.kubeconfig()).await;
    let mut reader = Caller::new(proxy.kubeconfig()).await;
    let pause = proxy.requests().pause(Moment::Before, 2, mutating);
    first.text("POST", "/one").await.unwrap();

    let held = tokio::spawn(async move { first.text("POST", "/two").await });
    assert_eq!(pause.reached().await.path(), "/prefix/two");
    let behind = tokio::spawn(async move { second.text("POST", "/three").await });
    reader.text("GET", "/version").await.unwrap();
    eventually("the third request at the proxy", SHORT, async || match proxy.requests().counts().mutating {
        3 => Ok(()),
        count => Err(format!("{count} arrived")),
    })
    .await;
    assert_eq!((writes(&server), held.is_finished(), behind.is_finished()), (1, false, false));

    pause.release();
    timeout(SHORT, held).await.unwrap().unwrap().unwrap();
    timeout(SHORT, behind).await.unwrap().unwrap().unwrap();
    assert_eq!(writes(&server), 3);
}

#[tokio::test]
async fn after_the_server_knows_and_the_client_does_not() {
    let server = Server::start().await;
    let proxy = Proxy::start(&server.kubeconfig()).await.unwrap();
    let mut caller = Caller::new(proxy.kubeconfig()).await;
    let pause = proxy.requests().pause(Moment::After, 1, mutating);
    let mut held = tokio::spawn(async move { caller.text("POST", "/one").await });
    pause.reached().await;
    assert_eq!(writes(&server), 1);
    assert!(timeout(A_WHILE, &mut held).await.is_err());
    drop(pause);
    timeout(SHORT, held).await.unwrap().unwrap().unwrap();
}

/// A client that does three things one after another, cut before and after each.
#[tokio::test]
async fn a_client_cut_at_each_place_has_done_exactly_what_came_before() {
    for nth in 1..=3 {
        for (moment, done) in [(Moment::Before, nth - 1), (Moment::After, nth)] {
            let server = Server::start().await;
            let proxy = Proxy::start(&server.kubeconfig()).await.unwrap();
            let mut caller = Caller::new(proxy.kubeconfig()).await;
            let pause = proxy.requests().pause(moment, nth, mutating);
            let client = tokio::spawn(async move {
                let mut known = 0;
                while known < 3 && caller.text("POST", "/next").await.is_ok() {
                    known += 1;
                }
                known
            });
            pause.reached().await;
            pause.cut();
            let known = timeout(SHORT, client).await.unwrap().unwrap();
            assert_eq!((writes(&server) as u64, known), (done, nth - 1), "{moment:?} {nth}");
        }
    }
}

#[tokio::test]
async fn the_world_stands_still_though_the_client_is_dead() {
    let server = Server::start().await;
    let proxy = Proxy::start(&server.kubeconfig()).await.unwrap();
    let mut first = Caller::new(proxy.kubeconfig()).await;
    let mut second = Caller::new(proxy.kubeconfig()).await;
    let pause = proxy.requests().pause(Moment::Before, 1, mutating);
    let held = tokio::spawn(async move { first.text("POST", "/one").await });
    pause.reached().await;
    held.abort();
    let _ = held.await;
    eventually("the dead client's end", SHORT, async || match proxy.wire().open() {
        1 => Ok(()),
        open => Err(format!("{open} open")),
    })
    .await;

    let mut behind = tokio::spawn(async move { second.text("POST", "/two").await });
    assert!(timeout(A_WHILE, &mut behind).await.is_err());
    assert_eq!(writes(&server), 0);
    pause.release();
    timeout(SHORT, behind).await.unwrap().unwrap().unwrap();
    assert_eq!(writes(&server), 1, "what was held for the dead is not done");
}

#[tokio::test]
async fn something_is_done_at_the_place() {
    let server = Server::start().await;
    let proxy = Proxy::start(&server.kubeconfig()).await.unwrap();
    let mut caller = Caller::new(proxy.kubeconfig()).await;
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = calls.clone();
    let hook = proxy.requests().call(Moment::After, 2, mutating, move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
    });
    for expected in [0, 1, 1] {
        caller.text("POST", "/next").await.unwrap();
        assert_eq!(calls.load(Ordering::SeqCst), expected);
    }
    drop(hook);
    let counter = calls.clone();
    drop(proxy.requests().call(Moment::Before, 1, mutating, move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
    }));
    caller.text("POST", "/next").await.unwrap();
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}
