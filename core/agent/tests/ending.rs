//! The interceptor as a process: its end, and its limits.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use kubetether_link::{Answer, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::process::Command;
use tokio::time::timeout;

mod support;

use support::client::{self, attach};
use support::path::Path;
use support::scene::{Scene, is_reset};
use support::server::{self, ask};
use support::{PATIENCE, Start, address, until};

#[tokio::test]
async fn sigterm_passes_new_connections_through_and_lets_open_ones_end() {
    let mut scene = Scene::new().await;
    let link = scene.armed().await;
    let mut caller = TcpStream::connect(scene.exposed()).await.unwrap();
    caller.write_all(b"open ").await.unwrap();
    let mut stream = client::next(&link).await.accept();
    assert_eq!(server::next(&mut stream).await.unwrap(), "open ");
    scene.agent.signal("TERM");
    let mut draining = link.peer_draining();
    timeout(PATIENCE, draining.wait_for(|draining| *draining)).await.unwrap().unwrap();
    assert_eq!(ask(scene.exposed(), "new").await.unwrap(), "original 80:new");
    let health = SocketAddr::new(scene.agent.address, 47101);
    assert_eq!(support::ask_health(health).await, Some(200));
    let request = Request::Arm { exposed: vec![80], holder: String::new() };
    assert!(client::ask(&link, request).await.is_err(), "armed while draining");
    // The open one goes on to its end.
    caller.write_all(b"still").await.unwrap();
    caller.shutdown().await.unwrap();
    let mut heard = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut heard)).await.unwrap().unwrap();
    assert_eq!(heard, "still");
    stream.write_all(b"done").await.unwrap();
    stream.shutdown().await.unwrap();
    heard.clear();
    timeout(PATIENCE, caller.read_to_string(&mut heard)).await.unwrap().unwrap();
    assert_eq!(heard, "done");
    assert_eq!(scene.agent.ended().await, Some(0));
    let reason = timeout(PATIENCE, link.closed()).await.unwrap();
    assert!(reason.to_string().contains("the agent ends"), "{reason}\n{}", scene.agent.log());
}

#[tokio::test]
async fn sigterm_ends_at_once_when_a_client_has_asked_for_it() {
    let original = server::named(address(), "original").await;
    let mut scene = Scene::with([original; 2], |start| {
        start.env("KUBETETHER_LINGER", "1000s").env("KUBETETHER_DRAIN", "1000s")
    })
    .await;
    let link = attach(scene.agent.control()).await;
    let answer = client::ask(&link, Request::Drain).await.unwrap();
    assert_eq!(answer, Answer::Drain { accepted: true, other_clients: 0 });
    assert_eq!(ask(scene.exposed(), "x").await.unwrap(), "original:x", "still there until the signal");
    scene.agent.signal("TERM");
    assert_eq!(scene.agent.ended().await, Some(0));
}

#[tokio::test]
async fn sigterm_serves_as_long_as_callers_come() {
    let original = server::named(address(), "original").await;
    let mut scene = Scene::with([original; 2], |start| {
        start.env("KUBETETHER_LINGER", "0s").env("KUBETETHER_DRAIN", "1000s")
    })
    .await;
    assert_eq!(ask(scene.exposed(), "x").await.unwrap(), "original:x");
    scene.agent.signal("TERM");
    // Well beyond the second of quiet that it waits for, one caller behind the other.
    let begin = Instant::now();
    let mut newest = begin;
    while begin.elapsed() < Duration::from_secs(3) {
        match ask(scene.exposed(), "x").await {
            Ok(answer) => assert_eq!(answer, "original:x"),
            // A machine that stops for so long has made the quiet itself.
            Err(error) => {
                assert!(newest.elapsed() > Duration::from_millis(500), "{error}\n{}", scene.agent.log());
                break;
            }
        }
        newest = Instant::now();
    }
    assert_eq!(scene.agent.ended().await, Some(0));
}

#[tokio::test]
async fn a_client_that_cannot_be_reached_is_not_waited_for_at_the_end() {
    let original = server::named(address(), "original 80").await;
    let mut scene = Scene::with([original; 2], |start| start.env("KUBETETHER_DRAIN", "100ms")).await;
    let path = Path::to(scene.agent.control()).await;
    let link = attach(path.address).await;
    client::arm(&link, &[80]).await;
    let mut caller = TcpStream::connect(scene.exposed()).await.unwrap();
    caller.write_all(b"x").await.unwrap();
    let mut stream = client::next(&link).await.accept();
    assert_eq!(server::next(&mut stream).await.unwrap(), "x");
    path.cut();
    until("the agent knows", async || {
        (ask(scene.exposed(), "y").await.ok()? == "original 80:y").then_some(())
    })
    .await;
    // Something for the client that will never be with it.
    caller.write_all(b"lost").await.unwrap();
    drop(caller);
    scene.agent.signal("TERM");
    scene.agent.ended().await;
    until("it is told", async || scene.agent.log().contains("is not waited for").then_some(())).await;
    assert!(!scene.agent.log().contains("last bytes"), "{}", scene.agent.log());
}

#[tokio::test]
async fn the_drain_time_bounds_the_wait_for_open_connections() {
    let original = server::named(address(), "original").await;
    let mut scene = Scene::with([original; 2], |start| start.env("KUBETETHER_DRAIN", "100ms")).await;
    let _open = TcpStream::connect(scene.exposed()).await.unwrap();
    scene.agent.signal("TERM");
    assert_eq!(scene.agent.ended().await, Some(0));
    until("it is told", async || scene.agent.log().contains("still open").then_some(())).await;
}

#[tokio::test]
async fn ten_thousand_connections_leave_nothing_behind() {
    let scene = Scene::new().await;
    let link = scene.armed().await;
    client::answer_all(&link, "client");
    let round = async |count| {
        for _ in 0..count {
            assert_eq!(ask(scene.exposed(), "x").await.unwrap(), "client:x");
            assert_eq!(ask(scene.unexposed(), "x").await.unwrap(), "original 81:x");
        }
        let flows = until("all have ended", async || {
            let Answer::Status(status) = client::ask(&link, Request::Status).await.ok()? else { return None };
            (status.flows == 0).then_some(())
        });
        flows.await;
        (scene.agent.descriptors(), scene.agent.status_field("VmRSS:").parse::<usize>().unwrap())
    };
    let (descriptors, memory) = round(500).await;
    let (descriptors_after, memory_after) = round(4500).await;
    assert_eq!(descriptors_after, descriptors);
    assert!(memory_after < memory + 4096, "{memory} KiB became {memory_after} KiB");
}

#[tokio::test]
async fn running_out_of_descriptors_passes() {
    let original = server::named(address(), "original").await;
    let mut told = 0;
    // Room for fewer than the least number of connections that it takes. An even and an odd one: with one of them it is the
    // caller's side for which there is no descriptor, with the other the original's.
    for limit in [22, 23] {
        let mut command = Command::new("prlimit");
        command.args([&format!("--nofile={limit}:{limit}"), env!("CARGO_BIN_EXE_kubetether-agent")]);
        let agent = Start::command(command, "interceptor")
            .env("KUBETETHER_PORTS", format!("80/TCP=47200>{original}"))
            .ready()
            .await;
        let to = SocketAddr::new(agent.address, 47200);
        let mut open = Vec::new();
        for _ in 0..100 {
            open.push(TcpSocket::new_v4().unwrap().connect(to).await);
        }
        until("there is none left", async || {
            let reset = open.iter().any(|socket| match socket {
                Ok(socket) => is_reset(&socket.try_read(&mut [0])),
                Err(_) => true,
            });
            (reset || agent.log().contains("cannot accept")).then_some(())
        })
        .await;
        drop(open);
        until("it serves again", async || (ask(to, "x").await.ok()? == "original:x").then_some(())).await;
        // It waited in between, instead of trying all the time.
        let times = agent.log().matches("cannot accept").count();
        assert!(times < 50, "{times} times");
        told += times;
    }
    assert!(told > 0, "accepting never failed");
}
