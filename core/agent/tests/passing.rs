//! The interceptor as a process: the way to the original pods.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use kubetether_link::{Answer, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::time::timeout;

mod support;

use support::client::{self, attach};
use support::dns::Dns;
use support::scene::{Scene, is_reset};
use support::server::{self, ask};
use support::{PATIENCE, Start, address, until};

#[tokio::test]
async fn an_original_that_refuses_is_a_reset() {
    let closed = server::closed(address()).await;
    let scene = Scene::with([closed, closed], |start| start).await;
    assert!(is_reset(&ask(scene.exposed(), "x").await));
}

#[tokio::test]
async fn a_caller_that_gives_up_ends_the_dial() {
    // Takes no connection any more, and says nothing: its queue is full.
    let silent = TcpSocket::new_v4().unwrap();
    silent.bind(SocketAddr::new(address(), 0)).unwrap();
    let silent = silent.listen(0).unwrap();
    let original = silent.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(Ok(socket)) = timeout(Duration::from_millis(200), TcpStream::connect(original)).await {
        waiting.push(socket);
    }
    let scene = Scene::with([original; 2], |start| start).await;
    let link = attach(scene.agent.control()).await;
    let flows = async || {
        let answer = client::ask(&link, Request::Status).await.unwrap();
        let Answer::Status(status) = answer else { panic!("{answer:?}") };
        status.flows
    };
    let caller = TcpStream::connect(scene.exposed()).await.unwrap();
    until("the original is dialled", async || (flows().await == 1).then_some(())).await;
    caller.set_zero_linger().unwrap();
    drop(caller);
    until("nothing is left of it", async || (flows().await == 0).then_some(())).await;
    assert!(!scene.agent.log().contains("cannot be reached"), "dialled to the end\n{}", scene.agent.log());
}

#[tokio::test]
async fn servers_that_speak_first_pass_through() {
    let pods = address();
    let originals = [server::greeting(pods, "220 ready").await, server::greeting(pods, "220 too").await];
    let scene = Scene::with(originals, |start| start).await;
    assert_eq!(ask(scene.exposed(), "").await.unwrap(), "220 ready");
    let link = scene.armed().await;
    assert_eq!(ask(scene.unexposed(), "").await.unwrap(), "220 too");
    // And through the client.
    let mut caller = TcpStream::connect(scene.exposed()).await.unwrap();
    let mut stream = client::next(&link).await.accept();
    stream.write_all(b"220 local").await.unwrap();
    assert_eq!(server::next(&mut caller).await.unwrap(), "220 local");
    caller.write_all(b"EHLO").await.unwrap();
    assert_eq!(server::next(&mut stream).await.unwrap(), "EHLO");
}

#[tokio::test]
async fn probes_tell_whether_the_originals_can_be_reached() {
    let there = server::named(address(), "original").await;
    let scene = Scene::with([there, server::closed(address()).await], |start| start).await;
    let link = attach(scene.agent.control()).await;
    let probe = |port| Request::Probe { port, times: 3, deadline: PATIENCE };
    let good = client::ask(&link, probe(80)).await.unwrap();
    assert_eq!(good, Answer::Probe { connected: 3, failed: 0, last_error: String::new() });
    let Answer::Probe { connected: 0, failed: 3, last_error } = client::ask(&link, probe(81)).await.unwrap()
    else {
        panic!("a closed port is not there")
    };
    assert!(last_error.contains(&scene.originals[1].to_string()), "{last_error}");
}

#[tokio::test]
async fn datagrams_pass_through_to_the_caller_they_belong_to() {
    let original = server::datagrams(address(), "original").await;
    let agent =
        Start::agent("interceptor").env("KUBETETHER_PORTS", format!("53/UDP=47200>{original}")).ready().await;
    let to = SocketAddr::new(agent.address, 47200);
    let mut callers = Vec::new();
    for _ in 0..20 {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(to).await.unwrap();
        callers.push(socket);
    }
    for round in 0..3 {
        for (number, caller) in callers.iter().enumerate() {
            caller.send(format!("{number} {round}").as_bytes()).await.unwrap();
        }
        for (number, caller) in callers.iter().enumerate() {
            let mut buffer = [0; 100];
            let length = timeout(PATIENCE, caller.recv(&mut buffer)).await.unwrap().unwrap();
            assert_eq!(buffer[..length], *format!("original:{number} {round}").as_bytes());
        }
    }
    // As large as a datagram may be.
    let large = vec![7; 60_000];
    callers[0].send(&large).await.unwrap();
    let mut buffer = vec![0; 65_535];
    let length = timeout(PATIENCE, callers[0].recv(&mut buffer)).await.unwrap().unwrap();
    assert_eq!(length, large.len() + b"original:".len());
}

#[tokio::test]
async fn datagrams_go_to_an_original_by_name() {
    let pod = address();
    let original = server::datagrams(pod, "original").await;
    let dns = Dns::new(&[("kt-dns.shop.svc.cluster.local.", &[pod])]).await;
    let start = Start::agent("interceptor")
        .env("KUBETETHER_PORTS", format!("53/UDP=47200>kt-dns.shop.svc:{}", original.port()));
    let agent = dns.of(start).ready().await;
    let caller = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    caller.connect(SocketAddr::new(agent.address, 47200)).await.unwrap();
    let mut buffer = [0; 100];
    // One at a time: while the name is looked up, what comes behind the first is lost.
    for text in ["first", "second"] {
        caller.send(text.as_bytes()).await.unwrap();
        let length = timeout(PATIENCE, caller.recv(&mut buffer)).await.unwrap().unwrap();
        assert_eq!(buffer[..length], *format!("original:{text}").as_bytes());
    }
}

#[tokio::test]
async fn callers_beyond_the_bound_push_out_the_oldest_only() {
    let original = server::datagrams(address(), "original").await;
    let agent =
        Start::agent("interceptor").env("KUBETETHER_PORTS", format!("53/UDP=47200>{original}")).ready().await;
    let to = SocketAddr::new(agent.address, 47200);
    let before = agent.descriptors();
    let mut buffer = [0; 100];
    for number in 0..1500 {
        let caller = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        caller.connect(to).await.unwrap();
        caller.send(format!("{number}").as_bytes()).await.unwrap();
        let length = timeout(PATIENCE, caller.recv(&mut buffer)).await.unwrap().unwrap();
        assert_eq!(buffer[..length], *format!("original:{number}").as_bytes());
    }
    until("the bound holds", async || (agent.descriptors() <= before + 1024).then_some(())).await;
}

#[tokio::test]
async fn an_original_by_name_keeps_each_caller_at_its_pod() {
    let pods: Vec<IpAddr> = (0..3).map(|_| address()).collect();
    let port = server::named(pods[0], "pod 0").await.port();
    for (pod, name) in [(pods[1], "pod 1"), (pods[2], "pod 2")] {
        let listener = tokio::net::TcpListener::bind((pod, port)).await.unwrap();
        tokio::spawn(async move {
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let mut heard = String::new();
                    socket.read_to_string(&mut heard).await?;
                    socket.write_all(format!("{name}:{heard}").as_bytes()).await
                });
            }
        });
    }
    let dns = Dns::new(&[("kt-orders.shop.svc.cluster.local.", &pods)]).await;
    let start = Start::agent("interceptor")
        .env("KUBETETHER_PORTS", format!("80/TCP=47200>kt-orders.shop.svc:{port}"));
    let agent = dns.of(start).ready().await;
    let to = SocketAddr::new(agent.address, 47200);
    let mut homes = Vec::new();
    for _ in 0..12 {
        let caller = address();
        let home = server::ask_from(caller, to, "x").await.unwrap();
        for _ in 0..3 {
            assert_eq!(server::ask_from(caller, to, "x").await.unwrap(), home);
        }
        homes.push((caller, home));
    }
    assert!(homes.iter().any(|(_, home)| *home != homes[0].1), "all callers went to one pod");
    // A pod goes: its callers move, the others stay.
    dns.set("kt-orders.shop.svc.cluster.local.", &pods[1..]);
    for (caller, home) in homes {
        let now = server::ask_from(caller, to, "x").await.unwrap();
        if home == "pod 0:x" {
            assert_ne!(now, home);
        } else {
            assert_eq!(now, home);
        }
    }
}
