//! What the link withstands when parts of the cluster itself die. A program of its own, one scenario at a time: whoever
//! else uses the cluster meanwhile would notice. It needs a cluster of `make cluster`.

#![allow(clippy::unwrap_used, reason = "a scenario fails by panicking")]

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kubetether::{HandleState, To};
use kubetether_tests::{
    App, CLOSE, CLUSTER, LOCAL, LONG, Local, Outcome, Parts, Plan, Scenario, Scene, Steady, steadily,
    under_traffic, within_limit,
};
use serde_json::json;

/// How long a part is away.
const AWAY: Duration = Duration::from_secs(5);

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn without(scene: &Scene<'_>, part: &str) {
    scene.moves_on().await;
    Parts::of(scene.at.cluster()).restart(part, AWAY).await;
    scene.moves_on().await;
}

#[test]
fn the_api_server_is_killed_and_started_again() {
    let _alone = alone();
    under_traffic("apiserver", Plan::full(), async |scene| without(scene, "apiserver").await);
}

#[test]
fn the_kubelet_is_killed_and_started_again() {
    let _alone = alone();
    under_traffic("kubelet", Plan::full(), async |scene| without(scene, "kubelet").await);
}

/// The pods stay, and their network, so nobody learns of it but by the connections' end.
#[test]
fn agents_are_killed() {
    let _alone = alone();
    within_limit("agents-killed", async |at| {
        let scene = Scene::start(at, Scene::brief(), |config| config).await;
        let mut watch = scene.watch();
        let parts = Parts::of(at.cluster());
        for pod in scene.agents().await {
            parts.kill(&pod).await;
        }
        watch.disturbed().await;
        scene.ends_and_begins_anew(watch, true).await;
    });
}

/// Nobody goes unanswered for longer than this when the interceptor's node is lost.
const PROMISE: Duration = Duration::from_secs(15);

/// Lets new pods onto a node, or not.
async fn open(at: &Scenario, node: &str, open: bool) {
    let nodes: Api<Node> = Api::all(at.cluster().client().clone());
    let patch = Patch::Merge(json!({ "spec": { "unschedulable": !open } }));
    nodes.patch(node, &PatchParams::default(), &patch).await.unwrap();
}

#[test]
#[ignore = "a node is lost: only the rung `nodes` has one to lose"]
fn the_node_of_the_interceptor_is_lost() {
    let _alone = alone();
    steadily("node-lost", async |at| {
        open(at, "node2", false).await;
        let client = at.shop(&App::orders()).await;
        let local = Local::http();
        let session = at.session().await;
        let mut steady = Steady::start(at, &client, "http://orders/").await;
        open(at, "node2", true).await;
        open(at, "node1", false).await;
        let exchange = session.exchange("orders", To::port(local.port())).await.good();
        open(at, "node1", true).await;
        let pods = at.namespace().api::<Pod>();
        let ours = ListParams::default().labels("kubetether.dev/role=interceptor");
        let interceptor = pods.list(&ours).await.unwrap().items.remove(0);
        assert_eq!(interceptor.spec.and_then(|spec| spec.node_name).as_deref(), Some("node2"));
        steady.settled_now(LOCAL).await;

        let mut states = exchange.states();
        steady.event("node lost").await;
        Parts::of(at.cluster()).stop("node2").await;
        let away = states.wait_for(|state| matches!(state, HandleState::PassThrough(_)));
        tokio::time::timeout(LONG, away).await.expect("it is not told").unwrap();
        steady.settled_now(CLUSTER).await;

        // Kubernetes takes a minute and more to give the node up; an administrator who knows does not.
        steady.event("node given up").await;
        open(at, "node2", false).await;
        let name = interceptor.metadata.name.unwrap();
        pods.delete(&name, &DeleteParams::default().grace_period(0)).await.unwrap();
        let back = states.wait_for(|state| *state == HandleState::Active);
        tokio::time::timeout(LONG, back).await.expect("the exchange does not come back").unwrap();
        steady.settled_now(LOCAL).await;

        steady.event("close").await;
        exchange.close(CLOSE).await.good();
        steady.settled_now(CLUSTER).await;
        session.close(CLOSE).await.good();
        let counts = steady.finish().await;
        counts.none_lost_but(&["node lost"]);
        assert!(counts.of("node lost").longest_gap() < PROMISE, "{}", counts.of("node lost"));
    });
}
