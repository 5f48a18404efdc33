//! The gateway as a process.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

use std::time::Duration;

use kubetether_link::{
    Answer, Datagrams, GoodbyeCode, IoRead, Link, LinkConfig, Open, OpenError, RefusalCode, Request,
    ResetCode, Role, Stream,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

mod support;

use support::client::{self, attach};
use support::dns::Dns;
use support::server;
use support::{Agent, PATIENCE, Start, address, until};

async fn dial(link: &Link, host: &str, port: u16) -> Result<Stream, OpenError> {
    dial_within(link, host, port, PATIENCE).await
}

async fn dial_within(link: &Link, host: &str, port: u16, deadline: Duration) -> Result<Stream, OpenError> {
    let open = Open::Dial { host: host.to_owned(), port, deadline };
    timeout(PATIENCE, link.open(open)).await.expect("no answer to a dial")
}

async fn refused(link: &Link, host: &str, port: u16) -> (RefusalCode, String) {
    match dial(link, host, port).await {
        Err(OpenError::Refused(refusal)) => (refusal.code, refusal.text),
        other => panic!("{host}: {other:?}"),
    }
}

async fn ask(link: &Link, host: &str, port: u16) -> String {
    let mut stream = dial(link, host, port).await.unwrap();
    stream.write_all(b"x").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}

async fn associate(link: &Link, host: &str, port: u16) -> Result<Datagrams, OpenError> {
    let open = Open::DialDatagrams { host: host.to_owned(), port, deadline: PATIENCE };
    timeout(PATIENCE, link.open_datagrams(open)).await.expect("no answer to a dial")
}

/// A gateway in the namespace `shop` that resolves with `dns`.
async fn gateway(dns: &Dns) -> Agent {
    dns.of(Start::agent("gateway")).ready().await
}

#[tokio::test]
async fn datagrams_go_to_names_and_back() {
    let pod = address();
    let there = UdpSocket::bind((pod, 0)).await.unwrap();
    let port = there.local_addr().unwrap().port();
    let dns = Dns::new(&[("db.shop.svc.cluster.local.", &[pod])]).await;
    let gateway = gateway(&dns).await;
    let link = attach(gateway.control()).await;
    let [one, two] =
        [associate(&link, "db", port).await.unwrap(), associate(&link, "db", port).await.unwrap()];
    let mut buffer = vec![0; 65_536];
    for length in [0, 1, 1200, 65_507] {
        // Each has an address of its own there, and hears its own answers.
        for (mark, association) in [(1, &one), (2, &two)] {
            association.send(&vec![mark; length]).unwrap();
            let (got, from) = timeout(PATIENCE, there.recv_from(&mut buffer)).await.unwrap().unwrap();
            assert!(got == length && buffer[..got].iter().all(|byte| *byte == mark));
            there.send_to(&buffer[..got], from).await.unwrap();
            assert_eq!(timeout(PATIENCE, association.recv()).await.unwrap().unwrap(), vec![mark; length]);
        }
    }
    drop(there);
    // Nobody listens there any more.
    one.send(b"anybody?").unwrap();
    assert_eq!(timeout(PATIENCE, one.cut()).await.unwrap(), ResetCode::Refused);
    match associate(&link, "nobody", 53).await {
        Err(OpenError::Refused(refusal)) => assert_eq!(refusal.code, RefusalCode::NameNotFound),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn dials_addresses_and_names() {
    let pod = address();
    let there = server::named(pod, "pod").await;
    let dns = Dns::new(&[
        ("db.shop.svc.cluster.local.", &[pod]),
        ("db.other.svc.cluster.local.", &[pod]),
        ("example.com.", &[pod]),
    ])
    .await;
    let agent = gateway(&dns).await;
    let link = attach(agent.control()).await;
    let forms = [
        "db",
        "db.shop",
        "db.shop.svc",
        "db.shop.svc.cluster.local",
        "db.shop.svc.cluster.local.",
        "db.other",
    ];
    for host in forms.into_iter().chain(["DB.Shop", "example.com", &pod.to_string()]) {
        assert_eq!(ask(&link, host, there.port()).await, "pod:x", "{host}");
    }
}

#[tokio::test]
async fn refusals_tell_the_truth() {
    let pod = address();
    let closed = server::closed(pod).await;
    let dns =
        Dns::new(&[("db.shop.svc.cluster.local.", &[pod]), ("empty.shop.svc.cluster.local.", &[])]).await;
    let agent = gateway(&dns).await;
    let link = attach(agent.control()).await;
    let (code, text) = refused(&link, "db", closed.port()).await;
    assert_eq!(code, RefusalCode::Refused);
    assert!(text.contains("db") && text.contains(&closed.to_string()), "{text}");
    for host in ["no-such-service", "no.such.name.at.all", "empty", "not a name", &"x".repeat(100)] {
        let (code, text) = refused(&link, host, 80).await;
        assert_eq!(code, RefusalCode::NameNotFound, "{host}: {text}");
    }
    // To no machine in particular there is no route for TCP.
    let (code, text) = refused(&link, "255.255.255.255", 80).await;
    assert_eq!(code, RefusalCode::Unreachable, "{text}");
}

#[tokio::test]
async fn a_silent_name_server_is_not_waited_for_beyond_the_deadline() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let agent = Start::agent("gateway")
        .env("KUBETETHER_NAMESERVER", silent.local_addr().unwrap())
        .env("KUBETETHER_RESOLV_CONF", "/dev/null")
        .ready()
        .await;
    let link = attach(agent.control()).await;
    match dial_within(&link, "db", 80, Duration::from_millis(100)).await {
        Err(OpenError::Refused(refusal)) => assert_eq!(refusal.code, RefusalCode::TimedOut),
        other => panic!("{other:?}"),
    }
    // A cancelled dial ends in the agent too.
    drop(
        timeout(
            Duration::from_millis(10),
            link.open(Open::Dial { host: "db".into(), port: 80, deadline: PATIENCE }),
        )
        .await,
    );
    until("no flow is left", async || {
        let Answer::Status(status) = client::ask(&link, Request::Status).await.ok()? else { return None };
        (status.flows == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn several_clients_at_once_and_one_that_leaves() {
    let there = server::named(address(), "pod").await;
    let agent = Start::agent("gateway").ready().await;
    let (ann, bob) = (attach(agent.control()).await, attach(agent.control()).await);
    let host = there.ip().to_string();
    let mut open = dial(&bob, &host, there.port()).await.unwrap();
    assert_eq!(ask(&ann, &host, there.port()).await, "pod:x");
    ann.close(GoodbyeCode::Closed, "done");
    until("one is left", async || {
        let Answer::Status(status) = client::ask(&bob, Request::Status).await.ok()? else { return None };
        (status.clients == 1).then_some(())
    })
    .await;
    open.shutdown().await.unwrap();
    assert_eq!(server::rest(&mut open).await.unwrap(), "pod:");
}

#[tokio::test]
async fn ends_when_nobody_needs_it() {
    let mut agent = Start::agent("gateway").env("KUBETETHER_IDLE", "1s").ready().await;
    let link = attach(agent.control()).await;
    link.close(GoodbyeCode::Closed, "done");
    assert_eq!(agent.ended().await, Some(0));
    until("the reason is told", async || agent.log().contains("not needed").then_some(())).await;
}

#[tokio::test]
async fn drains_only_when_nobody_else_is_attached() {
    let mut agent = Start::agent("gateway").env("KUBETETHER_IDLE", "1000s").ready().await;
    let (ann, bob) = (attach(agent.control()).await, attach(agent.control()).await);
    let answer = client::ask(&ann, Request::Drain).await.unwrap();
    assert_eq!(answer, Answer::Drain { accepted: false, other_clients: 1 });
    bob.close(GoodbyeCode::Closed, "done");
    until("ann is alone", async || {
        let answer = client::ask(&ann, Request::Drain).await.ok()?;
        (answer == Answer::Drain { accepted: true, other_clients: 0 }).then_some(())
    })
    .await;
    let late = Link::client(LinkConfig::new(Role::Client)).unwrap();
    let (read, write) = TcpStream::connect(agent.control()).await.unwrap().into_split();
    let error = late.attach(IoRead::new(read), write, client::soon()).await.unwrap_err().to_string();
    assert!(error.contains("draining"), "{error}");
    ann.close(GoodbyeCode::Closed, "done");
    assert_eq!(agent.ended().await, Some(0));
}

#[tokio::test]
async fn of_those_who_leave_at_once_the_last_ends_it() {
    let mut agent = Start::agent("gateway").env("KUBETETHER_IDLE", "1000s").ready().await;
    let (ann, bob) = (attach(agent.control()).await, attach(agent.control()).await);
    let answer = client::ask(&ann, Request::Drain).await.unwrap();
    assert_eq!(answer, Answer::Drain { accepted: false, other_clients: 1 });
    // Ann is told that there is somebody else, and has not gone yet.
    let answer = client::ask(&bob, Request::Drain).await.unwrap();
    assert_eq!(answer, Answer::Drain { accepted: true, other_clients: 0 });
    ann.close(GoodbyeCode::Closed, "done");
    bob.close(GoodbyeCode::Closed, "done");
    assert_eq!(agent.ended().await, Some(0));
}

#[tokio::test]
async fn sigterm_refuses_what_comes_before_clients_know() {
    let mut agent = Start::agent("gateway").ready().await;
    let link = attach(agent.control()).await;
    agent.signal("TERM");
    let mut draining = link.peer_draining();
    timeout(PATIENCE, draining.wait_for(|draining| *draining)).await.unwrap().unwrap();
    // Nothing is open, and the link is there all the same.
    assert_eq!(refused(&link, "127.0.0.1", 9).await.0, RefusalCode::Draining);
    assert_eq!(agent.ended().await, Some(0));
}

#[tokio::test]
async fn sigterm_waits_for_open_connections() {
    let there = server::named(address(), "pod").await;
    let mut agent = Start::agent("gateway").ready().await;
    let link = attach(agent.control()).await;
    let mut open = dial(&link, &there.ip().to_string(), there.port()).await.unwrap();
    agent.signal("TERM");
    let mut draining = link.peer_draining();
    timeout(PATIENCE, draining.wait_for(|draining| *draining)).await.unwrap().unwrap();
    assert_eq!(refused(&link, &there.ip().to_string(), there.port()).await.0, RefusalCode::Draining);
    open.write_all(b"late").await.unwrap();
    open.shutdown().await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, open.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert_eq!(answer, "pod:late");
    assert_eq!(agent.ended().await, Some(0));
}

#[tokio::test]
async fn what_it_connects_to_is_asked_whether_it_lives() {
    let there = server::named(address(), "pod").await;
    let agent = Start::agent("gateway").ready().await;
    let link = attach(agent.control()).await;
    let _open = dial(&link, &there.ip().to_string(), there.port()).await.unwrap();
    // The sixth column is the kind of timer and when it goes off; 2 is keepalive while nothing is under way.
    let remote = format!(":{:04X}", there.port());
    until("a keepalive timer runs", async || {
        let sockets = std::fs::read_to_string("/proc/net/tcp").ok()?;
        let mut columns = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let socket = columns.find(|columns| columns[2].ends_with(&remote) && columns[3] == "01")?;
        socket[5].starts_with("02:").then_some(())
    })
    .await;
}

#[tokio::test]
async fn connections_leave_no_descriptor() {
    let there = server::named(address(), "pod").await;
    let agent = Start::agent("gateway").ready().await;
    let link = attach(agent.control()).await;
    let host = there.ip().to_string();
    let round = async |count| {
        for _ in 0..count {
            assert_eq!(ask(&link, &host, there.port()).await, "pod:x");
        }
        until("all have ended", async || {
            let Answer::Status(status) = client::ask(&link, Request::Status).await.ok()? else { return None };
            (status.flows == 0).then_some(())
        })
        .await;
        agent.descriptors()
    };
    let before = round(100).await;
    assert_eq!(round(3000).await, before);
}
