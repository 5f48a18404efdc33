//! A Service that is put back has no fallback slice of ours beside its own, whoever puts it back: kube-proxy would choose
//! between the two at random.

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{ListParams, Patch, PatchParams};
use kubetether::{Exchange, HandleState, To};
use kubetether_tests::proxy::{Proxy, Scope};
use kubetether_tests::{
    App, CLOSE, CLUSTER, Client, Command, LOCAL, LONG, Local, Outcome, Scenario, Slices, scenario,
};
use serde_json::json;

use crate::care::{answers, hurry, told};

/// A process of its own has exchanged the Service, with a slice, and is killed.
async fn killed(at: &Scenario, local: &Local, settings: &[&str]) -> (Client, Slices) {
    let client = at.shop(&App::orders()).await;
    let slices = Slices::record(at, "orders").await;
    let port = local.port().to_string();
    let mut command = Command::start(at, &[settings, &["exchange", "orders", "--to", &port]].concat());
    command.told("exchange").await;
    assert_eq!(client.who("http://orders/").await, LOCAL);
    slices.is_there().await;
    command.signal("KILL").await;
    command.ended().await;
    (client, slices)
}

#[test]
fn by_the_restore_from_inside() {
    Command::prepare();
    scenario("slices-restore", async |at| {
        let local = Local::http();
        // Instead of a minute.
        let (client, slices) = killed(at, &local, &["--grace", "5"]).await;
        hurry(at).await;
        slices.put_back(1).await;
        slices.never_beside_its_own();
        answers(&client, CLUSTER).await;
        at.cleaned_up(LONG).await;
    });
}

#[test]
fn by_clean() {
    Command::prepare();
    scenario("slices-clean", async |at| {
        let local = Local::http();
        let (client, slices) = killed(at, &local, &[]).await;
        hurry(at).await;
        told(at, &["clean"], "clean").await;
        slices.put_back(1).await;
        slices.never_beside_its_own();
        answers(&client, CLUSTER).await;
    });
}

#[test]
fn by_recover() {
    Command::prepare();
    scenario("slices-recover", async |at| {
        let local = Local::http();
        let (client, slices) = killed(at, &local, &[]).await;
        let done = told(at, &["recover", "orders"], "recover").await;
        assert_eq!(done["changed"], true, "{done:#}");
        slices.put_back(1).await;
        slices.never_beside_its_own();
        answers(&client, CLUSTER).await;
        hurry(at).await;
        told(at, &["clean"], "clean").await;
    });
}

async fn active(exchange: &Exchange) {
    let mut states = exchange.states();
    let back = states.wait_for(|state| *state == HandleState::Active);
    tokio::time::timeout(LONG, back).await.expect("the exchange does not come back").unwrap();
}

/// Its interceptor is not heard, though the nodes lead callers to it: it may be on a node that was lost.
#[test]
fn by_a_client_that_does_not_hear_its_interceptor() {
    scenario("slices-silent", async |at| {
        let client = at.shop(&App::orders()).await;
        let local = Local::http();
        let proxy = Proxy::start(at.cluster().kubeconfig()).await.unwrap();
        let config = at.config().kubeconfig(proxy.kubeconfig());
        let session = kubetether::Session::start(config).await.good();
        let slices = Slices::record(at, "orders").await;
        let exchange = session.exchange("orders", To::port(local.port())).await.good();
        slices.is_there().await;
        proxy.wire().blackhole(Scope::Upgraded);
        slices.put_back(1).await;
        assert_eq!(client.who("http://orders/").await, CLUSTER);
        proxy.wire().release();
        active(&exchange).await;
        // And they are there again.
        slices.is_there().await;
        answers(&client, LOCAL).await;
        exchange.close(CLOSE).await.good();
        slices.put_back(2).await;
        slices.never_beside_its_own();
        session.close(CLOSE).await.good();
    });
}

/// Its interceptor is gone: callers are led by the slices alone, and are not left without anybody.
#[test]
fn by_a_client_whose_interceptor_is_gone_once_they_are_not_needed() {
    scenario("slices-needed", async |at| {
        let client = at.shop(&App::orders()).await;
        let local = Local::http();
        let session = at.session().await;
        let slices = Slices::record(at, "orders").await;
        let exchange = session.exchange("orders", To::port(local.port())).await.good();
        slices.is_there().await;
        scale(at, 0).await;
        slices.put_back(1).await;
        slices.never_nobody();
        assert_eq!(client.who("http://orders/").await, CLUSTER);
        scale(at, 1).await;
        active(&exchange).await;
        slices.is_there().await;
        answers(&client, LOCAL).await;
        exchange.close(CLOSE).await.good();
        session.close(CLOSE).await.good();
    });
}

/// Gives the interceptor so many pods.
async fn scale(at: &Scenario, replicas: u32) {
    let deployments = at.namespace().api::<Deployment>();
    let ours = ListParams::default().labels("kubetether.dev/role=interceptor");
    let name = deployments.list(&ours).await.unwrap().items.remove(0).metadata.name.unwrap();
    let patch = Patch::Merge(json!({ "spec": { "replicas": replicas } }));
    deployments.patch(&name, &PatchParams::default(), &patch).await.unwrap();
}
