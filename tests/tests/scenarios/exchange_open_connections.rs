//! Connections that are open while an exchange starts or ends.

use std::time::Duration;

use kubetether::To;
use kubetether_tests::{App, CLOSE, CLUSTER, LOCAL, Local, Outcome, scenario};

#[test]
fn open_across_the_start_stay_with_the_original() {
    scenario("open-start", async |at| {
        let client = at.shop(&App::orders()).await;
        let mut before = client.open("orders:80").await;
        assert_eq!(before.connected(), "connected");
        assert!(before.step("get:/").await.contains("name=cluster"));

        let local = Local::http();
        let session = at.session().await;
        let exchange = session.exchange("orders", To::port(local.port())).await.good();
        assert_eq!(client.who("http://orders/").await, LOCAL);
        assert!(before.step("get:/").await.contains("name=cluster"));
        exchange.close(CLOSE).await.good();
        assert!(before.step("get:/").await.contains("name=cluster"));
        session.close(CLOSE).await.good();
        assert!(before.step("get:/").await.contains("name=cluster"));
    });
}

#[test]
fn open_across_the_close_are_drained_then_end() {
    scenario("open-close", async |at| {
        let client = at.shop(&App::orders()).await;
        let local = Local::http();
        let session = kubetether::Session::start(at.config().drain(Duration::from_secs(3))).await.good();
        let exchange = session.exchange("orders", To::port(local.port())).await.good();
        let (mut kept, mut ended) = (client.open("orders:80").await, client.open("orders:80").await);
        assert!(kept.step("get:/").await.contains("name=local"));
        assert!(ended.step("get:/").await.contains("name=local"));
        let asker = client.ask("http://orders/", 20).await;

        let began = asker.mark().await;
        let close = async { exchange.close(CLOSE).await.good() };
        let meanwhile = async {
            asker.answered_by(CLUSTER, began, 10).await;
            // New ones are the original's, those that were open are still served here.
            assert!(kept.step("get:/").await.contains("name=local"));
            assert_eq!(ended.step("fin").await, "finished");
            assert_eq!(ended.step("line").await, "end");
        };
        tokio::join!(close, meanwhile);
        assert_eq!(kept.step("line").await, "end", "after the drain they end with FIN, not with a reset");
        assert!(asker.stop().await.lost().is_empty());
        session.close(CLOSE).await.good();
    });
}
