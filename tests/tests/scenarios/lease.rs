//! A session that was away for longer than its Lease holds: what it finds when it comes back.

use std::time::Duration;

use kubetether::{CleanOptions, ErrorCode, Life, To, clean};
use kubetether_tests::{
    App, CLOSE, CLUSTER, Command, LOCAL, LONG, Local, Outcome, Security, scenario, scenario_within,
};

use crate::care::{answers, exchanged, hurry, leases, status};

/// Longer than a link waits for its client.
const BEYOND_GRACE: Duration = Duration::from_secs(65);
/// For scenarios that wait for that.
const LIMIT: Duration = Duration::from_secs(300);

#[test]
fn one_who_lives_is_named() {
    scenario("lease-held", async |at| {
        let client = at.shop(&App::orders()).await;
        let local = Local::http();
        let holder = kubetether::Session::start(at.config().who("ana@laptop")).await.good();
        let exchange = holder.exchange("orders", To::port(local.port())).await.good();
        let lease = format!("leases/kubetether-{}", holder.id());
        let other = at.session().await;
        let refused = other.exchange("orders", To::port(local.port())).await;
        refused.bad(ErrorCode::Held, &["services/orders", "ana@laptop", &lease, "since 20"]);
        assert_eq!(client.who("http://orders/").await, LOCAL);
        exchange.close(CLOSE).await.good();
        tokio::try_join!(other.close(CLOSE), holder.close(CLOSE)).good();
    });
}

#[test]
fn it_was_swept_and_takes_up_again_what_is_free() {
    Command::prepare();
    scenario_within(LIMIT, Security::Privileged, "lease-free", async |at| {
        let local = Local::http();
        let (client, mut command) = exchanged(at, &local).await;
        command.signal("STOP").await;
        let stopped = std::time::Instant::now();
        answers(&client, CLUSTER).await;
        let asker = client.ask("http://orders/", 20).await;
        asker.answered_by(CLUSTER, asker.mark().await, 20).await;
        hurry(at).await;
        let done = clean(&at.config(), CleanOptions::new()).await.good();
        assert!(done.failure().is_none(), "{done:#?}");
        at.assert_clean().await;
        tokio::time::sleep(BEYOND_GRACE.saturating_sub(stopped.elapsed())).await;

        command.signal("CONT").await;
        command.told("resumed").await;
        asker.answered_by(LOCAL, asker.mark().await, 50).await;
        let report = asker.stop().await;
        assert!(report.lost().is_empty(), "{report}");
        let now = status(&at.config()).await;
        assert_eq!((now.services.len(), now.services[0].life), (1, Life::Lives), "{now:#?}");
        command.signal("INT").await;
        let ended = command.ended().await;
        assert_eq!(ended.code, Some(0), "{ended:#?}");
        assert_eq!(client.who("http://orders/").await, CLUSTER);
    });
}

#[test]
fn somebody_else_has_it_by_then() {
    Command::prepare();
    scenario_within(LIMIT, Security::Privileged, "lease-taken", async |at| {
        let (local, mine) = (Local::http(), Local::named("http", "another"));
        let (client, mut command) = exchanged(at, &local).await;
        command.signal("STOP").await;
        let stopped = std::time::Instant::now();
        hurry(at).await;
        let session = kubetether::Session::start(at.config().who("ben@desk")).await.good();
        let exchange = session.exchange("orders", To::port(mine.port())).await.good();
        answers(&client, "another").await;
        let asker = client.ask("http://orders/", 20).await;
        tokio::time::sleep(BEYOND_GRACE.saturating_sub(stopped.elapsed())).await;

        let woken = asker.mark().await;
        command.signal("CONT").await;
        command.told("closing").await;
        let ended = command.ended().await;
        // Its handle is lost, and so the command's work is over.
        assert_eq!(ended.code, Some(4), "{ended:#?}");
        let lost = ended.told.iter().find(|line| line["type"] == "handle" && line["state"] == "lost");
        let lost = lost.unwrap_or_else(|| panic!("it is not lost: {ended:#?}"));
        assert!(lost["reason"].to_string().contains("ben@desk"), "{lost}");
        asker.answered_by("another", woken, 50).await;
        let report = asker.stop().await;
        assert!(report.lost().is_empty(), "{report}");
        exchange.close(CLOSE).await.good();
        session.close(CLOSE).await.good();
        at.cleaned_up(LONG).await;
    });
}

#[test]
fn its_lease_is_deleted_while_it_lives() {
    scenario("lease-deleted", async |at| {
        let client = at.shop(&App::orders()).await;
        let local = Local::http();
        let session = at.session().await;
        let exchange = session.exchange("orders", To::port(local.port())).await.good();
        let name = format!("kubetether-{}", session.id());
        let api = at.namespace().api::<k8s_openapi::api::coordination::v1::Lease>();
        api.delete(&name, &kube::api::DeleteParams::default()).await.unwrap();
        let done = clean(&at.config(), CleanOptions::new()).await.good();
        assert!(done.done.is_empty(), "{done:#?}");
        assert_eq!(leases(at).await, [name]);
        assert_eq!(client.who("http://orders/").await, LOCAL);
        exchange.close(CLOSE).await.good();
        session.close(CLOSE).await.good();
    });
}
