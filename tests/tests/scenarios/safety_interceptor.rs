//! What callers meet when an interceptor goes, by what the user's rights allow to hold them then.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::Ingress;
use kube::api::{DeleteParams, EvictParams, ListParams};
use kubetether::{Exchange, HandleState, InterceptorDeath, Session, To};
use kubetether_tests::{
    App, CLOSE, CLUSTER, Client, Counts, LOCAL, LONG, Level, Local, Outcome, Scenario, Steady, eventually,
    steadily,
};
use serde_json::json;

/// What happens to the interceptor's pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Deleted,
    Forced,
    Evicted,
}

struct Held {
    session: Session,
    exchange: Exchange,
    client: Client,
    local: Local,
}

async fn exchanged(at: &Scenario, level: Level) -> Held {
    let client = at.shop(&App::orders().replicas(2)).await;
    let user = level.user(at).await;
    let local = Local::http();
    let session = Session::start(at.config().kubeconfig(user.kubeconfig())).await.good();
    let exchange = session.exchange("orders", To::port(local.port())).await.good();
    assert_eq!(client.who("http://orders/").await, LOCAL);
    Held { session, exchange, client, local }
}

/// The interceptor's pods that are not about to go.
async fn interceptors(at: &Scenario) -> Vec<String> {
    let ours = ListParams::default().labels("kubetether.dev/role=interceptor");
    let pods = at.namespace().api::<Pod>().list(&ours).await.unwrap();
    let staying = pods.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    staying.filter_map(|pod| pod.metadata.name).collect()
}

async fn suffer(at: &Scenario, held: &Held, fate: Fate) -> Counts {
    let mut states = held.exchange.states();
    let mut steady = Steady::start(at, &held.client, "http://orders/").await;
    steady.settled(LOCAL).await;
    let pods = at.namespace().api::<Pod>();
    let name = interceptors(at).await.remove(0);
    steady.event("gone").await;
    match fate {
        Fate::Deleted => drop(pods.delete(&name, &DeleteParams::default()).await.unwrap()),
        Fate::Forced => drop(pods.delete(&name, &DeleteParams::default().grace_period(0)).await.unwrap()),
        Fate::Evicted => drop(pods.evict(&name, &EvictParams::default()).await.unwrap()),
    }
    eventually(format!("pod {name} is gone"), LONG, async || {
        let found = pods.get_opt(&name).await.map_err(|error| error.to_string())?;
        if found.is_none() { Ok(()) } else { Err("it is there".to_owned()) }
    })
    .await;
    let back = states.wait_for(|state| *state == HandleState::Active);
    tokio::time::timeout(LONG, back).await.expect("the exchange does not come back").unwrap();
    steady.settled_now(LOCAL).await;
    steady.finish().await
}

async fn over(held: Held) {
    held.exchange.close(CLOSE).await.good();
    assert_eq!(held.client.who("http://orders/").await, CLUSTER);
    held.session.close(CLOSE).await.good();
}

/// The addresses that our slices of the Service list, each with its conditions as they have to be.
async fn listed(at: &Scenario) -> Vec<String> {
    let ours = "kubernetes.io/service-name=orders,app.kubernetes.io/managed-by=kubetether";
    let slices = at.namespace().api::<EndpointSlice>();
    let found = slices.list(&ListParams::default().labels(ours)).await.unwrap();
    let endpoints = found.items.iter().flat_map(|slice| &slice.endpoints);
    let mut addresses = Vec::new();
    for endpoint in endpoints {
        let is = endpoint.conditions.clone().unwrap();
        assert_eq!((is.ready, is.serving, is.terminating), (Some(false), Some(true), Some(true)));
        addresses.extend(endpoint.addresses.clone());
    }
    addresses.sort();
    addresses
}

/// The addresses of the application's ready pods.
async fn originals(at: &Scenario) -> Vec<String> {
    let pods = at.namespace().api::<Pod>().list(&ListParams::default().labels("app=orders")).await.unwrap();
    let ready = pods.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    let ready = ready.filter_map(|pod| pod.status).filter(|status| {
        let conditions = status.conditions.as_deref().unwrap_or_default();
        conditions.iter().any(|one| one.type_ == "Ready" && one.status == "True")
    });
    let mut addresses: Vec<String> = ready.filter_map(|status| status.pod_ip).collect();
    addresses.sort();
    addresses
}

async fn lists_the_originals(at: &Scenario, count: usize) {
    eventually("the fallback slice lists the originals", LONG, async || {
        let (listed, originals) = (listed(at).await, originals(at).await);
        if listed == originals && listed.len() == count {
            Ok(())
        } else {
            Err(format!("{listed:?}, not {originals:?}"))
        }
    })
    .await;
}

#[test]
fn the_nodes_fall_back_when_it_is_deleted() {
    steadily("slice-deleted", async |at| {
        let held = exchanged(at, Level::ClusterAdmin).await;
        assert_eq!(held.exchange.safety().interceptor, InterceptorDeath::FallbackSlice);
        lists_the_originals(at, 2).await;
        let counts = suffer(at, &held, Fate::Deleted).await;
        assert!(counts.of("gone").lost().is_empty(), "a graceful end loses nothing: {}", counts.of("gone"));
        over(held).await;
        assert!(listed(at).await.is_empty(), "the slice goes with the exchange");
    });
}

#[test]
fn the_nodes_fall_back_when_it_is_evicted() {
    steadily("slice-evicted", async |at| {
        let held = exchanged(at, Level::ClusterAdmin).await;
        let counts = suffer(at, &held, Fate::Evicted).await;
        assert!(counts.of("gone").lost().is_empty(), "an eviction loses nothing: {}", counts.of("gone"));
        over(held).await;
    });
}

#[test]
fn the_nodes_fall_back_when_it_is_killed() {
    steadily("slice-forced", async |at| {
        let held = exchanged(at, Level::ClusterAdmin).await;
        let counts = suffer(at, &held, Fate::Forced).await;
        let report = counts.of("gone");
        assert!(report.of(CLUSTER) > 0, "the originals answer meanwhile: {report}");
        over(held).await;
    });
}

#[test]
fn the_slice_follows_the_originals() {
    steadily("slice-follows", async |at| {
        let held = exchanged(at, Level::ClusterAdmin).await;
        lists_the_originals(at, 2).await;
        let before = listed(at).await;
        let originals = ListParams::default().labels("app=orders");
        let pods = at.namespace().api::<Pod>();
        pods.delete_collection(&DeleteParams::default(), &originals).await.unwrap();
        lists_the_originals(at, 2).await;
        assert!(listed(at).await.iter().all(|address| !before.contains(address)), "the pods are new ones");
        let counts = suffer(at, &held, Fate::Deleted).await;
        assert!(counts.of("gone").lost().is_empty(), "{}", counts.of("gone"));
        over(held).await;
        // The pods are others now, as they should be.
        at.baseline().await;
    });
}

/// Waits until the exchange has its second interceptor.
async fn has_two(at: &Scenario, held: &Held) {
    eventually("a second interceptor", LONG, async || {
        let safety = held.exchange.safety();
        if safety.interceptor == InterceptorDeath::TwoInterceptors { Ok(()) } else { Err(safety) }
    })
    .await;
    assert_eq!(interceptors(at).await.len(), 2);
}

/// As `kubectl drain` does: asks again while the budget does not allow it.
async fn evict(at: &Scenario, name: &str) {
    let pods = at.namespace().api::<Pod>();
    eventually(format!("the eviction of {name}"), LONG, async || {
        match pods.evict(name, &EvictParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 429 => Err(status.message.clone()),
            evicted => {
                evicted.unwrap();
                Ok(())
            }
        }
    })
    .await;
}

#[test]
fn a_drain_takes_two_interceptors_one_by_one() {
    steadily("two-drained", async |at| {
        let held = exchanged(at, Level::Edit).await;
        has_two(at, &held).await;
        let mut steady = Steady::start(at, &held.client, "http://orders/").await;
        steady.settled(LOCAL).await;
        let pods = interceptors(at).await;
        steady.event("drained").await;
        for pod in &pods {
            evict(at, pod).await;
        }
        eventually("two other interceptors", LONG, async || {
            let now = interceptors(at).await;
            let others = now.len() == 2 && now.iter().all(|pod| !pods.contains(pod));
            if others { Ok(()) } else { Err(now.join(", ")) }
        })
        .await;
        has_two(at, &held).await;
        steady.settled_now(LOCAL).await;
        let counts = steady.finish().await;
        let drained = counts.of("drained");
        assert!(drained.lost().is_empty(), "a drain loses nothing: {drained}");
        over(held).await;
    });
}

#[test]
fn one_of_two_interceptors_is_killed() {
    steadily("two-forced", async |at| {
        let held = exchanged(at, Level::Admin).await;
        has_two(at, &held).await;
        let counts = suffer(at, &held, Fate::Forced).await;
        let report = counts.of("gone");
        let lost = report.lost().len();
        assert!(lost * 2 < report.answers.len(), "the other one goes on: {report}");
        has_two(at, &held).await;
        over(held).await;
    });
}

#[test]
fn an_ingress_wants_a_second_interceptor_besides_the_slice() {
    steadily("two-ingress", async |at| {
        let backend = json!({ "service": { "name": "orders", "port": { "number": 80 } } });
        let ingress = json!({ "metadata": { "name": "shop" }, "spec": { "defaultBackend": backend } });
        at.namespace().create_object::<Ingress>(&serde_json::from_value(ingress).unwrap()).await;
        let held = exchanged(at, Level::ClusterAdmin).await;
        lists_the_originals(at, 2).await;
        has_two(at, &held).await;
        // Again in the same session: the first one is kept, and proven alone.
        held.exchange.close(CLOSE).await.good();
        let exchange = held.session.exchange("orders", To::port(held.local.port())).await.good();
        assert_eq!(held.client.who("http://orders/").await, LOCAL);
        over(Held { exchange, ..held }).await;
    });
}
