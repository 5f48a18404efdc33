//! A local port leads to any place that the cluster knows.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams};
use kubetether::{ErrorCode, ForwardOptions, Session};
use kubetether_tests::{App, CLOSE, CLUSTER, Client, Closed, LONG, Outcome, Scenario, eventually, scenario};

use crate::exchange_tcp::demand_habits;

async fn pod_of_orders(at: &Scenario) -> String {
    let list = at.namespace().api::<Pod>().list(&ListParams::default().labels("app=orders")).await.unwrap();
    let alive = list.items.into_iter().find(|pod| pod.metadata.deletion_timestamp.is_none());
    alive.unwrap().metadata.name.unwrap()
}

/// The answer through a forward to `destination`.
async fn answer(session: &Session, destination: &str) -> Result<String, String> {
    let forward = session.forward(destination).await.good();
    let answer = Client::here().get(&format!("http://{}/", forward.address())).await;
    forward.close(CLOSE).await.good();
    answer
}

#[test]
fn all_names_of_a_place() {
    scenario("forward-names", async |at| {
        at.shop(&App::orders()).await;
        let namespace = at.namespace().name();
        let pod = pod_of_orders(at).await;
        let session = at.session().await;
        for destination in [
            "orders:80".to_owned(),
            format!("orders.{namespace}:80"),
            format!("orders.{namespace}.svc.cluster.local:80"),
            "svc/orders:80".to_owned(),
            "svc/orders:http".to_owned(),
            "deploy/orders:8080".to_owned(),
            "deploy/orders:http-8080".to_owned(),
            format!("pod/{pod}:8080"),
        ] {
            let answer = answer(&session, &destination).await;
            assert!(
                answer.as_ref().is_ok_and(|body| body.contains("name=cluster")),
                "{destination}: {answer:?}"
            );
        }
        session.close(CLOSE).await.good();
    });
}

#[test]
fn places_that_are_not_there() {
    scenario("forward-refused", async |at| {
        at.shop(&App::orders().port("closed", 81, 8099)).await;
        let session = at.session().await;
        session.forward("orders:81").await.bad(ErrorCode::Refused, &["orders:81"]);
        session.forward("deploy/orders:8099").await.bad(ErrorCode::Refused, &["deploy/orders"]);
        session.forward("nobody:80").await.bad(ErrorCode::NameNotFound, &["nobody"]);
        session.forward("nobody.nowhere.svc:80").await.bad(ErrorCode::NameNotFound, &["nobody.nowhere.svc"]);
        session.forward("svc/nobody:80").await.bad(ErrorCode::NoSuchTarget, &["services/nobody"]);
        session.forward("deploy/nobody:80").await.bad(ErrorCode::NoSuchTarget, &["deployments/nobody"]);
        session.forward("svc/orders:443").await.bad(ErrorCode::NoSuchPort, &["443", "80"]);
        session.close(CLOSE).await.good();
    });
}

#[test]
fn a_local_port_of_ones_own() {
    scenario("forward-port", async |at| {
        at.shop(&App::orders()).await;
        let session = at.session().await;
        let port = Closed::new().release();
        // At an address that nobody else uses: a port of 127.0.0.1 may be another test's a moment after it was given up.
        let own = || ForwardOptions::new().bind([127, 90, 0, 2].into()).port(port);
        let forward = session.forward_with("orders:80", own()).await.good();
        assert_eq!(forward.address().to_string(), format!("127.90.0.2:{port}"));
        let taken = session.forward_with("orders:80", own()).await;
        taken.bad(ErrorCode::LocalAddress, &[&port.to_string()]);
        assert_eq!(Client::here().who(&format!("http://127.90.0.2:{port}/")).await, CLUSTER);
        forward.close(CLOSE).await.good();
        assert_eq!(Client::here().who(&format!("http://127.90.0.2:{port}/")).await, "fault: refused");
        session.close(CLOSE).await.good();
    });
}

#[test]
fn half_close_resets_server_first_and_large_bodies() {
    scenario("forward-habits", async |at| {
        let habits = [("echo", 7), ("greet", 25), ("collect", 81), ("say", 82), ("reset", 83)];
        let mut app = App::orders();
        for (habit, port) in habits {
            app = app.serving(habit, 9000 + port).port(habit, port, 9000 + port);
        }
        at.shop(&app).await;
        let session = at.session().await;
        let mut forwards = Vec::new();
        for (_, port) in habits {
            forwards.push((port, session.forward(("orders", port)).await.good()));
        }
        let address = |port: u16| {
            let found = forwards.iter().find(|(service_port, _)| *service_port == port);
            found.map(|(_, forward)| forward.address().to_string()).unwrap()
        };
        demand_habits(&Client::here(), CLUSTER, address).await;

        let web = session.forward("orders:80").await.good();
        let url = format!("http://{}", web.address());
        for direction in ["up", "down"] {
            assert_eq!(Client::here().bulk(direction, &url, 10 * 1024 * 1024).await, Ok(()), "{direction}");
        }
        session.close(CLOSE).await.good();
    });
}

#[test]
fn pods_come_and_go() {
    scenario("forward-pods", async |at| {
        let app = App::orders();
        at.shop(&app).await;
        let pods = at.namespace().api::<Pod>();
        let old = pod_of_orders(at).await;
        let session = at.session().await;
        let by_deployment = session.forward("deploy/orders:8080").await.good();
        let by_service = session.forward("orders:80").await.good();
        let by_pod = session.forward(format!("pod/{old}:8080").as_str()).await.good();
        let here = Client::here();

        pods.delete(&old, &DeleteParams::default()).await.unwrap();
        let gone =
            kube::runtime::wait::await_condition(pods.clone(), &old, |pod: Option<&Pod>| pod.is_none());
        tokio::time::timeout(LONG, gone).await.expect("the old pod stays").unwrap();
        app.ready(at.namespace()).await;
        for forward in [&by_deployment, &by_service] {
            let url = format!("http://{}/", forward.address());
            eventually("the new pod answers", LONG, async || match here.who(&url).await {
                name if name == CLUSTER => Ok(()),
                other => Err(other),
            })
            .await;
        }
        let answer = here.who(&format!("http://{}/", by_pod.address())).await;
        assert!(answer.starts_with("fault"), "pod/{old} is gone, yet {answer}");
        session.close(CLOSE).await.good();
        at.baseline().await;
    });
}
