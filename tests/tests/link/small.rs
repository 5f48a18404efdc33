//! Little to live on: few descriptors here, little memory there.

#![allow(clippy::print_stdout, reason = "a test's output is shown when it fails")]

use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kubetether::{Session, To};
use kubetether_tests::proxy::{Cut, Proxy};
use kubetether_tests::{
    Apart, App, CLOSE, Client, Command, Outcome, Plan, Scenario, Traffic, of_agents, within_limit,
};

const DESCRIPTORS: &str = "--nofile=64:64";
/// Connections one after another, of which many more are asked for at once than there are descriptors.
const SHORT: u64 = 400;
const WORKERS: u64 = 100;

/// What an agent's container may use.
const MEMORY: u64 = 64 << 20;
/// Connections that it holds meanwhile.
const CROWD: u64 = 7_000;
/// One forward bears no more than 4,096.
const FORWARDS: u64 = 2;

/// Thousands of connections that do nothing beside transfers and requests, by a gateway and by an interceptor of 64 MiB.
/// None is refused, and nothing is killed for its memory.
#[test]
fn agents_of_64_mib_with_thousands_of_connections() {
    within_limit("little-memory", async |at| {
        let app = App::orders().serving("crowd", 9000).port("crowd", 90, 9000);
        at.shop(&app).await;
        let (local, crowd) = (Apart::http().await, Apart::new("crowd").await);
        let session = Session::start(at.config().agent_memory(MEMORY)).await.good();
        let to = To::port(local.port()).for_service_port(80).and(To::port(crowd.port()).for_service_port(90));
        let (exchange, forward, one, other) = tokio::join!(
            session.exchange("orders", to),
            session.forward("deploy/orders:8080"),
            session.forward("deploy/orders:9000"),
            session.forward("deploy/orders:9000")
        );
        let (_exchange, forward, one, other) = (exchange.good(), forward.good(), one.good(), other.good());
        let before = agents(at).await;

        let (many, busy) = (Plan::quiet().talkers(1, 1000).idle(CROWD), Plan::full().idle(0));
        let share = many.idle(CROWD / FORWARDS);
        let (one, other, many_into) = tokio::join!(
            Traffic::here(one.address(), share),
            Traffic::here(other.address(), share),
            Traffic::in_pod(at.namespace(), "orders:90", many)
        );
        tokio::join!(one.running(), other.running(), many_into.running());
        let (busy_out, busy_into) = tokio::join!(
            Traffic::here(forward.address(), busy),
            Traffic::in_pod(at.namespace(), "orders:80", busy)
        );
        tokio::join!(busy_out.running(), busy_into.running());
        let (out, into) = (busy_out.told().await, busy_into.told().await);
        tokio::join!(busy_out.transferred(&out, 1), busy_into.transferred(&into, 1));
        for held in of_agents(at.namespace()).await {
            println!("{held:?}");
        }
        let told = tokio::join!(busy_out.finish(), busy_into.finish());
        println!("{}\n{}", told.0, told.1);
        let told = tokio::join!(one.finish(), other.finish(), many_into.finish());
        println!("{}\n{}\n{}", told.0, told.1, told.2);
        assert_eq!(agents(at).await, before, "an agent was killed or replaced");
        session.close(CLOSE).await.good();
    });
}

/// The agents' pods, and how often each container was started anew and why.
async fn agents(at: &Scenario) -> Vec<String> {
    let ours = ListParams::default().labels("app.kubernetes.io/managed-by=kubetether");
    let pods = at.namespace().api::<Pod>().list(&ours).await.unwrap();
    let told = |pod: Pod| {
        let statuses = pod.status.unwrap_or_default().container_statuses.unwrap_or_default();
        let containers = statuses.iter().map(|one| format!("{} {:?}", one.restart_count, one.last_state));
        format!("{:?}: {}", pod.metadata.name, containers.collect::<Vec<_>>().join(", "))
    };
    pods.items.into_iter().map(told).collect()
}

#[test]
fn a_client_with_64_descriptors() {
    Command::prepare();
    within_limit("few-descriptors", async |at| {
        let client = at.shop(&App::orders()).await;
        let local = Apart::http().await;
        let proxy = Proxy::start(at.cluster().kubeconfig()).await.unwrap();
        let start = |args: &[&str]| {
            let namespace = at.namespace().name();
            let all = [&["--namespace", namespace], args].concat();
            Command::start_under(&["prlimit", DESCRIPTORS], proxy.kubeconfig(), &all)
        };
        let mut exchange = start(&["exchange", "orders", "--to", &local.port().to_string()]);
        let mut forward = start(&["forward", "deploy/orders:8080"]);
        let (_, forwarded) = tokio::join!(exchange.told("exchange"), forward.told("forward"));
        let address = forwarded["address"].as_str().unwrap().to_owned();
        let plan = Plan::full().idle(12);
        let (out, into) =
            tokio::join!(Traffic::here(&address, plan), Traffic::in_pod(at.namespace(), "orders:80", plan));
        tokio::join!(out.running(), into.running());

        let here = Client::here();
        let url = format!("http://{address}/");
        let many = async {
            tokio::join!(here.many(&url, SHORT, WORKERS), client.many("http://orders/", SHORT, WORKERS))
        };
        let cuts = async {
            // New carriers need descriptors, too.
            let before = (out.told().await, into.told().await);
            tokio::join!(out.moves_on(&before.0), into.moves_on(&before.1));
            proxy.wire().cut(Cut::All);
        };
        let ((by_forward, by_exchange), ()) = tokio::join!(many, cuts);
        println!("by the forward {by_forward:?}, by the exchange {by_exchange:?}");
        // While its link is away, the exchange's new callers are answered by the original.
        for load in [by_forward, by_exchange] {
            assert_eq!((load.names.values().sum(), load.errors.len()), (SHORT, 0), "{load:?}");
        }
        let (out, into) = tokio::join!(out.finish(), into.finish());
        println!("out:  {out}\ninto: {into}");
        for command in [exchange, forward] {
            command.signal("INT").await;
            let ended = command.ended().await;
            assert_eq!(ended.code, Some(0), "{ended:#?}");
        }
    });
}
