//! Each connection is told of by itself: who called, how much went each way, and how it ended.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::SocketAddr;

use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kubetether::{Flow, FlowEnd, HandleId, Protocol, Session, To};
use kubetether_tests::{
    App, CLOSE, Client, Closed, LONG, Local, Outcome, SHORT, Scenario, eventually, scenario,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

/// An application with the habits of [`exchange_tcp`](crate::exchange_tcp) that end connections.
fn app() -> App {
    App::orders().serving("echo", 9007).port("echo", 7, 9007).serving("reset", 9083).port("reset", 83, 9083)
}

/// The only flow that has ended since, once it has.
async fn ended(session: &Session, next: &mut u64) -> Flow {
    let told = eventually("a flow that has ended", SHORT, async || {
        let flows = session.flows(*next);
        if flows.ended.is_empty() { Err(format!("{flows:?}")) } else { Ok(flows) }
    })
    .await;
    *next = told.next;
    assert_eq!((told.missed, told.ended.len()), (0, 1), "{told:?}");
    told.ended.into_iter().next().unwrap()
}

/// What is the same of all flows of a handle on a port.
fn is_of(flow: &Flow, handle: HandleId, mode: &str, to: &str, port: u16) {
    assert_eq!((flow.handle, flow.mode, &*flow.to, flow.port), (handle, mode, to, port), "{flow:?}");
    assert_eq!(flow.protocol, Protocol::Tcp, "{flow:?}");
}

/// Where the pods of the shop are.
async fn addresses(at: &Scenario) -> Vec<String> {
    let pods = at.namespace().api::<Pod>().list(&ListParams::default()).await.unwrap();
    pods.items.into_iter().filter_map(|pod| pod.status?.pod_ip).collect()
}

/// The open one with this much each way, once there is one.
async fn open(session: &Session, sent: u64, received: u64) -> Flow {
    eventually(format!("an open flow, {sent} sent and {received} received"), SHORT, async || {
        let flows = session.flows(0);
        let found = flows.open.iter().find(|flow| (flow.sent, flow.received) == (sent, received));
        found.cloned().ok_or_else(|| format!("{flows:?}"))
    })
    .await
}

#[test]
fn of_an_exchange_each_with_its_end() {
    scenario("flows-exchange", async |at| {
        let client = at.shop(&app()).await;
        let pods = addresses(at).await;
        let session = at.session().await;
        let (echo, reset, closed) = (Local::new("echo"), Local::new("reset"), Closed::new());
        let to = To::port(echo.port())
            .for_service_port(7)
            .and(To::port(reset.port()).for_service_port(83))
            .and(To::port(closed.port()).for_service_port(80));
        let exchange = session.exchange("orders", to).await.good();
        let (echo, reset, closed) =
            [echo.port(), reset.port(), closed.port()].map(|port| format!("127.0.0.1:{port}")).into();
        let (id, mut next) = (exchange.id(), 0);
        assert_eq!(session.flows(0).open, [], "the proof of an exchange is no flow of it");

        client.talk("orders:7", &["fill:100000", "fin", "rest"]).await.unwrap();
        let finished = ended(&session, &mut next).await;
        is_of(&finished, id, "exchange", &echo, 7);
        assert_eq!(
            (finished.sent, finished.received, &finished.end),
            (100_000, 100_000, &Some(FlowEnd::Finished))
        );
        // The embedded cluster's Services are proxies, so that the address is theirs there.
        let from: SocketAddr = finished.from.parse().unwrap();
        assert!(from.ip().is_loopback() || pods.contains(&from.ip().to_string()), "{from}, not of {pods:?}");

        client.talk("orders:83", &["line", "send:x\\n", "line"]).await.unwrap();
        let here = ended(&session, &mut next).await;
        is_of(&here, id, "exchange", &reset, 83);
        assert_eq!(here.end, Some(FlowEnd::ResetHere));

        client.talk("orders:7", &["send:x\\n", "line", "reset"]).await.unwrap();
        assert_eq!(ended(&session, &mut next).await.end, Some(FlowEnd::ResetThere));

        assert!(client.who("http://orders/").await.starts_with("fault: "));
        let refused = ended(&session, &mut next).await;
        is_of(&refused, id, "exchange", &closed, 80);
        assert_eq!((refused.sent, refused.received), (0, 0));
        assert_eq!(refused.end, Some(FlowEnd::Refused("connection refused".into())));

        // One that stays open: its bytes are told as they move, and once more at its end.
        let mut talk = client.open("orders:7").await;
        assert_eq!(talk.connected(), "connected");
        talk.step("send:hello\\n").await;
        assert_eq!(talk.step("line").await, "line hello");
        let live = open(&session, 6, 6).await;
        assert_eq!(live.end, None);
        talk.step("send:again\\n").await;
        assert_eq!(talk.step("line").await, "line again");
        let later = open(&session, 12, 12).await;
        assert_eq!((later.number, later.began), (live.number, live.began));
        assert!(later.duration > live.duration);
        session.close(CLOSE).await.good();
        let closed = ended(&session, &mut next).await;
        assert_eq!((closed.number, closed.sent, closed.received), (live.number, 12, 12));
        assert_eq!(closed.end, Some(FlowEnd::Closed));

        // Its sums are those of all.
        let all = session.flows(0).ended;
        let (sent, received) =
            all.iter().fold((0, 0), |sum, flow| (sum.0 + flow.sent, sum.1 + flow.received));
        let stats = exchange.stats();
        assert_eq!((stats.connections, stats.open, stats.refused), (5, 0, 1));
        assert_eq!((stats.sent, stats.received), (sent, received));
    });
}

#[test]
fn of_forwards_each_with_its_end() {
    scenario("flows-forward", async |at| {
        at.shop(&app().udp("dns", 5353)).await;
        let session = at.session().await;
        let (echo, reset) =
            (session.forward("orders:7").await.good(), session.forward("orders:83").await.good());
        assert_eq!(session.flows(0).open, [], "what the start has dialled is no flow");
        let (here, mut next) = (Client::here(), 0);
        let talk = async |at: SocketAddr, steps: &[&str]| here.talk(&at.to_string(), steps).await.unwrap();

        talk(echo.address(), &["fill:100000", "fin", "rest"]).await;
        let finished = ended(&session, &mut next).await;
        is_of(&finished, echo.id(), "forward", "orders:7", echo.address().port());
        assert_eq!(
            (finished.sent, finished.received, &finished.end),
            (100_000, 100_000, &Some(FlowEnd::Finished))
        );

        talk(reset.address(), &["line", "send:x\\n", "line"]).await;
        let there = ended(&session, &mut next).await;
        is_of(&there, reset.id(), "forward", "orders:83", reset.address().port());
        assert_eq!(there.end, Some(FlowEnd::ResetThere));

        talk(echo.address(), &["send:x\\n", "line", "reset"]).await;
        assert_eq!(ended(&session, &mut next).await.end, Some(FlowEnd::ResetHere));

        let mut caller = TcpStream::connect(echo.address()).await.unwrap();
        caller.write_all(b"hello").await.unwrap();
        caller.read_exact(&mut [0; 5]).await.unwrap();
        let live = open(&session, 5, 5).await;
        assert_eq!(live.from, caller.local_addr().unwrap().to_string());
        echo.close(CLOSE).await.good();
        let closed = ended(&session, &mut next).await;
        assert_eq!((closed.number, closed.end), (live.number, Some(FlowEnd::Closed)));

        // An association is a flow, too.
        let forward = session.forward("orders:5353/udp").await.good();
        let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        peer.connect(forward.address()).await.unwrap();
        eventually("an answer by UDP", LONG, async || {
            let _ = peer.send(b"hello").await;
            let answer = tokio::time::timeout(SHORT / 10, peer.recv(&mut [0; 9])).await;
            answer.ok().and_then(Result::ok).ok_or("none")
        })
        .await;
        // What has been handed over is counted a moment later.
        let association = eventually("a counted association", SHORT, async || {
            let open = session.flows(0).open.pop();
            open.clone()
                .filter(|flow| flow.sent >= 5 && flow.received >= 5)
                .ok_or_else(|| format!("{open:?}"))
        })
        .await;
        assert_eq!((association.protocol, &*association.to), (Protocol::Udp, "orders:5353/udp"));
        assert_eq!(association.from, peer.local_addr().unwrap().to_string());
        forward.close(CLOSE).await.good();
        let closed = ended(&session, &mut next).await;
        assert_eq!((closed.number, closed.end), (association.number, Some(FlowEnd::Closed)));

        // Nobody is behind the Service any more; how long that takes to be known is the cluster's affair.
        app().scale(at.namespace(), 0).await;
        let refused = Some(FlowEnd::Refused("connection refused".into()));
        eventually("a refusal", LONG, async || {
            // The reset may be there before the connection has been looked at. Until its pod is gone it may answer, and
            // waits for more.
            match TcpStream::connect(reset.address()).await {
                Ok(mut caller) => drop(caller.read(&mut [0; 9]).await),
                Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
            }
            let flow = ended(&session, &mut next).await;
            if flow.end == refused { Ok(()) } else { Err(format!("{flow:?}")) }
        })
        .await;
        app().scale(at.namespace(), 1).await;
        session.close(CLOSE).await.good();
        // Its pod is another one now.
        at.baseline().await;
    });
}

/// 2,000 short connections: who looks again and again is told of each once, or that it was missed.
#[test]
fn many_short_ones_are_told_of_once() {
    const FLOWS: u64 = 2000;
    scenario("flows-many", async |at| {
        let client = at.shop(&app()).await;
        let session = at.session().await;
        let local = Local::http();
        let to = To::port(local.port()).for_service_port(80);
        let exchange = session.exchange("orders", to).await.good();
        let forward = session.forward("orders:7").await.good();
        let (mut seen, mut missed, mut next) = (BTreeSet::new(), 0, 0);
        let asked = client.many("http://orders/", FLOWS / 2, 8);
        let echoed = async {
            for _ in 0..FLOWS / 2 {
                let mut caller = TcpStream::connect(forward.address()).await.unwrap();
                caller.write_all(b"x").await.unwrap();
                caller.shutdown().await.unwrap();
                let mut answer = Vec::new();
                caller.read_to_end(&mut answer).await.unwrap();
                assert_eq!(answer, b"x");
            }
        };
        let mut look = || {
            let flows = session.flows(next);
            for flow in &flows.ended {
                assert!(seen.insert(flow.number), "told of twice: {flow:?}");
                assert_eq!(flow.end, Some(FlowEnd::Finished), "{flow:?}");
            }
            let again: Vec<_> = flows.open.iter().filter(|flow| seen.contains(&flow.number)).collect();
            assert!(again.is_empty(), "open and ended: {again:?}");
            missed += flows.missed;
            next = flows.next;
            (seen.len() as u64, missed)
        };
        let mut both = std::pin::pin!(async { tokio::join!(asked, echoed) });
        let (load, ()) = loop {
            tokio::select! {
                done = &mut both => break done,
                () = tokio::time::sleep(std::time::Duration::from_millis(50)) => { look(); }
            }
        };
        assert!(load.errors.is_empty(), "{load:?}");
        eventually("the end of all", SHORT, async || {
            let (seen, missed) = look();
            if seen + missed == FLOWS { Ok(()) } else { Err(format!("{seen} seen, {missed} missed")) }
        })
        .await;
        let (exchanged, forwarded) = (exchange.stats(), forward.stats());
        assert_eq!((exchanged.connections, exchanged.open), (FLOWS / 2, 0));
        assert_eq!((forwarded.connections, forwarded.sent, forwarded.received), (FLOWS / 2, 1000, 1000));
        // Who looks for the first time now is told of the last ones, and how many there were before.
        let late = session.flows(0);
        assert_eq!((late.ended.len() as u64, late.missed, late.next), (1024, FLOWS - 1024, FLOWS));
        session.close(CLOSE).await.good();
    });
}
