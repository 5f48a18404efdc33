//! What dead sessions left is put back and taken away; nothing else is touched.

use kubetether::{CleanOptions, Removal, To, clean};
use kubetether_tests::{
    App, CLOSE, CLUSTER, Command, LOCAL, LONG, Local, Outcome, Snapshot, eventually, nothing_of_ours,
    scenario,
};

use crate::care::{answers, exchange, exchanged, hurry, leases, told};

#[test]
fn after_a_killed_client() {
    Command::prepare();
    scenario("clean-killed", async |at| {
        let local = Local::http();
        let (client, command) = exchanged(at, &local).await;
        command.signal("KILL").await;
        command.ended().await;
        hurry(at).await;
        answers(&client, CLUSTER).await;

        // A dry run tells all of it, and changes nothing.
        let before = Snapshot::take(at.cluster().client(), at.namespace().name()).await;
        let dry = told(at, &["clean", "--dry-run"], "clean").await;
        before.same(&Snapshot::take(at.cluster().client(), at.namespace().name()).await).unwrap();
        assert_eq!(dry["restored"][0]["object"], "services/orders", "{dry:#}");
        let gone = dry["deleted"].to_string();
        for object in ["deployments/kt-orders-", "services/kt-orders-", "leases/kubetether-"] {
            assert!(gone.contains(object), "{dry:#}");
        }

        let asker = client.ask("http://orders/", 20).await;
        let done = told(at, &["clean"], "clean").await;
        assert_eq!((&done["left"], &done["unseen"]), (&dry["left"], &dry["unseen"]), "{done:#}");
        assert_eq!(done["restored"], dry["restored"], "{done:#}");
        // It returns when all is gone.
        nothing_of_ours(at.cluster().client(), at.namespace().name()).await.unwrap();
        asker.answered_by(CLUSTER, asker.mark().await, 20).await;
        let report = asker.stop().await;
        assert!(report.lost().is_empty(), "{report}");
        at.assert_clean().await;

        let again = told(at, &["clean"], "clean").await;
        assert!(again["restored"].as_array().unwrap().is_empty(), "{again:#}");
        assert!(again["deleted"].as_array().unwrap().is_empty(), "{again:#}");
    });
}

#[test]
fn a_client_that_died_while_it_started() {
    Command::prepare();
    scenario("clean-starting", async |at| {
        let client = at.shop(&App::orders()).await;
        let local = Local::http();
        let mut command = Command::start(at, &["exchange", "orders", "--to", &local.port().to_string()]);
        while command.told("progress").await["step"] != 2 {}
        let found = async || match nothing_of_ours(at.cluster().client(), at.namespace().name()).await {
            Err(left) if left.contains("Deployment/") => Ok(()),
            other => Err(format!("{other:?}")),
        };
        eventually("a Deployment of ours", LONG, found).await;
        command.signal("KILL").await;
        command.ended().await;
        hurry(at).await;
        told(at, &["clean"], "clean").await;
        assert_eq!(client.who("http://orders/").await, CLUSTER);
    });
}

#[test]
fn beside_a_session_that_lives() {
    Command::prepare();
    scenario("clean-lives", async |at| {
        let client = at.shop(&App::orders()).await;
        let local = Local::http();
        let session = at.session().await;
        let exchange = session.exchange("orders", To::port(local.port())).await.good();
        let asker = client.ask("http://orders/", 20).await;
        asker.answered_by(LOCAL, asker.mark().await, 20).await;
        // Again and again while it does its work.
        for _ in 0..2 {
            let done = clean(&at.config(), CleanOptions::new()).await.good();
            assert!(done.done.is_empty() && done.failure().is_none(), "{done:#?}");
            let stays: Vec<&str> = done.left.iter().map(|left| left.object.as_str()).collect();
            assert_eq!(stays, [format!("leases/kubetether-{}", session.id()).as_str(), "services/orders"]);
        }
        asker.answered_by(LOCAL, asker.mark().await, 20).await;
        let report = asker.stop().await;
        assert!(report.lost().is_empty(), "{report}");

        // All: it is told so and does not take it again.
        let done = clean(&at.config().who("boss@desk"), CleanOptions::new().all(true)).await.good();
        let restored =
            |done: &Removal| matches!(done, Removal::Restored { object, .. } if object == "services/orders");
        assert!(done.done.iter().any(restored), "{done:#?}");
        let over = tokio::time::timeout(LONG, exchange.closed()).await.expect("its exchange goes on");
        assert!(over.reason().is_some_and(|reason| reason.contains("boss@desk")), "{over}");
        assert_eq!(client.who("http://orders/").await, CLUSTER);
        session.close(CLOSE).await.good();
    });
}

#[test]
fn two_at_once_and_a_session_beside_them() {
    Command::prepare();
    scenario("clean-twice", async |at| {
        let local = Local::http();
        let (client, command) = exchanged(at, &local).await;
        command.signal("KILL").await;
        command.ended().await;
        hurry(at).await;
        let config = at.config();
        let sweep = || clean(&config, CleanOptions::new());
        let (one, two) = tokio::join!(sweep(), sweep());
        for done in [one.good(), two.good()] {
            assert!(done.failure().is_none(), "{done:#?}");
        }
        at.cleaned_up(LONG).await;
        answers(&client, CLUSTER).await;

        // And one while somebody takes the Service over from a dead one.
        let command = exchange(at, &local).await;
        command.signal("KILL").await;
        command.ended().await;
        hurry(at).await;
        let session = at.session().await;
        let (taken, swept) = tokio::join!(
            session.exchange("orders", To::port(local.port())),
            clean(&config, CleanOptions::new())
        );
        let exchange = taken.good();
        assert!(swept.good().failure().is_none());
        answers(&client, LOCAL).await;
        assert_eq!(leases(at).await, [format!("kubetether-{}", session.id())]);
        exchange.close(CLOSE).await.good();
        session.close(CLOSE).await.good();
        at.cleaned_up(LONG).await;
    });
}
