//! A user with few rights: exactly those that README prints are enough, and a missing one is named.

use k8s_openapi::api::rbac::v1::PolicyRule;
use kubetether::{Condition, Config, ErrorCode, Event, Life, Result, Session, StatusOptions, To};
use kubetether_tests::{
    App, CLOSE, CLUSTER, Command, LOCAL, LONG, Limited, Local, Outcome, Scenario, nothing_of_ours,
    role_of_readme, scenario, sweep,
};
use serde_json::json;

use crate::care::{dead, exchange, hurry, told};

fn config(at: &Scenario, user: &Limited) -> Config {
    at.config().kubeconfig(user.kubeconfig())
}

/// Rights whose lack is told before anything is changed: by an exchange, or by a forward for those that only
/// a gateway needs. The others are needed later, or for more than this: to take things away (`delete`), to see
/// others' changes (`list` and `watch` of services), to renew a Lease, to forward to a pod by its name.
const TOLD: [(&str, &str); 13] = [
    ("create", "leases"),
    ("get", "services"),
    ("create", "services"),
    ("patch", "services"),
    ("list", "pods"),
    ("watch", "pods"),
    // Kubernetes before 1.35 does not ask for `create`.
    ("get", "pods/portforward"),
    ("get", "configmaps"),
    ("create", "configmaps"),
    ("patch", "configmaps"),
    ("create", "deployments"),
    ("get", "jobs"),
    ("create", "jobs"),
];

/// What a user meets who lacks a right.
async fn meet(config: Config, resource: &str, port: u16) -> Result<()> {
    let session = Session::start(config).await?;
    let met = match resource {
        "jobs" => session.forward("orders:80").await.map(drop),
        _ => session.exchange("orders", To::port(port)).await.map(drop),
    };
    session.close(CLOSE).await.good();
    met
}

#[test]
fn the_rights_we_print_are_enough() {
    scenario("rights-enough", async |at| {
        let client = at.shop(&App::orders()).await;
        let user = Limited::create(at.cluster(), at.namespace(), "developer", &role_of_readme()).await;
        at.baseline().await;
        let local = Local::http();
        let session = Session::start(config(at, &user)).await.good();
        let exchange = session.exchange("orders", To::port(local.port())).await.good();
        assert_eq!(client.who("http://orders/").await, LOCAL);
        let forward = session.forward("deploy/orders:8080").await.good();
        let here = kubetether_tests::Client::here();
        assert_eq!(here.who(&format!("http://{}/", forward.address())).await, CLUSTER);
        exchange.close(CLOSE).await.good();
        session.close(CLOSE).await.good();
    });
}

#[test]
fn a_missing_right_is_named() {
    scenario("rights-missing", async |at| {
        let client = at.shop(&App::orders()).await;
        let local = Local::http();
        let mut wrong = Vec::new();
        for (number, (verb, resource)) in TOLD.into_iter().enumerate() {
            let user = format!("developer-{number}");
            let user =
                Limited::create(at.cluster(), at.namespace(), &user, &all_but(&[verb], resource)).await;
            let met = meet(config(at, &user), resource, local.port()).await;
            // The cluster's own words.
            let right = format!("cannot {verb} resource \"{resource}\"");
            match met {
                Err(error) if error.code() == ErrorCode::Forbidden && error.to_string().contains(&right) => {}
                Err(error) => {
                    wrong.push(format!(
                        "without {verb} {resource}: {} {}",
                        error.code().as_str(),
                        error.report()
                    ));
                }
                Ok(()) => wrong.push(format!("without {verb} {resource}: it works")),
            }
            if let Err(left) = nothing_of_ours(at.cluster().client(), at.namespace().name()).await {
                wrong.push(format!("without {verb} {resource}: {left}"));
                sweep(at).await;
            }
            assert_eq!(client.who("http://orders/").await, CLUSTER, "without {verb} {resource}");
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        at.baseline().await;
    });
}

/// The rights of README without some.
fn all_but(verbs: &[&str], resource: &str) -> Vec<PolicyRule> {
    let (mut rules, mut found) = (role_of_readme(), 0);
    for rule in &mut rules {
        if rule.resources.iter().flatten().any(|one| one == resource) {
            let before = rule.verbs.len();
            rule.verbs.retain(|one| !verbs.contains(&one.as_str()));
            found += before - rule.verbs.len();
        }
    }
    assert_eq!(found, verbs.len(), "README does not print {verbs:?} of {resource}");
    rules
}

#[test]
fn a_service_that_may_not_be_watched_is_looked_at() {
    scenario("rights-unwatched", async |at| {
        let client = at.shop(&App::orders()).await;
        let rules = all_but(&["list", "watch"], "services");
        let user = Limited::create(at.cluster(), at.namespace(), "unwatching", &rules).await;
        at.baseline().await;
        let local = Local::http();
        let session = Session::start(config(at, &user)).await.good();
        let mut events = session.events();
        let exchange = session.exchange("orders", To::port(local.port())).await.good();
        let told = async {
            while let Some(event) = events.next().await {
                if let Event::Notice { text, .. } = event
                    && text.contains("is forbidden: User")
                {
                    return;
                }
            }
            panic!("it is never told");
        };
        tokio::time::timeout(LONG, told).await.expect("it is not told");
        at.edit_service("orders", json!({ "selector": { "app": "orders" } })).await;
        at.taken_again("orders").await;
        assert_eq!(client.who("http://orders/").await, LOCAL);
        exchange.close(CLOSE).await.good();
        session.close(CLOSE).await.good();
    });
}

#[test]
fn a_stranger_is_told_so() {
    scenario("rights-none", async |at| {
        at.shop(&App::orders()).await;
        let user = Limited::create(at.cluster(), at.namespace(), "stranger", &[]).await;
        at.baseline().await;
        let refused = Session::start(config(at, &user)).await;
        refused.bad(ErrorCode::Forbidden, &["create", "leases", "stranger", at.namespace().name()]);

        let broken =
            std::fs::read_to_string(user.kubeconfig()).unwrap().replace("\"token\":\"", "\"token\":\"x");
        std::fs::write(user.kubeconfig(), broken).unwrap();
        let refused = Session::start(config(at, &user)).await;
        refused.bad(ErrorCode::Unauthorized, &["Unauthorized"]);
    });
}

#[test]
fn what_status_may_not_look_at_is_said() {
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
        let config = config(at, &user);
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
