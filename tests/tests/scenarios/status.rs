//! Who is there, what they hold, and whether they live.

use kubetether::{Condition, ErrorCode, Life, StatusOptions, To, watch_status};
use kubetether_tests::{App, CLUSTER, Command, Local, Outcome, scenario};

use crate::care::{answers, exchanged, hurry, leases, status, told};

#[test]
fn a_living_session_and_what_it_holds() {
    scenario("status-lives", async |at| {
        at.shop(&App::orders()).await;
        let local = Local::http();
        let nowhere = at.config().namespace("there-is-no-such-namespace");
        let missing = kubetether::status(&nowhere, StatusOptions::new()).await;
        missing.bad(ErrorCode::NoSuchNamespace, &["there-is-no-such-namespace"]);
        let nothing = status(&at.config()).await;
        assert!(nothing.is_empty() && nothing.unseen.is_empty(), "{nothing:#?}");
        let session = kubetether::Session::start(at.config().who("ana@laptop")).await.good();
        let exchange = session.exchange("orders", To::port(local.port())).await.good();

        let now = status(&at.config()).await;
        assert_eq!((now.services.len(), now.sessions.len()), (1, 1), "{now:#?}");
        let (held, who) = (&now.services[0], &now.sessions[0]);
        assert_eq!((held.service.as_str(), held.mode.as_str()), ("orders", "exchange"));
        assert_eq!((held.ports.as_slice(), &held.condition), ([80].as_slice(), &Condition::Active));
        assert_eq!((held.life, who.life), (Life::Lives, Life::Lives));
        assert_eq!((held.who.as_deref(), who.who.as_deref()), (Some("ana@laptop"), Some("ana@laptop")));
        assert_eq!(held.lease, format!("kubetether-{}", session.id()));
        assert!(held.since.is_some() && who.started.is_some(), "{now:#?}");
        assert!(now.leftovers.is_empty(), "{now:#?}");

        // A watch tells at once, and again when it has changed.
        let mut watch = watch_status(&at.config(), StatusOptions::new()).await.good();
        assert_eq!(watch.next().await.good().services.len(), 1);
        exchange.close(kubetether_tests::CLOSE).await.good();
        while !watch.next().await.good().services.is_empty() {}
        session.close(kubetether_tests::CLOSE).await.good();
        while !watch.next().await.good().is_empty() {}
    });
}

#[test]
fn a_killed_client_is_dead_and_nothing_is_changed_by_looking() {
    Command::prepare();
    scenario("status-dead", async |at| {
        let local = Local::http();
        let (client, command) = exchanged(at, &local).await;
        command.signal("KILL").await;
        command.ended().await;
        hurry(at).await;
        answers(&client, CLUSTER).await;
        let told_now = told(at, &["status", "--json"], "status").await;
        assert_eq!(told_now["services"][0]["life"], "dead", "{told_now:#}");
        assert_eq!(told_now["services"][0]["condition"], "pass_through", "{told_now:#}");
        assert_eq!(told_now["sessions"][0]["life"], "dead", "{told_now:#}");
        assert!(told_now["leftovers"].to_string().contains("deployments/kt-orders-"), "{told_now:#}");
        assert_eq!(leases(at).await.len(), 1);
        told(at, &["clean"], "clean").await;
    });
}
