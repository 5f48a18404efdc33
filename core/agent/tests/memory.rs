//! The carried form with the memory of a small container: as many connections as fit, idle and then all at work.
//!
//! Needs root to make a control group, and the carried form itself: `make agent-test` gives both.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]
#![allow(clippy::print_stdout, reason = "what is left out and what was measured is told")]

use kubetether_link::{Answer, Link, Open, OpenError, RefusalCode, Request, Status, Stream};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::task::JoinSet;

mod support;

use support::cgroup::Cgroup;
use support::client::{self, attach};
use support::{Agent, PATIENCE, Start, address, server};

const LIMIT: u64 = 64 << 20;
/// Connections that fit at least.
const FLOWS: u64 = 10_000;
/// What each connection says when all are at work.
const WORDS: usize = 2000;

/// Where more descriptors may be had than by default.
fn raise_descriptors() {
    let now = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: now.maximum, maximum: now.maximum }).unwrap();
}

fn start(group: &Cgroup, role: &str) -> Start {
    raise_descriptors();
    let carried = std::env::var_os("KUBETETHER_AGENT_CARRIED").expect("set by `make agent-test`");
    let [shell, words @ ..] = group.enter();
    let mut command = Command::new(shell);
    command.args(words).arg(carried);
    Start::command(command, role).env("KUBETETHER_LOG", "info")
}

async fn status(link: &Link) -> Status {
    let Answer::Status(status) = client::ask(link, Request::Status).await.unwrap() else {
        panic!("no status")
    };
    status
}

async fn tell(what: &str, group: &Cgroup, agent: &Agent, link: &Link) {
    let status = status(link).await;
    println!(
        "{what}: {} flows (at most {}), {} KiB in the group, {} KiB at most; RSS {} KiB, anonymous {} KiB",
        status.flows,
        status.most_flows,
        group.usage() >> 10,
        group.peak() >> 10,
        status.rss_bytes >> 10,
        agent.status_field("RssAnon:"),
    );
}

/// Both ends of each connection say something and hear it from the other, all at once.
async fn all_at_work(pairs: Vec<(Stream, TcpStream)>) -> Vec<(Stream, TcpStream)> {
    let mut tasks = JoinSet::new();
    for (mut stream, mut socket) in pairs {
        tasks.spawn(async move {
            let words = vec![7; WORDS];
            let (mut heard, mut answered) = (vec![0; WORDS], vec![0; WORDS]);
            stream.write_all(&words).await.unwrap();
            socket.write_all(&words).await.unwrap();
            socket.read_exact(&mut heard).await.unwrap();
            stream.read_exact(&mut answered).await.unwrap();
            assert!(heard == words && answered == words);
            (stream, socket)
        });
    }
    tasks.join_all().await
}

#[tokio::test]
#[ignore = "needs root and the carried form: make agent-test"]
async fn a_gateway_full_of_connections() {
    let Some(group) = Cgroup::new("gateway", LIMIT) else {
        return println!("left out: no control group with a memory limit can be made here");
    };
    let listener = tokio::net::TcpListener::bind((address(), 0)).await.unwrap();
    let there = listener.local_addr().unwrap();
    let agent = start(&group, "gateway").ready().await;
    let link = attach(agent.control()).await;
    tell("gateway, nothing open", &group, &agent, &link).await;
    let mut pairs = Vec::new();
    // One more than fits is refused, instead of being the end of all.
    loop {
        let open = Open::Dial { host: there.ip().to_string(), port: there.port(), deadline: PATIENCE };
        match link.open(open).await {
            Ok(stream) => pairs.push((stream, listener.accept().await.unwrap().0)),
            Err(OpenError::Refused(refusal)) if refusal.code == RefusalCode::Limit => break,
            Err(error) => panic!("{error} with {} open", pairs.len()),
        }
    }
    assert!(pairs.len() as u64 >= FLOWS, "{} fit", pairs.len());
    tell("idle", &group, &agent, &link).await;
    for _ in 0..3 {
        pairs = all_at_work(pairs).await;
    }
    tell("at work", &group, &agent, &link).await;
    assert_eq!(group.killed(), 0);
    drop(agent);
}

#[tokio::test]
#[ignore = "needs root and the carried form: make agent-test"]
async fn an_interceptor_full_of_connections() {
    let Some(group) = Cgroup::new("interceptor", LIMIT) else {
        return println!("left out: no control group with a memory limit can be made here");
    };
    let original = server::named(address(), "original").await;
    let start = start(&group, "interceptor").env("KUBETETHER_PORTS", format!("80/TCP=47200>{original}"));
    let agent = start.ready().await;
    let link = attach(agent.control()).await;
    client::arm(&link, &[80]).await;
    tell("interceptor, nothing open", &group, &agent, &link).await;
    let mut pairs = Vec::new();
    // Each may need two descriptors, of which there may be too few here.
    for _ in 0..FLOWS.min(status(&link).await.most_flows - 100) {
        let caller = TcpStream::connect((agent.address, 47200)).await.unwrap();
        pairs.push((client::next(&link).await.accept(), caller));
    }
    tell("idle", &group, &agent, &link).await;
    for _ in 0..3 {
        pairs = all_at_work(pairs).await;
    }
    tell("at work", &group, &agent, &link).await;
    assert_eq!(group.killed(), 0);
    drop(agent);
}
