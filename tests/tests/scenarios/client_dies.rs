//! The developer's process goes away, or sleeps, without a word.

use std::time::Duration;

use kubetether_tests::{App, CLUSTER, Client, Command, LOCAL, Local, Scenario, scenario, sweep};

/// Dead client to original answers, without a human.
const PROMISE: Duration = Duration::from_secs(10);

async fn exchanged(at: &Scenario, local: &Local) -> (Client, Command) {
    let client = at.shop(&App::orders()).await;
    let port = local.port().to_string();
    let mut command = Command::start(at, &["exchange", "orders", "--to", &port]);
    command.told("exchange").await;
    assert_eq!(client.who("http://orders/").await, LOCAL);
    (client, command)
}

#[test]
fn killed() {
    Command::prepare();
    scenario("client-killed", async |at| {
        let local = Local::http();
        let (client, command) = exchanged(at, &local).await;
        let asker = client.ask("http://orders/", 20).await;
        let killed = asker.mark().await;
        command.signal("KILL").await;
        command.ended().await;
        asker.answered_by(CLUSTER, killed, 50).await;
        let report = asker.stop().await;
        assert!(report.longest_gap() < PROMISE, "{report}");
        // It had no time to; the Service tells what it was.
        sweep(at).await;
        assert_eq!(client.who("http://orders/").await, CLUSTER);
    });
}

#[test]
fn asleep() {
    Command::prepare();
    scenario("client-asleep", async |at| {
        let local = Local::http();
        let (client, mut command) = exchanged(at, &local).await;
        let asker = client.ask("http://orders/", 20).await;
        let stopped = asker.mark().await;
        command.signal("STOP").await;
        asker.answered_by(CLUSTER, stopped, 50).await;
        command.signal("CONT").await;
        let woken = asker.mark().await;
        asker.answered_by(LOCAL, woken, 50).await;
        let report = asker.stop().await;
        assert!(report.longest_gap() < PROMISE, "{report}");
        let told = async {
            loop {
                let line = command.told("handle").await;
                if line["state"] == "active" {
                    return;
                }
            }
        };
        told.await;
        command.signal("INT").await;
        let ended = command.ended().await;
        assert_eq!(ended.code, Some(0), "{ended:#?}");
        assert_eq!(client.who("http://orders/").await, CLUSTER);
    });
}
