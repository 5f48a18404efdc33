//! Others write to the Service while it is exchanged.

use k8s_openapi::api::core::v1::Service;
use kube::api::DeleteParams;
use kubetether::{HandleState, SessionState, To};
use kubetether_tests::{
    App, CLOSE, CLUSTER, LOCAL, LONG, Local, Outcome, SHORT, Scenario, eventually, scenario,
};
use serde_json::{Value, json};

async fn spec(at: &Scenario) -> Value {
    let service = at.namespace().api::<Service>().get("orders").await.unwrap();
    serde_json::to_value(service.spec).unwrap()
}

#[test]
fn a_manifest_applied_again_is_put_back_three_times_a_minute() {
    scenario("edit-selector", async |at| {
        let client = at.shop(&App::orders()).await;
        let local = Local::http();
        let session = at.session().await;
        let exchange = session.exchange("orders", To::port(local.port())).await.good();
        for _ in 0..3 {
            at.edit_service("orders", json!({ "selector": { "app": "orders" } })).await;
            at.taken_again("orders").await;
        }
        eventually("this machine answers again", SHORT, async || match client.who("http://orders/").await {
            name if name == LOCAL => Ok(()),
            other => Err(other),
        })
        .await;
        assert_eq!(exchange.state(), HandleState::Active);

        at.edit_service("orders", json!({ "selector": { "app": "orders" } })).await;
        let mut states = exchange.states();
        let degraded = states.wait_for(|state| matches!(state, HandleState::PassThrough(_)));
        let state =
            tokio::time::timeout(LONG, degraded).await.expect("the handle does not give in").unwrap().clone();
        assert!(state.to_string().contains("impatient-operator"), "{state}");
        // At the pace at which nodes learn of a change.
        eventually("the original answers", SHORT, async || match client.who("http://orders/").await {
            name if name == CLUSTER => Ok(()),
            other => Err(other),
        })
        .await;
        session.close(CLOSE).await.good();
        assert_eq!(client.who("http://orders/").await, CLUSTER);
    });
}

#[test]
fn what_they_changed_survives_the_close() {
    scenario("edit-target-port", async |at| {
        let client = at.shop(&App::orders().serving("http", 8081)).await;
        let local = Local::http();
        let session = at.session().await;
        let exchange = session.exchange("orders", To::port(local.port())).await.good();
        let port = json!({ "name": "http", "port": 80, "protocol": "TCP", "targetPort": 8081 });
        at.edit_service("orders", json!({ "ports": [port], "externalTrafficPolicy": null })).await;
        eventually("this machine answers again", SHORT, async || match client.who("http://orders/").await {
            name if name == LOCAL => Ok(()),
            other => Err(other),
        })
        .await;
        exchange.close(CLOSE).await.good();
        assert_eq!(spec(at).await["ports"][0]["targetPort"], 8081);
        let answer = client.get("http://orders/").await;
        assert!(answer.as_ref().is_ok_and(|body| body.contains("port=8081")), "{answer:?}");
        session.close(CLOSE).await.good();
        let spec = spec(at).await;
        assert_eq!(spec["selector"], json!({ "app": "orders" }));
        assert_eq!(spec["ports"][0]["targetPort"], 8081);
        // The one difference is theirs.
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
