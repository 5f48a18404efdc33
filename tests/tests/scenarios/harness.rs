//! The harness itself: what would go unnoticed if it were wrong.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::DeleteParams;
use kubetether_tests::{App, CLUSTER, Client, Closed, Snapshot, nothing_of_ours, scenario};
use serde_json::json;

#[test]
fn an_untouched_namespace_stays_as_it_was() {
    scenario("harness-untouched", async |at| {
        let client = at.shop(&App::orders().replicas(2)).await;
        let asker = client.ask("http://orders/", 20).await;
        let start = asker.mark().await;
        // As long as the shortest scenario: what controllers change by themselves would show.
        asker.answered_by(CLUSTER, start, 100).await;
        assert_eq!(asker.stop().await.lost(), Vec::<&kubetether_tests::Answer>::new());
        at.assert_clean().await;
    });
}

#[test]
fn what_is_planted_is_found() {
    scenario("harness-planted", async |at| {
        let namespace = at.namespace();
        let (client, name) = (namespace.client(), namespace.name());
        at.baseline().await;
        let before = Snapshot::take(client, name).await;
        let planted = json!({ "metadata": { "name": "x", "labels": { "app.kubernetes.io/managed-by": "kubetether" } } });
        namespace.create_object::<ConfigMap>(&serde_json::from_value(planted).unwrap()).await;
        let found = nothing_of_ours(client, name).await.unwrap_err();
        assert!(found.contains("ConfigMap/x"), "{found}");
        assert_ne!(before, Snapshot::take(client, name).await);
        namespace.api::<ConfigMap>().delete("x", &DeleteParams::default()).await.unwrap();
    });
}

#[test]
fn a_client_tells_what_it_met() {
    scenario("harness-client", async |at| {
        let client = at.shop(&App::orders()).await;
        assert_eq!(client.who("http://orders/").await, CLUSTER);
        assert_eq!(client.who("http://nobody/").await, "fault: name");
        let closed = Closed::new();
        assert_eq!(
            Client::here().who(&format!("http://127.0.0.1:{}/", closed.port())).await,
            "fault: refused"
        );
    });
}
