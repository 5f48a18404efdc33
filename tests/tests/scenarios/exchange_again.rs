//! A Service is exchanged again by the session that has exchanged it before.

use std::time::Duration;

use http::Method;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::ListParams;
use kubetether::{HandleState, Session, To};
use kubetether_tests::proxy::{Fault, Proxy, of};
use kubetether_tests::{App, CLOSE, CLUSTER, LOCAL, LONG, Local, Outcome, Scenario, scenario};

/// The uids of what receives callers.
async fn interceptors(at: &Scenario) -> Vec<String> {
    let ours = ListParams::default().labels("kubetether.dev/role=interceptor");
    let all = at.namespace().api::<Deployment>().list(&ours).await.unwrap();
    all.into_iter().filter_map(|one| one.metadata.uid).collect()
}

#[test]
fn after_a_close_that_failed() {
    scenario("again-failed", async |at| {
        let client = at.shop(&App::orders()).await;
        let local = Local::http();
        let proxy = Proxy::start(at.cluster().kubeconfig()).await.unwrap();
        let config = at.config().kubeconfig(proxy.kubeconfig()).linger(Duration::from_millis(100));
        let session = Session::start(config).await.good();
        let exchange = session.exchange("orders", To::port(local.port())).await.good();

        // The Service cannot be put back: its interceptor stays, and passes through.
        proxy.requests().fault(Fault::Unavailable, 1, of(Method::PATCH, "services"));
        let closing = tokio::spawn(async move {
            let _ = exchange.close(CLOSE).await;
            exchange.closed().await
        });
        let over = tokio::time::timeout(2 * LONG, closing).await.expect("it does not end").unwrap();
        assert!(matches!(&over, HandleState::Lost(why) if why.contains("could not be put back")), "{over}");
        assert_eq!(client.who("http://orders/").await, CLUSTER);
        let before = interceptors(at).await;

        // What is kept is used again, and stays for as long as it is used.
        proxy.requests().no_faults();
        let again = session.exchange("orders", To::port(local.port())).await.good();
        let asker = client.ask("http://orders/", 20).await;
        asker.answered_by(LOCAL, asker.mark().await, 200).await;
        let report = asker.stop().await;
        assert!(report.lost().is_empty(), "{report}");
        assert_eq!(interceptors(at).await, before);
        again.close(CLOSE).await.good();
        assert_eq!(client.who("http://orders/").await, CLUSTER);
        session.close(CLOSE).await.good();
    });
}
