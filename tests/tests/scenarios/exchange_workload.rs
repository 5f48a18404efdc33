//! The workload behind an exchanged Service is scaled and rolled out: its new pods are the originals.

use kubetether::{HandleState, To};
use kubetether_tests::{App, CLOSE, CLUSTER, Client, LOCAL, Local, Outcome, Scenario, Steady, steadily};

/// Port 80 comes here, port 81 goes on to the original pods.
fn orders() -> App {
    App::orders().serving("http", 8081).port("passed", 81, 8081).probed()
}

struct Both {
    here: Steady,
    passed: Steady,
}

impl Both {
    async fn start(at: &Scenario, client: &Client) -> Self {
        let here = Steady::start(at, client, "http://orders/").await;
        Self { here, passed: Steady::start(at, client, "http://orders:81/").await }
    }

    async fn event(&mut self, what: &str) {
        self.here.event(what).await;
        self.passed.event(&format!("{what}, port 81")).await;
    }

    async fn settled(&self, here: &str, passed: &str) {
        self.here.settled_now(here).await;
        self.passed.settled_now(passed).await;
    }
}

#[test]
fn rolled_out_twice() {
    steadily("rolled-out", async |at| {
        let client = at.shop(&orders()).await;
        let before = at.service("orders").await;
        let local = Local::http();
        let session = at.session().await;
        let mut both = Both::start(at, &client).await;
        let to = To::port(local.port()).for_service_port(80);
        let exchange = session.exchange("orders", to).await.good();
        both.settled(LOCAL, CLUSTER).await;
        for version in ["second", "third"] {
            both.event(version).await;
            orders().answering(version).roll_out(at.namespace()).await;
            both.settled(LOCAL, version).await;
        }
        assert_eq!(exchange.state(), HandleState::Active);
        both.event("close").await;
        exchange.close(CLOSE).await.good();
        both.settled("third", "third").await;
        session.close(CLOSE).await.good();
        both.here.finish().await.none_lost_but(&[]);
        both.passed.finish().await.none_lost_but(&[]);
        assert_eq!(at.service("orders").await.spec, before.spec);
        at.baseline().await;
    });
}

#[test]
fn scaled_to_nothing_and_back() {
    steadily("scaled", async |at| {
        let client = at.shop(&orders()).await;
        let before = at.service("orders").await;
        let local = Local::http();
        let session = at.session().await;
        let mut both = Both::start(at, &client).await;
        let to = To::port(local.port()).for_service_port(80);
        let exchange = session.exchange("orders", to).await.good();
        both.settled(LOCAL, CLUSTER).await;
        both.event("scaled to 0").await;
        orders().scale(at.namespace(), 0).await;
        both.here.settled_now(LOCAL).await;
        both.event("scaled to 2").await;
        orders().scale(at.namespace(), 2).await;
        both.settled(LOCAL, CLUSTER).await;
        both.event("close").await;
        assert_eq!(exchange.state(), HandleState::Active);
        exchange.close(CLOSE).await.good();
        both.settled(CLUSTER, CLUSTER).await;
        session.close(CLOSE).await.good();
        both.here.finish().await.none_lost_but(&[]);
        // Port 81 has no pod between the two.
        both.passed.finish().await.none_lost_but(&["scaled to 0, port 81", "scaled to 2, port 81"]);
        assert_eq!(at.service("orders").await.spec, before.spec);
        at.baseline().await;
    });
}
