//! Others write to the Service while it is exchanged.

use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use kube::api::DeleteParams;
use kubetether::{HandleState, SessionState, To};
use kubetether_tests::{
    App, CLOSE, CLUSTER, LOCAL, LONG, Local, Outcome, SHORT, Scenario, Steady, eventually, managers,
    scenario, steadily,
};
use serde_json::{Value, json};

/// A Service whose pods serve 8081 beside 8080, where it leads.
fn orders() -> App {
    App::orders().serving("http", 8081)
}

/// The manifest as its owners change it: 8081 instead of 8080.
fn changed() -> Value {
    let mut manifest = orders().manifest();
    manifest["spec"]["ports"][0]["targetPort"] = 8081.into();
    manifest
}

/// Waits until a handle says that it passes through, and gives its reason.
async fn passes_through(states: &mut tokio::sync::watch::Receiver<HandleState>) -> String {
    let state = states.wait_for(|state| matches!(state, HandleState::PassThrough(_)));
    let state = tokio::time::timeout(LONG, state).await.expect("the handle does not give in").unwrap();
    state.to_string()
}

/// Demands that the Service is as its owners want it, and that none of its fields is ours.
async fn is_theirs(at: &Scenario, target_port: u16) {
    let service = at.service("orders").await;
    assert!(!managers(&service).contains(&"kubetether".to_owned()), "{:?}", managers(&service));
    let spec = serde_json::to_value(service.spec).unwrap();
    assert_eq!(spec["selector"], json!({ "app": "orders" }));
    assert_eq!(spec["ports"][0]["targetPort"], target_port);
}

#[test]
fn whoever_applies_the_manifest_again() {
    steadily("edit-applied", async |at| {
        let client = at.shop(&orders()).await;
        at.kubectl_apply(&orders().manifest()).await;
        let local = Local::http();
        let session = at.session().await;
        let mut steady = Steady::start(at, &client, "http://orders/").await;
        let exchange = session.exchange("orders", To::port(local.port())).await.good();
        steady.settled_now(LOCAL).await;

        steady.event("kubectl apply").await;
        at.kubectl_apply(&orders().manifest()).await;
        at.taken_again("orders").await;
        steady.settled_now(LOCAL).await;

        steady.event("apply --server-side").await;
        let refused = at.server_side_apply(&orders().manifest(), "deployer", false).await.unwrap_err();
        assert!(refused.to_string().contains("conflicts with \"kubetether\""), "{refused}");
        steady.event("apply --force-conflicts").await;
        at.server_side_apply(&orders().manifest(), "deployer", true).await.unwrap();
        at.taken_again("orders").await;
        steady.settled_now(LOCAL).await;

        steady.event("helm upgrade").await;
        let mut chart = changed();
        chart["metadata"]["labels"]["helm.sh/chart"] = "orders-0.2.0".into();
        at.helm_upgrade(&chart).await;
        at.taken_again("orders").await;
        steady.settled_now(LOCAL).await;
        assert_eq!(exchange.state(), HandleState::Active);

        steady.event("close").await;
        exchange.close(CLOSE).await.good();
        steady.settled_now(CLUSTER).await;
        is_theirs(at, 8081).await;
        assert_eq!(at.service("orders").await.metadata.labels.unwrap()["helm.sh/chart"], "orders-0.2.0");
        let answer = client.get("http://orders/").await;
        assert!(answer.as_ref().is_ok_and(|body| body.contains("port=8081")), "{answer:?}");
        session.close(CLOSE).await.good();
        // Nothing of ours stands in the way of what they change next.
        at.server_side_apply(&orders().manifest(), "deployer", false).await.unwrap();
        steady.finish().await.none_lost_but(&[]);
        is_theirs(at, 8080).await;
        at.baseline().await;
    });
}

#[test]
fn an_operator_that_applies_its_manifest_every_second() {
    steadily("edit-loop", async |at| {
        let client = at.shop(&orders()).await;
        let local = Local::http();
        let session = at.session().await;
        let mut steady = Steady::start(at, &client, "http://orders/").await;
        let exchange = session.exchange("orders", To::port(local.port())).await.good();
        steady.settled_now(LOCAL).await;

        let mut states = exchange.states();
        steady.event("the loop").await;
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        let apply = async {
            for _ in 0..20 {
                ticks.tick().await;
                at.server_side_apply(&changed(), "impatient-operator", true).await.unwrap();
            }
        };
        let ((), reason) = tokio::join!(apply, passes_through(&mut states));
        assert!(reason.contains("impatient-operator") && reason.contains("3 times"), "{reason}");
        steady.settled_now(CLUSTER).await;
        is_theirs(at, 8081).await;

        steady.event("close").await;
        session.close(CLOSE).await.good();
        steady.settled_now(CLUSTER).await;
        steady.finish().await.none_lost_but(&[]);
        is_theirs(at, 8081).await;
        // The one difference is theirs.
        at.baseline().await;
    });
}

#[test]
fn a_service_of_another_shape_is_lost_and_put_back() {
    steadily("edit-shape", async |at| {
        let client = at.shop(&orders()).await;
        let local = Local::http();
        let session = at.session().await;
        let mut steady = Steady::start(at, &client, "http://orders/").await;
        let exchange = session.exchange("orders", To::port(local.port())).await.good();
        steady.settled_now(LOCAL).await;

        steady.event("a port is added").await;
        at.kubectl_apply(&orders().port("more", 81, 8081).manifest()).await;
        let state = tokio::time::timeout(LONG, exchange.closed()).await.expect("the handle does not notice");
        assert!(matches!(&state, HandleState::Lost(why) if why.contains("81/TCP")), "{state}");
        steady.settled_now(CLUSTER).await;
        is_theirs(at, 8080).await;

        steady.event("exchanged again").await;
        let exchange = session.exchange("orders", To::port(local.port()).for_service_port(80)).await.good();
        steady.settled_now(LOCAL).await;
        exchange.close(CLOSE).await.good();
        steady.settled_now(CLUSTER).await;
        session.close(CLOSE).await.good();
        steady.finish().await.none_lost_but(&[]);
        at.baseline().await;
    });
}

#[test]
fn a_service_made_anew_under_its_name_is_another_one() {
    steadily("edit-recreated", async |at| {
        let client = at.shop(&orders()).await;
        let before = at.service("orders").await;
        let local = Local::http();
        let session = at.session().await;
        let mut steady = Steady::start(at, &client, "http://orders/").await;
        let exchange = session.exchange("orders", To::port(local.port())).await.good();
        steady.settled_now(LOCAL).await;

        steady.event("deleted and made anew").await;
        let services = at.namespace().api::<Service>();
        services.delete("orders", &DeleteParams::default()).await.unwrap();
        // The same address, which callers know.
        let address = before.spec.and_then(|spec| spec.cluster_ip).unwrap();
        let anew = orders().service_spec(json!({ "clusterIP": address })).manifest();
        eventually("the Service is made anew", SHORT, async || {
            let anew = serde_json::from_value(anew.clone()).unwrap();
            services.create(&Default::default(), &anew).await
        })
        .await;
        let state = tokio::time::timeout(LONG, exchange.closed()).await.expect("the handle does not notice");
        assert!(matches!(&state, HandleState::Lost(why) if why.contains("deleted")), "{state}");
        assert_eq!(session.state(), SessionState::Ready);
        steady.settled_now(CLUSTER).await;

        steady.event("exchanged again").await;
        let exchange = session.exchange("orders", To::port(local.port())).await.good();
        steady.settled_now(LOCAL).await;
        exchange.close(CLOSE).await.good();
        steady.settled_now(CLUSTER).await;
        session.close(CLOSE).await.good();
        // While there was no Service nobody could answer.
        steady.finish().await.none_lost_but(&["deleted and made anew"]);
        is_theirs(at, 8080).await;
        at.baseline().await;
    });
}

#[test]
fn a_deleted_service_is_lost_and_the_session_stays() {
    scenario("edit-deleted", async |at| {
        let client = at.shop(&App::orders()).await;
        let local = Local::http();
        let session = at.session().await;
        let exchange = session.exchange("orders", To::port(local.port())).await.good();
        at.namespace().api::<Service>().delete("orders", &DeleteParams::default()).await.unwrap();
        let state = tokio::time::timeout(LONG, exchange.closed()).await.expect("the handle does not notice");
        assert!(matches!(&state, HandleState::Lost(why) if why.contains("deleted")), "{state}");
        assert_eq!(session.state(), SessionState::Ready);

        // The same session can do other things meanwhile.
        let forward = session.forward("deploy/orders:8080").await.good();
        let here = kubetether_tests::Client::here();
        assert_eq!(here.who(&format!("http://{}/", forward.address())).await, CLUSTER);
        session.close(CLOSE).await.good();
        assert_eq!(client.who("http://orders/").await, "fault: name");
        at.baseline().await;
    });
}
