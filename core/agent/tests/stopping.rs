//! The agent as a process: one that is killed and started again, and one that is stopped for a while.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

use std::net::SocketAddr;
use std::time::Duration;

use kubetether_link::{Answer, IoRead, Link, Open, Request, ResetCode, Stream, StreamReset};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

mod support;

use support::client::{self, attach, attach_as};
use support::scene::{Scene, is_reset};
use support::server;
use support::{Agent, PATIENCE, Start, address, until};

/// Bytes that came on connections to `address` and that nobody has taken.
fn unread(address: SocketAddr) -> u32 {
    let local = format!(":{:04X}", address.port());
    let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let columns = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let open = columns.filter(|columns| columns[1].ends_with(&local) && columns[3] == "01");
    open.map(|columns| u32::from_str_radix(columns[4].split(':').nth(1).unwrap(), 16).unwrap()).sum()
}

/// A stream to an echo behind a gateway.
async fn echoing(link: &Link) -> Stream {
    let there = server::serve(address(), |mut socket| async move {
        let (mut read, mut write) = socket.split();
        tokio::io::copy(&mut read, &mut write).await.map(drop)
    })
    .await;
    let open = Open::Dial { host: there.ip().to_string(), port: there.port(), deadline: PATIENCE };
    timeout(PATIENCE, link.open(open)).await.unwrap().unwrap()
}

async fn assert_echoes(stream: &mut Stream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut heard = vec![0; text.len()];
    timeout(PATIENCE, stream.read_exact(&mut heard)).await.expect("no echo").unwrap();
    assert_eq!(heard, text.as_bytes());
}

/// New carriers until one is up; gives why none will ever be.
async fn back(link: &Link, agent: &Agent) -> Result<(), String> {
    until("the link is up or given up", async || {
        if let Some(reason) = link.close_reason() {
            return Some(Err(reason.to_string()));
        }
        let (read, write) = TcpStream::connect(agent.control()).await.ok()?.into_split();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(1);
        link.attach(IoRead::new(read), write, deadline).await.ok().map(|_| Ok(()))
    })
    .await
}

/// A new carrier whenever there is none.
async fn keep(link: Link, control: SocketAddr) {
    let mut carriers = link.carriers();
    while carriers.wait_for(|carriers| *carriers == 0).await.is_ok() && link.close_reason().is_none() {
        if let Ok(socket) = TcpStream::connect(control).await {
            let (read, write) = socket.into_split();
            let deadline = tokio::time::Instant::now() + Duration::from_secs(1);
            let _ = link.attach(IoRead::new(read), write, deadline).await;
        }
    }
}

async fn reason(stream: &mut Stream) -> Option<ResetCode> {
    StreamReset::of(&server::next(stream).await.unwrap_err())
}

#[tokio::test]
async fn a_client_of_a_killed_agent_is_told_that_there_is_another() {
    let address = address();
    let mut agent = Start::agent("gateway").at(address).ready().await;
    let link = attach(agent.control()).await;
    let mut stream = echoing(&link).await;
    assert_echoes(&mut stream, "before").await;
    let incarnation = link.peer().unwrap().incarnation;
    agent.signal("KILL");
    agent.child.wait().await.unwrap();
    // The stream waits for the agent to come back, which it cannot know to be another.
    until("the loss is known", async || (*link.carriers().borrow() == 0).then_some(())).await;
    assert_eq!(link.close_reason(), None);

    let agent = Start::agent("gateway").at(address).ready().await;
    let told = back(&link, &agent).await.unwrap_err();
    assert!(told.contains("restarted"), "{told}");
    assert_eq!(reason(&mut stream).await, Some(ResetCode::AgentRestarted));
    // What a new link finds is another agent, that knows nothing of the old one.
    let anew = attach(agent.control()).await;
    assert_ne!(anew.peer().unwrap().incarnation, incarnation);
    assert_echoes(&mut echoing(&anew).await, "after").await;
}

#[tokio::test]
async fn a_killed_interceptors_callers_are_reset_and_its_successor_passes_through() {
    let mut scene = Scene::new().await;
    let link = scene.armed().await;
    let mut caller = TcpStream::connect(scene.exposed()).await.unwrap();
    caller.write_all(b"x").await.unwrap();
    let mut stream = client::next(&link).await.accept();
    assert_eq!(server::next(&mut stream).await.unwrap(), "x");
    // And one that waits for an answer of the original.
    let mut passed = TcpStream::connect(scene.unexposed()).await.unwrap();
    passed.write_all(b"x").await.unwrap();
    until("it has passed", async || {
        let Answer::Status(status) = client::ask(&link, Request::Status).await.ok()? else { return None };
        (status.flows == 2 && unread(scene.unexposed()) == 0).then_some(())
    })
    .await;
    scene.agent.signal("KILL");
    scene.agent.child.wait().await.unwrap();
    assert!(is_reset(&server::next(&mut caller).await));
    assert!(is_reset(&server::next(&mut passed).await));
    let scene = scene.again().await;
    assert!(back(&link, &scene.agent).await.unwrap_err().contains("restarted"));
    assert_eq!(reason(&mut stream).await, Some(ResetCode::AgentRestarted));
    // Nobody has armed this one.
    assert_eq!(server::ask(scene.exposed(), "y").await.unwrap(), "original 80:y");
    let link = scene.armed().await;
    client::answer_all(&link, "client");
    assert_eq!(server::ask(scene.exposed(), "z").await.unwrap(), "client:z");
}

/// Longer than either end waits for a word of the other: 20 s against 5 s, told in less time.
const STOPPED: Duration = Duration::from_secs(2);

#[tokio::test]
async fn nothing_is_lost_when_the_agent_is_stopped_within_the_grace() {
    let agent = Start::agent("gateway").env("KUBETETHER_SILENCE", "500ms").ready().await;
    let config = client::config("ann@box").silence(Duration::from_millis(500));
    let link = attach_as(config, agent.control()).await;
    let stream = echoing(&link).await;
    let (mut read, mut write) = tokio::io::split(stream);
    // Something is on its way all the time, both ways.
    let total = 8 << 20;
    let writing = tokio::spawn(async move {
        for piece in 0..total / 1024_u32 {
            let bytes: Vec<u8> = (0..256_u32).flat_map(|word| (piece * 256 + word).to_le_bytes()).collect();
            write.write_all(&bytes).await.unwrap();
            if piece % 16 == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        write.shutdown().await.unwrap();
    });
    let reading = tokio::spawn(async move {
        let mut bytes = Vec::new();
        read.read_to_end(&mut bytes).await.unwrap();
        bytes
    });
    agent.signal("STOP");
    tokio::time::sleep(STOPPED).await;
    until("the client knows", async || (*link.carriers().borrow() == 0).then_some(())).await;
    agent.signal("CONT");
    // A slow machine may fall silent again.
    let keeping = tokio::spawn(keep(link.clone(), agent.control()));
    timeout(PATIENCE, writing).await.unwrap().unwrap();
    let heard = timeout(PATIENCE, reading).await.unwrap().unwrap();
    assert_eq!(heard.len(), total as usize);
    for (place, word) in heard.chunks(4).enumerate() {
        assert_eq!(word, (place as u32).to_le_bytes(), "at {place}");
    }
    assert_echoes(&mut echoing(&link).await, "after").await;
    keeping.abort();
}

#[tokio::test]
async fn beyond_the_grace_both_ends_reset_with_the_reason() {
    let original = server::named(address(), "original").await;
    let scene = Scene::with([original; 2], |start| {
        start.env("KUBETETHER_SILENCE", "200ms").env("KUBETETHER_GRACE", "500ms")
    })
    .await;
    let config =
        client::config("ann@box").silence(Duration::from_millis(200)).grace(Duration::from_millis(500));
    let link = attach_as(config, scene.agent.control()).await;
    client::arm(&link, &[80]).await;
    let mut caller = TcpStream::connect(scene.exposed()).await.unwrap();
    caller.write_all(b"x").await.unwrap();
    let mut stream = client::next(&link).await.accept();
    assert_eq!(server::next(&mut stream).await.unwrap(), "x");
    scene.agent.signal("STOP");
    let told = timeout(PATIENCE, link.closed()).await.unwrap();
    assert_eq!(reason(&mut stream).await, Some(ResetCode::LinkLost), "{told}");
    scene.agent.signal("CONT");
    // The client never comes back: the caller is told, and the next one gets the original.
    assert!(is_reset(&server::next(&mut caller).await));
    until("the originals answer", async || {
        (server::ask(scene.exposed(), "y").await.ok()? == "original:y").then_some(())
    })
    .await;
}
