//! The interceptor as a process: clients that leave, fall silent, and come back.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

use kubetether_link::{Answer, GoodbyeCode, IoRead, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

mod support;

use support::client::{self, arm, attach};
use support::path::Path;
use support::scene::{Scene, is_reset};
use support::server::{self, ask};
use support::{PATIENCE, address, until};

#[tokio::test]
async fn a_client_that_closes_is_passed_by_at_once() {
    let scene = Scene::new().await;
    let link = scene.armed().await;
    link.close(GoodbyeCode::Closed, "done");
    until("the originals answer", async || {
        (ask(scene.exposed(), "x").await.ok()? == "original 80:x").then_some(())
    })
    .await;
    // And another may arm now.
    let other = scene.armed().await;
    client::answer_all(&other, "other");
    assert_eq!(ask(scene.exposed(), "y").await.unwrap(), "other:y");
}

#[tokio::test]
async fn a_client_that_falls_silent_is_passed_by_and_comes_back() {
    let original = server::named(address(), "original").await;
    let scene = Scene::with([original; 2], |start| start.env("KUBETETHER_SILENCE", "1s")).await;
    let path = Path::to(scene.agent.control()).await;
    let link = attach(path.address).await;
    arm(&link, &[80]).await;
    client::answer_all(&link, "client");
    assert_eq!(ask(scene.exposed(), "a").await.unwrap(), "client:a");
    path.freeze();
    // A connection that was led to the client while nobody knew yet comes to the original too.
    assert_eq!(ask(scene.exposed(), "b").await.unwrap(), "original:b");
    assert_eq!(ask(scene.exposed(), "c").await.unwrap(), "original:c");
    path.cut();
    path.mend();
    until("a carrier is back", async || {
        let (read, write) = TcpStream::connect(path.address).await.ok()?.into_split();
        link.attach(IoRead::new(read), write, client::soon()).await.ok()
    })
    .await;
    // Still armed: the link is the same.
    assert_eq!(ask(scene.exposed(), "d").await.unwrap(), "client:d");
}

#[tokio::test]
async fn a_connection_without_a_byte_goes_to_the_original_when_the_client_is_lost() {
    let scene = Scene::new().await;
    let path = Path::to(scene.agent.control()).await;
    let link = attach(path.address).await;
    arm(&link, &[80]).await;
    // One that the client has not answered for, one that it has accepted.
    let mut pending = TcpStream::connect(scene.exposed()).await.unwrap();
    let unanswered = client::next(&link).await;
    let mut accepted = TcpStream::connect(scene.exposed()).await.unwrap();
    let stream = client::next(&link).await.accept();
    until("both are open", async || {
        let Answer::Status(status) = client::ask(&link, Request::Status).await.ok()? else { return None };
        (status.flows == 2).then_some(())
    })
    .await;
    path.cut();
    // Answered by the original: the loss is known.
    assert_eq!(ask(scene.exposed(), "x").await.unwrap(), "original 80:x");
    for (which, caller) in [("pending", &mut pending), ("accepted", &mut accepted)] {
        caller.write_all(b"x").await.unwrap();
        caller.shutdown().await.unwrap();
        let mut answer = String::new();
        let read = timeout(PATIENCE, caller.read_to_string(&mut answer)).await;
        assert!(matches!(read, Ok(Ok(_))), "{which}: {read:?} {answer:?}\n{}", scene.agent.log());
        assert_eq!(answer, "original 80:x");
    }
    drop((unanswered, stream));
}

#[tokio::test]
async fn a_connection_with_bytes_waits_for_the_client() {
    let scene = Scene::new().await;
    let path = Path::to(scene.agent.control()).await;
    let link = attach(path.address).await;
    arm(&link, &[80]).await;
    let mut caller = TcpStream::connect(scene.exposed()).await.unwrap();
    caller.write_all(b"first ").await.unwrap();
    let mut stream = client::next(&link).await.accept();
    assert_eq!(server::next(&mut stream).await.unwrap(), "first ");
    path.cut();
    until("the loss is known", async || (*link.carriers().borrow() == 0).then_some(())).await;
    caller.write_all(b"second").await.unwrap();
    caller.shutdown().await.unwrap();
    path.mend();
    client::carrier(&link, path.address).await;
    let mut heard = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut heard)).await.unwrap().unwrap();
    assert_eq!(heard, "second");
    stream.write_all(b"answer").await.unwrap();
    stream.shutdown().await.unwrap();
    heard.clear();
    timeout(PATIENCE, caller.read_to_string(&mut heard)).await.unwrap().unwrap();
    assert_eq!(heard, "answer");
}

#[tokio::test]
async fn a_connection_with_bytes_is_reset_when_the_grace_ends() {
    let pods = address();
    let original = server::named(pods, "original").await;
    let scene = Scene::with([original, original], |start| start.env("KUBETETHER_GRACE", "200ms")).await;
    let path = Path::to(scene.agent.control()).await;
    let link = attach(path.address).await;
    arm(&link, &[80]).await;
    let mut caller = TcpStream::connect(scene.exposed()).await.unwrap();
    caller.write_all(b"x").await.unwrap();
    let mut stream = client::next(&link).await.accept();
    assert_eq!(server::next(&mut stream).await.unwrap(), "x");
    path.cut();
    assert!(is_reset(&server::next(&mut caller).await));
}
