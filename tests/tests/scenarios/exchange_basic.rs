//! All traffic of a Service comes here, and goes back.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams};
use kubetether::To;
use kubetether_tests::{App, CLOSE, CLUSTER, LOCAL, LONG, Local, Outcome, eventually, scenario};
use serde_json::json;

#[test]
fn one_port() {
    scenario("one-port", async |at| {
        let client = at.shop(&App::orders()).await;
        let local = Local::http();
        let session = at.session().await;
        let exchange = session.exchange("orders", To::port(local.port())).await.good();
        assert_eq!(client.who("http://orders/").await, LOCAL);
        assert_eq!(exchange.service(), "orders");
        assert_eq!(exchange.ports()[0].service_port, 80);
        assert_eq!(exchange.stats().connections, 1, "proofs are not connections");
        exchange.close(CLOSE).await.good();
        assert_eq!(client.who("http://orders/").await, CLUSTER);
        session.close(CLOSE).await.good();
    });
}

#[test]
fn no_request_is_lost_with_several_replicas() {
    scenario("replicas", async |at| {
        let client = at.shop(&App::orders().replicas(3)).await;
        let local = Local::http();
        let asker = client.ask("http://orders/", 20).await;
        asker.answered_by(CLUSTER, asker.mark().await, 10).await;

        let session = at.session().await;
        let exchange = session.exchange("orders", To::port(local.port())).await.good();
        let exchanged = asker.mark().await;
        asker.answered_by(LOCAL, exchanged, 50).await;
        assert_eq!(asker.report(exchanged).of(CLUSTER), 0, "{}", asker.report(exchanged));

        exchange.close(CLOSE).await.good();
        let restored = asker.mark().await;
        asker.answered_by(CLUSTER, restored, 50).await;
        assert_eq!(asker.report(restored).of(LOCAL), 0, "{}", asker.report(restored));

        session.close(CLOSE).await.good();
        asker.answered_by(CLUSTER, asker.mark().await, 10).await;
        let report = asker.stop().await;
        assert!(report.lost().is_empty(), "{report}");
    });
}

#[test]
fn two_ports_of_which_one_is_exposed() {
    scenario("two-ports", async |at| {
        let app = App::orders().serving("http", 8081).port("admin", 81, 8081);
        let client = at.shop(&app).await;
        let local = Local::http();
        let session = at.session().await;
        let to = To::port(local.port()).for_service_port("admin");
        let exchange = session.exchange("orders", to).await.good();
        assert_eq!(exchange.passed_through(), [80]);
        assert_eq!(client.who("http://orders:81/").await, LOCAL);
        let passed = client.get("http://orders/").await;
        assert!(passed.as_ref().is_ok_and(|body| body.contains("name=cluster port=8080")), "{passed:?}");
        session.close(CLOSE).await.good();
        assert_eq!(client.who("http://orders:81/").await, CLUSTER);
    });
}

#[test]
fn ports_that_share_a_target_port_stay_apart() {
    scenario("shared-target", async |at| {
        let client = at.shop(&App::orders().port("admin", 81, 8080).port("third", 82, 8080)).await;
        let (one, other) = (Local::named("http", "one"), Local::named("http", "other"));
        let session = at.session().await;
        let to = To::port(one.port()).for_service_port(80).and(To::port(other.port()).for_service_port(82));
        let _exchange = session.exchange("svc/orders", to).await.good();
        assert_eq!(client.who("http://orders/").await, "one");
        assert_eq!(client.who("http://orders:82/").await, "other");
        assert_eq!(client.who("http://orders:81/").await, CLUSTER);
        session.close(CLOSE).await.good();
    });
}

#[test]
fn target_ports_by_name_and_below_1024() {
    scenario("target-ports", async |at| {
        let app = App::new("orders").serving("http", 81).port("http", 80, "http-8080").port("low", 81, 81);
        let client = at.shop(&app).await;
        let local = Local::http();
        let session = at.session().await;
        let to = To::port(local.port()).for_service_port(80).and(To::port(local.port()).for_service_port(81));
        let exchange = session.exchange("orders", to).await.good();
        for url in ["http://orders/", "http://orders:81/"] {
            assert_eq!(client.who(url).await, LOCAL, "{url}");
        }
        exchange.close(CLOSE).await.good();
        for url in ["http://orders/", "http://orders:81/"] {
            assert_eq!(client.who(url).await, CLUSTER, "{url}");
        }
        session.close(CLOSE).await.good();
    });
}

/// A warm interceptor serves the second exchange, of other ports.
#[test]
fn again_and_again() {
    scenario("again", async |at| {
        let client = at.shop(&App::orders().port("admin", 81, 8080)).await;
        let local = Local::http();
        let session = at.session().await;
        for (port, other) in [(80, 81), (81, 80), (80, 81)] {
            let to = To::port(local.port()).for_service_port(port);
            let exchange = session.exchange("orders", to).await.good();
            assert_eq!(client.who(&format!("http://orders:{port}/")).await, LOCAL);
            assert_eq!(client.who(&format!("http://orders:{other}/")).await, CLUSTER);
            exchange.close(CLOSE).await.good();
            assert_eq!(client.who(&format!("http://orders:{port}/")).await, CLUSTER);
        }
        session.close(CLOSE).await.good();
    });
}

#[test]
fn a_node_port_with_session_affinity_and_a_udp_port() {
    scenario("affinity-udp", async |at| {
        let app = App::orders().replicas(2).port("admin", 81, 8080).udp("dns", 5353);
        let client =
            at.shop(&app.service_spec(json!({ "type": "NodePort", "sessionAffinity": "ClientIP" }))).await;
        let local = Local::http();
        let session = at.session().await;
        let _exchange =
            session.exchange("orders", To::port(local.port()).for_service_port("http")).await.good();
        assert_eq!(client.who("http://orders/").await, LOCAL);
        assert_eq!(client.who("http://orders:81/").await, CLUSTER);
        let answer = client.run(&["datagram", "orders:5353", "hello"]).await;
        assert_eq!(answer.as_deref().map(str::trim_end), Ok("hello"), "UDP passes through");
        session.close(CLOSE).await.good();
    });
}

#[test]
fn several_services_in_one_session() {
    scenario("several", async |at| {
        let client = at.shop(&App::orders()).await;
        let names = ["stock", "prices", "users"];
        let apps = names.map(|name| App::new(name).port("http", 80, 8080));
        futures_util::future::join_all(apps.iter().map(|app| app.deploy(at.namespace()))).await;
        at.baseline().await;
        let locals = names.map(|name| Local::named("http", name));
        let session = at.session().await;
        let starts =
            names.iter().zip(&locals).map(|(name, local)| session.exchange(*name, To::port(local.port())));
        let exchanges: Vec<_> =
            futures_util::future::join_all(starts).await.into_iter().map(Outcome::good).collect();
        for name in names {
            assert_eq!(client.who(&format!("http://{name}/")).await, name);
        }
        assert_eq!(client.who("http://orders/").await, CLUSTER);
        exchanges[1].close(CLOSE).await.good();
        for (name, wanted) in names.into_iter().zip(["stock", CLUSTER, "users"]) {
            assert_eq!(client.who(&format!("http://{name}/")).await, wanted);
        }
        session.close(CLOSE).await.good();
    });
}

/// Ports that pass through lead to whatever pods there are.
#[test]
fn originals_come_and_go() {
    scenario("originals", async |at| {
        let app = App::orders().port("admin", 81, 8080);
        let client = at.shop(&app).await;
        let local = Local::http();
        let session = at.session().await;
        let _exchange = session.exchange("orders", To::port(local.port()).for_service_port(80)).await.good();
        assert_eq!(client.who("http://orders:81/").await, CLUSTER);
        let pods = at.namespace().api::<Pod>();
        let originals = ListParams::default().labels("app=orders");
        pods.delete_collection(&DeleteParams::default(), &originals).await.unwrap();
        eventually("a new original answers", LONG, async || {
            let new = pods.list(&originals).await.map_err(|error| error.to_string())?;
            let alone = new.items.len() == 1 && new.items[0].metadata.deletion_timestamp.is_none();
            match client.who("http://orders:81/").await {
                name if name == CLUSTER && alone => Ok(()),
                other => Err(other),
            }
        })
        .await;
        assert_eq!(client.who("http://orders/").await, LOCAL);
        session.close(CLOSE).await.good();
        assert_eq!(client.who("http://orders/").await, CLUSTER);
        // The Deployment has another pod now.
        at.baseline().await;
    });
}
