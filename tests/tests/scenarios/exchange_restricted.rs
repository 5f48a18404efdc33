//! Namespaces that allow little.

use k8s_openapi::api::core::v1::ResourceQuota;
use kubetether::To;
use kubetether_tests::{App, CLOSE, CLUSTER, LOCAL, Local, Outcome, Security, scenario_in};
use serde_json::json;

#[test]
fn under_pod_security_restricted_and_a_quota_that_demands_limits() {
    scenario_in(Security::Restricted, "restricted", async |at| {
        let quota = json!({
            "metadata": { "name": "limits" },
            "spec": { "hard": { "limits.cpu": "8", "limits.memory": "2Gi", "requests.cpu": "2", "requests.memory": "1Gi" } },
        });
        at.namespace().create_object::<ResourceQuota>(&serde_json::from_value(quota).unwrap()).await;
        let client = at.shop(&App::orders()).await;
        let local = Local::http();
        let session = at.session().await;
        let _exchange = session.exchange("orders", To::port(local.port())).await.good();
        let forward = session.forward("orders:80").await.good();
        assert_eq!(client.who("http://orders/").await, LOCAL);
        let here = kubetether_tests::Client::here();
        assert_eq!(here.who(&format!("http://{}/", forward.address())).await, LOCAL);
        session.close(CLOSE).await.good();
        assert_eq!(client.who("http://orders/").await, CLUSTER);
    });
}
