//! The developer's process goes away, or sleeps, without a word.

use std::time::Duration;

use kubetether::To;
use kubetether_tests::{CLOSE, CLUSTER, Command, LOCAL, LONG, Local, Outcome, scenario};

use crate::care::exchanged;

/// Dead client to original answers, without a human.
const PROMISE: Duration = Duration::from_secs(10);

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

        // Its Lease speaks for it for half a minute; then whoever comes takes over, without a human.
        let session = at.session().await;
        let exchange = session.exchange("orders", To::port(local.port())).await.good();
        assert_eq!(client.who("http://orders/").await, LOCAL);
        exchange.close(CLOSE).await.good();
        assert_eq!(client.who("http://orders/").await, CLUSTER);
        session.close(CLOSE).await.good();
        // The dead one's interceptor went with it.
        at.cleaned_up(LONG).await;
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
