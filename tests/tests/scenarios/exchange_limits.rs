//! What the objects of a namespace forbid is told in the cluster's own words, or with their names.

use k8s_openapi::api::core::v1::{LimitRange, Pod};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{DeleteParams, ListParams};
use kubetether::{ErrorCode, Session, To};
use kubetether_tests::{App, CLOSE, CLUSTER, Client, LOCAL, Local, Outcome, Scenario, scenario};
use serde_json::{Value, json};

#[test]
fn limits_that_forbid_the_agents_requests() {
    scenario("limit-range", async |at| {
        let client = at.shop(&App::orders()).await;
        let local = Local::http();
        let ranges = at.namespace().api::<LimitRange>();
        for (limits, words) in [
            (json!({ "max": { "memory": "32Mi" } }), "maximum memory usage per Container is 32Mi"),
            (json!({ "min": { "cpu": "100m" } }), "minimum cpu usage per Container is 100m"),
            (
                json!({ "maxLimitRequestRatio": { "memory": "1" } }),
                "memory max limit to request ratio per Container is 1",
            ),
        ] {
            limit(at, limits).await;
            at.baseline().await;
            let session = at.session().await;
            let refused = session.exchange("orders", To::port(local.port())).await;
            refused.bad(ErrorCode::AgentStart, &["forbidden", words]);
            let refused = session.forward("orders:80").await;
            refused.bad(ErrorCode::AgentStart, &["forbidden", words]);
            assert_eq!(client.who("http://orders/").await, CLUSTER);
            session.close(CLOSE).await.good();
            at.assert_clean().await;
            ranges.delete("limits", &DeleteParams::default()).await.unwrap();
        }
        // Defaults are for those who ask for nothing, and a limit of CPU is none of ours to mind.
        let default = json!({ "default": { "cpu": "500m", "memory": "64Mi" }, "max": { "memory": "64Mi", "cpu": "1" } });
        limit(at, default).await;
        at.baseline().await;
        let session = Session::start(at.config().agent_memory(64 << 20)).await.good();
        let exchange = session.exchange("orders", To::port(local.port())).await.good();
        let forward = session.forward("deploy/orders:8080").await.good();
        assert_eq!(client.who("http://orders/").await, LOCAL);
        assert_eq!(Client::here().who(&format!("http://{}/", forward.address())).await, CLUSTER);
        exchange.close(CLOSE).await.good();
        session.close(CLOSE).await.good();
    });
}

async fn limit(at: &Scenario, mut limits: Value) {
    limits["type"] = "Container".into();
    let range = json!({ "metadata": { "name": "limits" }, "spec": { "limits": [limits] } });
    at.namespace().create_object::<LimitRange>(&serde_json::from_value(range).unwrap()).await;
}

/// This cluster's network does not enforce them: what is shown is that they are read.
#[test]
fn network_policies_that_would_silence_the_interceptor() {
    scenario("network-policy", async |at| {
        let client = at.shop(&App::orders()).await;
        let local = Local::http();
        let session = at.session().await;
        let policies = at.namespace().api::<NetworkPolicy>();
        let policy = async |name: &str, spec: Value| {
            let policy = json!({ "metadata": { "name": name }, "spec": spec });
            at.namespace().create_object::<NetworkPolicy>(&serde_json::from_value(policy).unwrap()).await;
        };
        policy("default-deny-in", json!({ "podSelector": {}, "policyTypes": ["Ingress"] })).await;
        let refused = session.exchange("orders", To::port(local.port())).await;
        refused.bad(
            ErrorCode::Unsupported,
            &["services/orders", "networkpolicies/default-deny-in", "reach the interceptor"],
        );
        policies.delete("default-deny-in", &DeleteParams::default()).await.unwrap();
        policy("default-deny-out", json!({ "podSelector": {}, "policyTypes": ["Egress"] })).await;
        let refused = session.exchange("orders", To::port(local.port())).await;
        let words = [
            "networkpolicies/default-deny-out",
            "the interceptor reach",
            "app.kubernetes.io/managed-by: kubetether",
        ];
        refused.bad(ErrorCode::Unsupported, &words);
        assert_eq!(client.who("http://orders/").await, CLUSTER);
        let pods = at.namespace().api::<Pod>().list(&ListParams::default()).await.unwrap();
        assert_eq!(pods.items.len(), 2, "nothing was begun");

        // What the refusal advises.
        let ours = json!({ "matchLabels": { "app.kubernetes.io/managed-by": "kubetether" } });
        policy("kubetether", json!({ "podSelector": ours, "egress": [{}], "policyTypes": ["Egress"] })).await;
        session.close(CLOSE).await.good();
        at.baseline().await;
        let session = at.session().await;
        let exchange = session.exchange("orders", To::port(local.port())).await.good();
        assert_eq!(client.who("http://orders/").await, LOCAL);
        exchange.close(CLOSE).await.good();
        session.close(CLOSE).await.good();
    });
}
