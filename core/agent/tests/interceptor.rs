//! The interceptor as a process: who gets which connection, and what everyone sees of it.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use kubetether_link::{
    Answer, CallCode, CallError, GoodbyeCode, Link, Open, Refusal, RefusalCode, Request, ResetCode,
    StreamReset,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::process::Command;
use tokio::time::timeout;

mod support;

use support::client::{self, arm, attach};
use support::dns::Dns;
use support::path::Path;
use support::server::{self, ask};
use support::{Agent, PATIENCE, Start, address, until};

/// An interceptor of a Service with the ports 80 and 81, and the originals of both.
struct Scene {
    agent: Agent,
    originals: [SocketAddr; 2],
}

impl Scene {
    async fn new() -> Self {
        let pods = address();
        let originals = [server::named(pods, "original 80").await, server::named(pods, "original 81").await];
        Self::with(originals, |start| start).await
    }

    async fn with(originals: [SocketAddr; 2], change: impl FnOnce(Start) -> Start) -> Self {
        let ports = format!("80/TCP=47200>{},81/TCP=47201>{}", originals[0], originals[1]);
        let start = Start::agent("interceptor")
            .env("KUBETETHER_PORTS", ports)
            .env("KUBETETHER_HEARTBEAT", "50ms")
            .env("KUBETETHER_SILENCE", "400ms")
            .env("KUBETETHER_LINGER", "50ms");
        Self { agent: change(start).ready().await, originals }
    }

    fn exposed(&self) -> SocketAddr {
        SocketAddr::new(self.agent.address, 47200)
    }

    fn unexposed(&self) -> SocketAddr {
        SocketAddr::new(self.agent.address, 47201)
    }

    /// A client that has armed port 80.
    async fn armed(&self) -> Link {
        let link = attach(self.agent.control()).await;
        arm(&link, &[80]).await;
        link
    }
}

fn is_reset(result: &io::Result<impl std::fmt::Debug>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset)
}

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
    // A client that is leaving is no reason to refuse anyone.
    let asking = tokio::spawn(ask(scene.exposed(), "x"));
    client::next(&link).await.refuse(Refusal::new(RefusalCode::Draining, ""));
    assert_eq!(asking.await.unwrap().unwrap(), "original 80:x");
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
async fn an_original_that_refuses_is_a_reset() {
    let closed = server::closed(address()).await;
    let scene = Scene::with([closed, closed], |start| start).await;
    assert!(is_reset(&ask(scene.exposed(), "x").await));
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
    let scene = Scene::new().await;
    let path = Path::to(scene.agent.control()).await;
    let link = attach(path.address).await;
    arm(&link, &[80]).await;
    client::answer_all(&link, "client");
    assert_eq!(ask(scene.exposed(), "a").await.unwrap(), "client:a");
    path.freeze();
    // A connection that was led to the client while nobody knew yet comes to the original too.
    assert_eq!(ask(scene.exposed(), "b").await.unwrap(), "original 80:b");
    assert_eq!(ask(scene.exposed(), "c").await.unwrap(), "original 80:c");
    path.cut();
    path.mend();
    until("a carrier is back", async || {
        let (read, write) = TcpStream::connect(path.address).await.ok()?.into_split();
        link.attach(read, write, client::soon()).await.ok()
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
    client::ask(&link, Request::Disarm).await.unwrap();
    assert_eq!(client::ask(&other, request).await.unwrap(), Answer::Arm);
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
    assert!(status.rss_bytes > 0);
    assert_eq!(client::ask(&link, Request::Disarm).await.unwrap(), Answer::Disarm { open_flows: 1 });
    drop((caller, stream));
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
    assert!(server::next(&mut caller).await.is_err());
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
    let dns = Dns::new(&[("kt-dns.shop.svc.", &[pod])]).await;
    let agent = Start::agent("interceptor")
        .env("KUBETETHER_PORTS", format!("53/UDP=47200>kt-dns.shop.svc:{}", original.port()))
        .env("KUBETETHER_NAMESERVER", dns.address)
        .env("KUBETETHER_RESOLV_CONF", "/dev/null")
        .ready()
        .await;
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
    let resolv = std::env::temp_dir().join(format!("kubetether-resolv-{}", std::process::id()));
    std::fs::write(
        &resolv,
        "search shop.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n",
    )
    .unwrap();
    let agent = Start::agent("interceptor")
        .env("KUBETETHER_PORTS", format!("80/TCP=47200>kt-orders.shop.svc:{port}"))
        .env("KUBETETHER_NAMESERVER", dns.address)
        .env("KUBETETHER_RESOLV_CONF", resolv.display())
        .ready()
        .await;
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
    std::fs::remove_file(resolv).unwrap();
}

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
    // Fewer than the least number of connections that it takes. An even and an odd one: with one of them it is the
    // caller's side for which there is no descriptor, with the other the original's.
    for limit in [32, 33] {
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

#[tokio::test]
async fn an_interceptor_does_not_dial() {
    let scene = Scene::new().await;
    let link = attach(scene.agent.control()).await;
    let open = Open::Dial { host: "127.0.0.1".to_owned(), port: 1, deadline: Duration::ZERO };
    let error = link.open(open).await.unwrap_err().to_string();
    assert!(error.contains("not allowed"), "{error}");
}
