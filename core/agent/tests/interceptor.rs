//! The interceptor as a process: who gets which connection, and what everyone sees of it.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

use std::time::Duration;

use kubetether_link::{
    Answer, CallCode, CallError, Open, Refusal, RefusalCode, Request, ResetCode, StreamReset,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

mod support;

use support::client::{self, arm, attach};
use support::scene::{Scene, is_reset};
use support::server::{self, ask};
use support::{PATIENCE, Start, address};

#[tokio::test]
async fn only_what_is_armed_and_exposed_comes_to_the_client() {
    let scene = Scene::new().await;
    assert_eq!(ask(scene.exposed(), "a").await.unwrap(), "original 80:a");
    let link = attach(scene.agent.control()).await;
    client::answer_all(&link, "client");
    assert_eq!(ask(scene.exposed(), "b").await.unwrap(), "original 80:b", "attached is not armed");
    arm(&link, &[80]).await;
    assert_eq!(ask(scene.exposed(), "c").await.unwrap(), "client:c");
    assert_eq!(ask(scene.unexposed(), "d").await.unwrap(), "original 81:d");
    // Arming again replaces the ports.
    arm(&link, &[81]).await;
    assert_eq!(ask(scene.exposed(), "e").await.unwrap(), "original 80:e");
    assert_eq!(ask(scene.unexposed(), "f").await.unwrap(), "client:f");
    assert_eq!(client::ask(&link, Request::Disarm).await.unwrap(), Answer::Disarm { open_flows: 0 });
    assert_eq!(ask(scene.unexposed(), "g").await.unwrap(), "original 81:g");
}

#[tokio::test]
async fn the_client_learns_who_called() {
    let scene = Scene::new().await;
    let link = scene.armed().await;
    let caller = TcpStream::connect(scene.exposed()).await.unwrap();
    let incoming = client::next(&link).await;
    let expected = Open::Inbound { port: 80, from: caller.local_addr().unwrap(), to: scene.exposed() };
    assert_eq!(*incoming.open(), expected);
}

#[tokio::test]
async fn a_refusal_of_the_client_is_a_reset() {
    let scene = Scene::new().await;
    let link = scene.armed().await;
    let mut caller = TcpStream::connect(scene.exposed()).await.unwrap();
    client::next(&link).await.refuse(Refusal::new(RefusalCode::Refused, "nobody listens"));
    assert!(is_reset(&server::next(&mut caller).await));
    // A client that is leaving, is full or does not want is no reason to refuse anyone.
    for code in [RefusalCode::Draining, RefusalCode::Limit, RefusalCode::NotAllowed, RefusalCode::Internal] {
        let asking = tokio::spawn(ask(scene.exposed(), "x"));
        client::next(&link).await.refuse(Refusal::new(code, ""));
        assert_eq!(asking.await.unwrap().unwrap(), "original 80:x", "{code}");
    }
}

#[tokio::test]
async fn both_halves_close_on_their_own() {
    let scene = Scene::new().await;
    let link = scene.armed().await;
    let mut caller = TcpStream::connect(scene.exposed()).await.unwrap();
    let mut stream = client::next(&link).await.accept();
    // The server ends first, and still hears.
    stream.write_all(b"hello").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut heard = String::new();
    timeout(PATIENCE, caller.read_to_string(&mut heard)).await.unwrap().unwrap();
    assert_eq!(heard, "hello");
    caller.write_all(b"goodbye").await.unwrap();
    caller.shutdown().await.unwrap();
    heard.clear();
    timeout(PATIENCE, stream.read_to_string(&mut heard)).await.unwrap().unwrap();
    assert_eq!(heard, "goodbye");
}

#[tokio::test]
async fn resets_pass_both_ways() {
    let scene = Scene::new().await;
    let link = scene.armed().await;
    let mut caller = TcpStream::connect(scene.exposed()).await.unwrap();
    caller.write_all(b"x").await.unwrap();
    let mut stream = client::next(&link).await.accept();
    assert_eq!(server::next(&mut stream).await.unwrap(), "x");
    caller.set_zero_linger().unwrap();
    drop(caller);
    let error = server::next(&mut stream).await.unwrap_err();
    assert_eq!(StreamReset::of(&error), Some(ResetCode::Reset));

    let mut caller = TcpStream::connect(scene.exposed()).await.unwrap();
    client::next(&link).await.accept().reset(ResetCode::Reset);
    assert!(is_reset(&server::next(&mut caller).await));
}

#[tokio::test]
async fn the_second_client_is_told_who_holds_it() {
    let scene = Scene::new().await;
    let link = scene.armed().await;
    let other = attach(scene.agent.control()).await;
    let request = Request::Arm { exposed: vec![81], holder: "bob@desk".to_owned() };
    let Err(CallError::Failed(failure)) = client::ask(&other, request.clone()).await else {
        panic!("not refused")
    };
    assert_eq!(failure.code, CallCode::Held);
    assert!(failure.text.contains("ann@box"), "{failure}");
    let Err(CallError::Failed(failure)) = client::ask(&other, Request::Disarm).await else {
        panic!("not refused")
    };
    assert_eq!(failure.code, CallCode::NotArmed);
    let Err(CallError::Failed(failure)) = client::ask(&other, Request::Drain).await else {
        panic!("not refused")
    };
    assert_eq!(failure.code, CallCode::Held);
    client::ask(&link, Request::Disarm).await.unwrap();
    assert_eq!(client::ask(&other, request).await.unwrap(), Answer::Arm { exposed: vec![81] });
}

#[tokio::test]
async fn ports_that_cannot_be_exposed_are_refused_with_the_reason() {
    let udp = server::datagrams(address(), "original").await;
    let tcp = server::named(address(), "original").await;
    let agent = Start::agent("interceptor")
        .env("KUBETETHER_PORTS", format!("53/UDP=47200>{udp},80/TCP=47201>{tcp}"))
        .ready()
        .await;
    let link = attach(agent.control()).await;
    for (port, code, text) in
        [(53, CallCode::Unsupported, "UDP"), (443, CallCode::NoSuchPort, "53/UDP, 80/TCP")]
    {
        let request = Request::Arm { exposed: vec![80, port], holder: String::new() };
        let Err(CallError::Failed(failure)) = client::ask(&link, request).await else {
            panic!("not refused")
        };
        assert_eq!(failure.code, code);
        assert!(failure.text.contains(text), "{failure}");
    }
    let Answer::Status(status) = client::ask(&link, Request::Status).await.unwrap() else {
        panic!("no status")
    };
    assert!(!status.armed);
}

#[tokio::test]
async fn status_tells_what_is() {
    let scene = Scene::new().await;
    let link = scene.armed().await;
    let caller = TcpStream::connect(scene.exposed()).await.unwrap();
    let stream = client::next(&link).await.accept();
    let Answer::Status(status) = client::ask(&link, Request::Status).await.unwrap() else {
        panic!("no status")
    };
    assert!(status.armed);
    assert_eq!((status.clients, status.flows), (1, 1));
    assert_eq!(status.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(Some(status.incarnation), link.peer().map(|peer| peer.incarnation));
    assert!(status.rss_bytes > 0 && status.peak_bytes >= status.rss_bytes / 2);
    assert!(status.cpu_us > 0);
    assert!(status.most_flows > 0);
    assert_eq!(status.refused_flows, 0);
    assert_eq!(client::ask(&link, Request::Disarm).await.unwrap(), Answer::Disarm { open_flows: 1 });
    drop((caller, stream));
}

#[tokio::test]
async fn proofs_tell_where_connections_arrive_and_disturb_nobody() {
    let scene = Scene::new().await;
    let link = scene.armed().await;
    let prove = |address| Request::Prove { port: 80, address, times: 5, deadline: PATIENCE };
    let counts = async |address| {
        let answer = client::ask(&link, prove(address)).await.unwrap();
        let Answer::Prove { here, elsewhere, failed, .. } = answer else { panic!("{answer:?}") };
        (here, elsewhere, failed)
    };
    assert_eq!(counts(scene.exposed()).await, (5, 0, 0));
    assert_eq!(counts(scene.originals[0]).await, (0, 5, 0));
    assert_eq!(counts(server::closed(address()).await).await, (0, 0, 5));
    // The client's application saw none of them: the first connection is the first real one.
    let mut caller = TcpStream::connect(scene.exposed()).await.unwrap();
    let incoming = client::next(&link).await;
    let Open::Inbound { from, .. } = incoming.open() else { panic!("not inbound") };
    assert_eq!(*from, caller.local_addr().unwrap());
    // Callers that come while proofs run are served as ever.
    client::answer_all(&link, "client");
    drop(incoming);
    // Nobody took it at the client: the original did.
    caller.write_all(b"y").await.unwrap();
    caller.shutdown().await.unwrap();
    assert_eq!(server::rest(&mut caller).await.unwrap(), "original 80:y");
    let asking = async {
        for _ in 0..50 {
            assert_eq!(ask(scene.exposed(), "x").await.unwrap(), "client:x");
        }
    };
    let proving = async {
        for _ in 0..10 {
            assert_eq!(counts(scene.exposed()).await, (5, 0, 0));
        }
    };
    tokio::join!(asking, proving);
}

#[tokio::test]
async fn an_interceptor_does_not_dial() {
    let scene = Scene::new().await;
    let link = attach(scene.agent.control()).await;
    let open = Open::Dial { host: "127.0.0.1".to_owned(), port: 1, deadline: Duration::ZERO };
    let error = link.open(open).await.unwrap_err().to_string();
    assert!(error.contains("not allowed"), "{error}");
}
