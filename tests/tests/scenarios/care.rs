//! What the scenarios of status, clean and recover share.

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{ListParams, Patch, PatchParams};
use kubetether::{Config, Life, Status, StatusOptions};
use kubetether_tests::{App, Client, Command, LOCAL, LONG, Local, Outcome, Scenario, eventually};
use serde_json::{Value, json};

/// A Service that a process of its own has exchanged.
pub(crate) async fn exchanged(at: &Scenario, local: &Local) -> (Client, Command) {
    let client = at.shop(&App::orders()).await;
    let command = exchange(at, local).await;
    assert_eq!(client.who("http://orders/").await, LOCAL);
    (client, command)
}

/// A process of its own exchanges it.
pub(crate) async fn exchange(at: &Scenario, local: &Local) -> Command {
    let port = local.port().to_string();
    let mut command = Command::start(at, &["exchange", "orders", "--to", &port]);
    command.told("exchange").await;
    command
}

/// The names of all Leases.
pub(crate) async fn leases(at: &Scenario) -> Vec<String> {
    let all = at.namespace().api::<Lease>().list(&ListParams::default()).await.unwrap();
    all.into_iter().filter_map(|lease| lease.metadata.name).collect()
}

/// Makes all Leases hold for ten seconds only, and writes times into them that are ten minutes off: neither those who
/// renew them nor those who watch them mind.
pub(crate) async fn hurry(at: &Scenario) {
    let spec = json!({ "spec": { "leaseDurationSeconds": 10, "renewTime": "2001-01-01T00:00:00.000000Z" } });
    for name in leases(at).await {
        let patched =
            at.namespace().api::<Lease>().patch(&name, &PatchParams::default(), &Patch::Merge(&spec)).await;
        patched.unwrap();
    }
}

/// How things stand, once it is known of each session whether it lives.
pub(crate) async fn status(config: &Config) -> Status {
    let status = kubetether::status(config, StatusOptions::new()).await.good();
    assert!(status.is_settled(), "{status:#?}");
    status
}

/// Waits until the one session that is there counts as dead.
pub(crate) async fn dead(at: &Scenario) {
    let status = status(&at.config()).await;
    assert_eq!(status.sessions.len(), 1, "{status:#?}");
    assert_eq!(status.sessions[0].life, Life::Dead, "{status:#?}");
}

/// Runs the command to its end; what it told of a type.
pub(crate) async fn told(at: &Scenario, args: &[&str], kind: &str) -> Value {
    let ended = Command::start(at, args).ended().await;
    assert_eq!(ended.code, Some(0), "{args:?}: {ended:#?}");
    let line = ended.told.iter().find(|line| line["type"] == kind);
    line.unwrap_or_else(|| panic!("{args:?} does not tell `{kind}`: {ended:#?}")).clone()
}

/// Waits until somebody answers.
pub(crate) async fn answers(client: &Client, who: &str) {
    eventually(format!("orders is answered by {who}"), LONG, async || {
        let now = client.who("http://orders/").await;
        if now == who { Ok(()) } else { Err(now) }
    })
    .await;
}
