//! Many connections, and nothing of them stays. A program of its own: what its process holds is then the
//! engine's alone.

#![allow(clippy::print_stdout, reason = "a test's output is shown when it fails")]

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kubetether::{Exchange, Session, To};
use kubetether_tests::{
    Apart, App, CLOSE, CLUSTER, Client, Held, LOCAL, LONG, Load, Outcome, Plan, Scenario, Security, Snapshot,
    Traffic, eventually, of_agents, of_this_process, scenario, scenario_within,
};

const PARALLEL: u64 = 1000;
const SEQUENTIAL: u64 = 10_000;

/// Memory that allocators keep for themselves, and the noise of a machine.
const SLACK_KIB: u64 = 4 * 1024;

/// What the process holds is only one test's at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

fn all_answered(load: &Load, count: u64) {
    assert_eq!((load.names.get(LOCAL), load.errors.len()), (Some(&count), 0), "{load:?}");
}

/// What this process and the agent hold when no connection is open.
async fn at_rest(at: &Scenario, exchange: &Exchange) -> (Held, Held) {
    eventually("the connections' end", LONG, async || match exchange.stats().open {
        0 => Ok(()),
        open => Err(format!("{open} are open")),
    })
    .await;
    let mut agents = of_agents(at.namespace()).await;
    assert_eq!(agents.len(), 1);
    (of_this_process(), agents.remove(0))
}

async fn burst(client: &Client, sequential: u64) {
    all_answered(&client.parallel("http://orders/", PARALLEL).await, PARALLEL);
    all_answered(&client.sequential("http://orders/", sequential).await, sequential);
}

#[test]
fn a_thousand_at_once_and_ten_thousand_in_a_row() {
    let _alone = alone();
    scenario("load", async |at| {
        let client = at.shop(&App::orders()).await;
        let local = Apart::http().await;
        let session = at.session().await;
        let exchange = session.exchange("orders", To::port(local.port())).await.good();

        // Buffers and threads that come with the first load and stay are no leak.
        burst(&client, PARALLEL).await;
        let (here, agent) = at_rest(at, &exchange).await;
        burst(&client, SEQUENTIAL).await;
        eventually("descriptors and memory are back where they were", LONG, async || {
            let (here_now, agent_now) = at_rest(at, &exchange).await;
            let back = |now: &Held, before: &Held| {
                now.descriptors <= before.descriptors && now.rss_kib <= before.rss_kib + SLACK_KIB
            };
            if back(&here_now, &here) && back(&agent_now, &agent) {
                Ok(())
            } else {
                Err(format!("{here:?} -> {here_now:?}; {agent:?} -> {agent_now:?}"))
            }
        })
        .await;
        let count = 2 * PARALLEL + PARALLEL + SEQUENTIAL;
        assert_eq!(exchange.stats().connections, count);
        session.close(CLOSE).await.good();
    });
}

/// What an agent's container may use, and the connections it holds in that.
const LITTLE: u64 = 64 << 20;
const MANY: u64 = 10_000;
/// One forward bears no more than 4,096.
const FORWARDS: u64 = 4;

/// Each carries a request at its beginning and one at its end, when all are open: none is refused, none lost, and the gateway
/// is not killed for its memory.
#[test]
fn ten_thousand_connections_by_a_gateway_of_64_mib() {
    let _alone = alone();
    scenario_within(Duration::from_secs(400), Security::Privileged, "many", async |at| {
        let app = App::orders().serving("crowd", 9000).port("crowd", 90, 9000);
        at.shop(&app).await;
        let session = Session::start(at.config().agent_memory(LITTLE)).await.good();
        let mut forwards = Vec::new();
        for _ in 0..FORWARDS {
            forwards.push(session.forward("deploy/orders:9000").await.good());
        }
        let plan = Plan::quiet().talkers(1, 1000).idle(MANY / FORWARDS);
        let traffic = forwards.iter().map(|forward| Traffic::here(forward.address(), plan));
        let traffic = futures_util::future::join_all(traffic).await;
        futures_util::future::join_all(traffic.iter().map(Traffic::running)).await;
        let agents = of_agents(at.namespace()).await;
        println!("all open: {agents:?}; here: {:?}", of_this_process());
        let open: u64 = forwards.iter().map(|forward| forward.stats().open).sum();
        assert!(open >= MANY, "{open} are open");
        let told = futures_util::future::join_all(traffic.into_iter().map(Traffic::finish)).await;
        told.iter().for_each(|told| println!("{told}"));
        println!("at the end: {:?}", of_agents(at.namespace()).await);
        session.close(CLOSE).await.good();
    });
}

/// Sessions that live and die beside each other, and how often each place does so: fifty of them.
const PLACES: usize = 10;
const ROUNDS: usize = 5;
/// What comes with the first sessions and stays is no leak.
const FIRST: usize = 1;
/// Connections of the test itself, which come and go, have a descriptor and a task each. One of every session would show.
const OWN: usize = 8;
/// Half of what the forty sessions after the first would leave if each left a copy of what it carries (1.9 MB). The
/// allocator's own coming and going is about 20 MiB.
const SLACK_OF_SESSIONS_KIB: u64 = 36 * 1024;

/// What there is at rest: objects in the cluster by kind; descriptors, memory and tasks here.
async fn held(at: &Scenario) -> (BTreeMap<String, usize>, Held, usize) {
    let objects = Snapshot::take(at.cluster().client(), at.namespace().name()).await.kinds();
    (objects, of_this_process(), tokio::runtime::Handle::current().metrics().num_alive_tasks())
}

/// A session with an exchange and a forward, from its start to its end.
async fn cycle(at: &Scenario, client: &Client, service: &str, port: u16) {
    let session = at.session().await;
    let exchange = session.exchange(service, To::port(port)).await.good();
    let forward = session.forward(format!("deploy/{service}:8080").as_str()).await.good();
    assert_eq!(client.who(&format!("http://{service}/")).await, LOCAL);
    assert_eq!(Client::here().who(&format!("http://{}/", forward.address())).await, CLUSTER);
    drop(exchange);
    session.close(CLOSE).await.good();
    assert_eq!(client.who(&format!("http://{service}/")).await, CLUSTER);
}

async fn rounds(at: &Scenario, client: &Client, port: u16, count: usize) {
    let services: Vec<String> = (0..PLACES).map(|place| format!("orders-{place}")).collect();
    for _ in 0..count {
        let places = services.iter().map(|service| cycle(at, client, service, port));
        futures_util::future::join_all(places).await;
        println!("{:?}", of_this_process());
    }
}

#[test]
fn fifty_sessions_leave_nothing() {
    let _alone = alone();
    scenario_within(Duration::from_secs(300), Security::Privileged, "cycles", async |at| {
        let apps: Vec<App> =
            (0..PLACES).map(|place| App::new(&format!("orders-{place}")).port("http", 80, 8080)).collect();
        futures_util::future::join_all(apps.iter().map(|app| app.deploy(at.namespace()))).await;
        let client = at.shop(&App::orders()).await;
        let local = Apart::http().await;
        rounds(at, &client, local.port(), FIRST).await;
        let before = held(at).await;
        rounds(at, &client, local.port(), ROUNDS - FIRST).await;
        eventually("everything is back where it was", LONG, async || {
            let now = held(at).await;
            let (objects, here, tasks) = &now;
            let back = *objects == before.0
                && here.descriptors <= before.1.descriptors + OWN as u64
                && here.rss_kib <= before.1.rss_kib + SLACK_OF_SESSIONS_KIB
                && *tasks <= before.2 + OWN;
            if back { Ok(()) } else { Err(format!("{before:?} -> {now:?}")) }
        })
        .await;
        println!("{before:?} -> {:?}", held(at).await);
    });
}
