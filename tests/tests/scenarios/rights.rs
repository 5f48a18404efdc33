//! A user with few rights: exactly those we print are enough, and a missing one is named.

use kubetether::{Config, ErrorCode, Result, Session, To};
use kubetether_tests::{
    App, CLOSE, CLUSTER, LOCAL, Limited, Local, Outcome, Rule, Scenario, nothing_of_ours, scenario, sweep,
};

/// The rights that README prints. Whoever changes one changes the other.
const NEEDED: [Rule; 11] = [
    ("", "services", &["get", "list", "watch", "create", "patch", "delete"]),
    ("", "pods", &["get", "list", "watch"]),
    ("", "pods/portforward", &["get", "create"]),
    ("", "pods/log", &["get"]),
    ("", "events", &["list"]),
    ("", "configmaps", &["get", "create", "patch", "delete"]),
    ("apps", "deployments", &["get", "list", "watch", "create", "delete"]),
    ("apps", "replicasets", &["get", "list"]),
    ("batch", "jobs", &["get", "list", "watch", "create", "delete"]),
    ("coordination.k8s.io", "leases", &["get", "create", "patch", "delete"]),
    ("", "endpoints", &["get"]),
];

/// Rights whose lack is told at the start, before anything is changed.
const TOLD: [(&str, &str); 8] = [
    ("create", "leases"),
    ("get", "services"),
    ("create", "services"),
    ("patch", "services"),
    ("list", "pods"),
    ("create", "configmaps"),
    ("create", "deployments"),
    // Kubernetes before 1.35 asks for nothing else.
    ("get", "pods/portforward"),
];

fn config(at: &Scenario, user: &Limited) -> Config {
    at.config().kubeconfig(user.kubeconfig())
}

async fn exchange(config: Config, port: u16) -> Result<()> {
    let session = Session::start(config).await?;
    let exchange = session.exchange("orders", To::port(port)).await.map(drop);
    session.close(CLOSE).await?;
    exchange
}

#[test]
fn the_rights_we_print_are_enough() {
    scenario("rights-enough", async |at| {
        let client = at.shop(&App::orders()).await;
        let user = Limited::create(at.cluster(), at.namespace(), "developer", &NEEDED).await;
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
            let user = Limited::create(at.cluster(), at.namespace(), &user, &all_but(verb, resource)).await;
            let refused = exchange(config(at, &user), local.port()).await;
            // The cluster's own words.
            let kind = resource.split('/').next().unwrap_or_default();
            let words = [verb, kind, "is forbidden: User", at.namespace().name()];
            match refused {
                Err(error)
                    if error.code() == ErrorCode::Forbidden
                        && words.iter().all(|word| error.report().contains(word)) => {}
                Err(error) => wrong.push(format!(
                    "without {verb} {resource}: {} {}",
                    error.code().as_str(),
                    error.report()
                )),
                Ok(()) => wrong.push(format!("without {verb} {resource}: it works")),
            }
            assert_eq!(client.who("http://orders/").await, CLUSTER, "without {verb} {resource}");
            if let Err(left) = nothing_of_ours(at.cluster().client(), at.namespace().name()).await {
                wrong.push(format!("without {verb} {resource}: {left}"));
                sweep(at).await;
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        at.baseline().await;
    });
}

/// Those that are needed, without one.
fn all_but(verb: &str, resource: &str) -> Vec<Rule> {
    let mut rules = NEEDED.to_vec();
    for rule in &mut rules {
        if rule.1 == resource {
            let verbs: Vec<&'static str> = rule.2.iter().copied().filter(|one| *one != verb).collect();
            // A handful of words in a test.
            rule.2 = verbs.leak();
        }
    }
    rules
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
