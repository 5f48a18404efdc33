//! The developer's process goes away, or sleeps, without a word.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{DeleteParams, ListParams};
use kubetether::{ErrorCode, To};
use kubetether_tests::{
    App, CLOSE, CLUSTER, Client, Command, LOCAL, Local, Outcome, Scenario, scenario, sweep,
};

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

        // Its Lease speaks for it still; whoever takes that away may go on.
        let session = at.session().await;
        let held = session.exchange("orders", To::port(local.port())).await;
        held.bad(ErrorCode::Held, &["services/orders", "leases/kubetether-"]);
        let leases = at.namespace().api::<Lease>();
        let own = format!("kubetether-{}", session.id());
        let all = leases.list(&ListParams::default()).await.unwrap();
        let dead: Vec<String> =
            all.into_iter().filter_map(|lease| lease.metadata.name).filter(|name| *name != own).collect();
        assert_eq!(dead.len(), 1, "{dead:?}");
        leases.delete(&dead[0], &DeleteParams::default()).await.unwrap();
        let exchange = session.exchange("orders", To::port(local.port())).await.good();
        assert_eq!(client.who("http://orders/").await, LOCAL);
        exchange.close(CLOSE).await.good();
        assert_eq!(client.who("http://orders/").await, CLUSTER);
        session.close(CLOSE).await.good();
        // The dead one's interceptor passes connections through for ever.
        sweep(at).await;
    });
}

#[test]
fn asleep() {
    Command::prepare();
    scenario("client-asleep", async |at| {
        let local = Local::http();
        let (client, command) = exchanged(at, &local).await;
        let asker = client.ask("http://orders/", 20).await;
        let stopped = asker.mark().await;
        command.signal("STOP").await;
        asker.answered_by(CLUSTER, stopped, 50).await;
        command.signal("CONT").await;
        let woken = asker.mark().await;
        asker.answered_by(LOCAL, woken, 50).await;
        let report = asker.stop().await;
        assert!(report.longest_gap() < PROMISE, "{report}");
        command.signal("INT").await;
        let ended = command.ended().await;
        assert_eq!(ended.code, Some(0), "{ended:#?}");
        assert_eq!(client.who("http://orders/").await, CLUSTER);
    });
}
