//! Services and names.

use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{
    answered_by, ask, client, deploy, eventually, is_ready, name, pod_of, sim_with_workload, soon, until,
};

#[tokio::test(flavor = "multi_thread")]
async fn callers_are_spread_and_refused_when_nobody_is_there() {
    let sim = sim_with_workload().await;
    deploy(&sim, "web", "one", 2).await;
    answered_by(&sim, "web", "http://web:8080/", "one").await;
    answered_by(&sim, "web", "http://web.default.svc.cluster.local:8080/", "one").await;
    assert_eq!(ask(&sim, "web", "http://nobody:8080/").await, "workload: name");
    let none = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" }, "spec": { "replicas": 0 } });
    sim.apply(&none.to_string()).unwrap();
    eventually("a refusal", async || {
        (ask(&sim, "web", "http://web:8080/").await == "workload: refused").then_some(())
    })
    .await;
    sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_selector_is_followed_at_once() {
    let sim = sim_with_workload().await;
    deploy(&sim, "web", "one", 1).await;
    deploy(&sim, "other", "two", 1).await;
    answered_by(&sim, "web", "http://web:8080/", "one").await;
    let services: Api<Service> = Api::default_namespaced(client(&sim).await);
    let patch = Patch::Merge(json!({ "spec": { "selector": { "app": "other" } } }));
    services.patch("web", &PatchParams::default(), &patch).await.unwrap();
    answered_by(&sim, "web", "http://web:8080/", "two").await;
    sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn those_that_leave_serve_while_nobody_else_does() {
    let sim = sim_with_workload().await;
    deploy(&sim, "web", "one", 1).await;
    // A slice of somebody else's on the same Service: not ready, but serving and terminating.
    let address = pod_of(&sim, "web").unwrap()["status"]["podIP"].clone();
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": { "name": "net", "labels": { "kubernetes.io/service-name": "web" } },
        "endpoints": [{ "addresses": [address], "conditions": { "ready": false, "serving": true, "terminating": true } }],
        "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }],
    });
    sim.apply(&slice.to_string()).unwrap();
    let services: Api<Service> = Api::default_namespaced(client(&sim).await);
    let patch = Patch::Merge(json!({ "spec": { "selector": { "app": "nobody" } } }));
    services.patch("web", &PatchParams::default(), &patch).await.unwrap();
    until(&sim, "endpoints", "web", |one| one.get("subsets").is_none()).await;
    answered_by(&sim, "web", "http://web:8080/", "one").await;
    sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_come_and_go() {
    let sim = sim_with_workload().await;
    deploy(&sim, "web", "one", 1).await;
    let told = sim
        .exec("default", "visitor-web", &["/workload", "datagram", "web:9000", "hello", "--tries", "20"])
        .await;
    let told = told.unwrap();
    assert_eq!((told.code, told.out.trim()), (Some(0), "hello"), "{}", told.err);
    sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_headless_service_is_its_pods() {
    let sim = sim_with_workload().await;
    deploy(&sim, "web", "one", 1).await;
    let headless = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "pods" },
        "spec": { "clusterIP": "None", "selector": { "app": "web" }, "ports": [{ "port": 8080 }] },
    });
    sim.apply(&headless.to_string()).unwrap();
    answered_by(&sim, "web", "http://pods:8080/", "one").await;
    let pod = pod_of(&sim, "web").unwrap();
    assert!(is_ready(&pod), "{}", name(&pod));
    sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_is_forwarded_by_channels_and_why_it_is_not_is_told() {
    let sim = sim_with_workload().await;
    deploy(&sim, "web", "one", 1).await;
    let pods: Api<Pod> = Api::default_namespaced(client(&sim).await);
    let pod = name(&pod_of(&sim, "web").unwrap());
    let mut forward = pods.portforward(&pod, &[8080, 9]).await.unwrap();
    let mut stream = forward.take_stream(8080).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    let mut answer = [0; 17];
    soon("an answer", stream.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK\r\n");
    let why = soon("a reason", forward.take_error(9).unwrap()).await.unwrap();
    assert!(why.contains("connection refused"), "{why}");
    sim.stop().await;
}
