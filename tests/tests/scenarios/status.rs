//! Who is there, what they hold, and whether they live.

use k8s_openapi::api::rbac::v1::PolicyRule;
use kubetether::{Condition, Life, StatusOptions, To, watch_status};
use kubetether_tests::{App, CLUSTER, Command, Limited, Local, Outcome, scenario};
use serde_json::json;

use crate::care::{answers, dead, exchange, exchanged, hurry, leases, status, told};

#[test]
fn a_living_session_and_what_it_holds() {
    scenario("status-lives", async |at| {
        at.shop(&App::orders()).await;
        let local = Local::http();
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

#[test]
fn what_may_not_be_looked_at_is_said() {
    Command::prepare();
    scenario("status-rights", async |at| {
        at.shop(&App::orders()).await;
        let local = Local::http();
        let rules: Vec<PolicyRule> = serde_json::from_value(json!([
            { "apiGroups": [""], "resources": ["services"], "verbs": ["list"] },
        ]))
        .unwrap();
        let user = Limited::create(at.cluster(), at.namespace(), "visitor", &rules).await;
        at.baseline().await;
        let command = exchange(at, &local).await;
        let config = at.config().kubeconfig(user.kubeconfig());
        let now = kubetether::status(&config, StatusOptions::new().patience(std::time::Duration::ZERO))
            .await
            .good();
        assert_eq!(now.services.len(), 1, "{now:#?}");
        assert_eq!((&now.services[0].condition, now.services[0].life), (&Condition::Unknown, Life::Unknown));
        for what in ["leases", "deployments", "jobs"] {
            let told = now.unseen.iter().find(|unseen| unseen.what.starts_with(what));
            let told = told.unwrap_or_else(|| panic!("{what} are not among {:#?}", now.unseen));
            assert!(told.why.contains("forbidden"), "{told:#?}");
        }
        command.signal("KILL").await;
        command.ended().await;
        hurry(at).await;
        dead(at).await;
        told(at, &["clean"], "clean").await;
    });
}
