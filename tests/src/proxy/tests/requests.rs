//! Requests that are counted, and answered in the server's stead.

use http::{Method, StatusCode};

use super::server::{Caller, Server};
use crate::proxy::{Fault, Proxy, mutating, of};

const PODS: &str = "/api/v1/namespaces/shop/pods";

// The small server's prefix stands before the path: resources are told without it.
async fn without_prefix(server: &Server) -> Proxy {
    let text = std::fs::read_to_string(server.kubeconfig()).unwrap().replace("/prefix/", "");
    std::fs::write(server.kubeconfig(), text).unwrap();
    Proxy::start(&server.kubeconfig()).await.unwrap()
}

#[tokio::test]
async fn requests_are_counted_by_method_and_resource() {
    let server = Server::start().await;
    let proxy = without_prefix(&server).await;
    let mut caller = Caller::new(proxy.kubeconfig()).await.bare();
    caller.text("GET", PODS).await.unwrap();
    let before = proxy.requests().counts();
    for (method, path) in [
        ("GET", PODS),
        ("POST", PODS),
        ("DELETE", &format!("{PODS}/a")),
        ("POST", &format!("{PODS}?dryRun=All")),
    ] {
        caller.text(method, path).await.unwrap();
    }
    caller.text("PATCH", "/apis/apps/v1/namespaces/shop/deployments/a/scale").await.unwrap();
    caller.upgrade().await;

    let counts = proxy.requests().counts();
    assert_eq!((counts.total(), counts.of("GET", "pods"), counts.of_method("GET")), (7, 2, 3));
    let counts = counts.since(&before);
    assert_eq!((counts.of("GET", "pods"), counts.of("POST", "pods"), counts.of("PUT", "pods")), (1, 2, 0));
    assert_eq!(counts.of("PATCH", "deployments.apps/scale"), 1);
    assert_eq!(counts.of("GET", "pods/portforward"), 1);
    assert_eq!((counts.mutating, counts.faults), (3, 0));
}

#[tokio::test]
async fn every_third_of_those_asked_for_is_answered_in_the_servers_stead() {
    let server = Server::start().await;
    let proxy = without_prefix(&server).await;
    let mut caller = Caller::new(proxy.kubeconfig()).await.bare();
    proxy.requests().fault(Fault::TooManyRequests(7), 3, of(Method::GET, "pods"));
    proxy.requests().fault(Fault::Unavailable, 1, mutating);
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(caller.text("GET", PODS).await.unwrap().0.as_u16());
        caller.text("GET", "/version").await.unwrap();
    }
    assert_eq!(statuses, [200, 200, 429, 200, 200, 429]);
    assert_eq!(caller.text("PUT", PODS).await.unwrap().0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!((server.seen().len(), proxy.requests().counts().faults), (10, 3));

    proxy.requests().no_faults();
    proxy.requests().fault(Fault::TooManyRequests(7), 1, |_| true);
    let answer = caller.ask("GET", PODS, &[]).await.unwrap();
    assert_eq!(answer.headers()["retry-after"], "7");
    proxy.requests().no_faults();
    proxy.requests().fault(Fault::Internal, 1, |asked| asked.path() == "/version");
    let (status, body) = caller.text("GET", "/version").await.unwrap();
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (status.as_u16(), &body["kind"], &body["reason"]),
        (500, &"Status".into(), &"InternalError".into())
    );
}
