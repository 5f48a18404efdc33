//! The engine works against it as against any cluster.

use kubetether::{Config, Deadline, Session, To};
use kubetether_sim::Sim;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{answered_by, deploy, options, root, sim_with_workload, soon};

fn config(sim: &Sim) -> Config {
    let agent = root().join("target/agent/kubetether-agent-x86_64");
    assert!(agent.is_file(), "{} is missing: `make agent` builds it", agent.display());
    Config::new().kubeconfig(sim.kubeconfig()).namespace("default")
}

async fn get(address: std::net::SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        .await
        .unwrap();
    let mut text = String::new();
    soon("an answer", stream.read_to_string(&mut text)).await.unwrap();
    text
}

/// Answers every request as `here`.
async fn local() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = [0; 1024];
                if stream.read(&mut head).await.is_ok_and(|count| count > 0) {
                    let answer =
                        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nname=here ";
                    let _ = stream.write_all(answer).await;
                }
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forward_and_an_exchange_and_nothing_is_left() {
    let sim = sim_with_workload().await;
    deploy(&sim, "orders", "cluster", 2).await;
    let before = sim.object("services", "default", "orders").unwrap()["spec"].clone();
    let session = soon("a session", Session::start(config(&sim))).await.unwrap();

    let forward = soon("a forward", session.forward("orders:8080")).await.unwrap();
    assert!(get(forward.address()).await.contains("name=cluster "));

    let exchange = soon("an exchange", session.exchange("orders", To::port(local().await))).await.unwrap();
    answered_by(&sim, "orders", "http://orders:8080/", "here").await;
    soon("the end of the exchange", exchange.close(Deadline::secs(20))).await.unwrap();
    answered_by(&sim, "orders", "http://orders:8080/", "cluster").await;
    soon("the end of the session", session.close(Deadline::secs(20))).await.unwrap();

    assert_eq!(sim.object("services", "default", "orders").unwrap()["spec"], before);
    for plural in
        ["services", "deployments", "pods", "jobs", "configmaps", "leases", "endpoints", "endpointslices"]
    {
        for object in sim.objects(plural, "") {
            let marked = object["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "kubetether";
            assert!(!marked, "left: {plural} {}", object["metadata"]["name"]);
        }
    }
    sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn websockets_do_where_nothing_else_gets_through() {
    let sim = Sim::start(options().websockets_only()).await.unwrap();
    deploy(&sim, "orders", "cluster", 1).await;
    let session = soon("a session", Session::start(config(&sim))).await.unwrap();
    let forward = soon("a forward", session.forward("orders:8080")).await.unwrap();
    assert!(get(forward.address()).await.contains("name=cluster "));
    soon("the end of the session", session.close(Deadline::secs(20))).await.unwrap();
    sim.stop().await;
}
