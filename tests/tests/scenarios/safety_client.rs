//! The client dies without a word: its callers are with the original pods within ten seconds whatever its rights, and
//! what is left goes by itself where they allow it, with the next sweep otherwise.

use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use kubetether::{Session, To};
use kubetether_tests::{
    App, CLOSE, CLUSTER, Command, LOCAL, LONG, Level, Local, Outcome, Scenario, Security, Steady, eventually,
    scenario_within,
};

use serde_json::json;

/// Dead client to original answers, without a human.
const PROMISE: Duration = Duration::from_secs(10);
/// Instead of a minute, for the scenario's sake.
const GRACE: &str = "5";
/// Grace, the Lease's whole duration watched, and pods that end in good order on a busy machine.
const BY_ITSELF: Duration = Duration::from_secs(180);

/// What the death of a client at this level leaves to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    Nothing,
    Sweep,
}

fn dies(name: &str, level: Level, client: &'static str, interceptor: &'static str, after: After) {
    Command::prepare();
    scenario_within(2 * BY_ITSELF, Security::Privileged, name, async |at| {
        let asking = at.shop(&App::orders().replicas(2)).await;
        let user = level.user(at).await;
        let local = Local::http();
        let port = local.port().to_string();
        let namespace = at.namespace().name();
        let args = ["--namespace", namespace, "--grace", GRACE, "exchange", "orders", "--to", &port];
        let mut command = Command::start_with(user.kubeconfig(), &args);
        command.told("exchange").await;
        let mut safety = command
            .heard("safety")
            .unwrap_or_else(|| json!({ "client": "passes_through", "interceptor": "replaced" }));
        while safety["interceptor"] != interceptor {
            safety = command.told("safety").await;
        }
        assert_eq!(safety["client"], client, "{safety}");
        let mut steady = Steady::start(at, &asking, "http://orders/").await;
        steady.settled(LOCAL).await;

        steady.event("killed").await;
        command.signal("KILL").await;
        command.ended().await;
        steady.settled(CLUSTER).await;
        match after {
            After::Nothing => {
                steady.event("alone").await;
                at.cleaned_up(BY_ITSELF).await;
            }
            After::Sweep => {
                still_passes_through(at).await;
                steady.event("swept").await;
                let sweep = ["--namespace", namespace, "clean"];
                let swept = Command::start_with(user.kubeconfig(), &sweep).ended().await;
                assert_eq!(swept.code, Some(0), "{swept:#?}");
                at.cleaned_up(LONG).await;
            }
        }
        steady.settled_now(CLUSTER).await;
        let counts = steady.finish().await;
        let killed = counts.of("killed");
        assert!(killed.longest_gap() < PROMISE, "{killed}");
        assert_eq!(killed.of(LOCAL) + killed.of(CLUSTER) + killed.lost().len(), killed.answers.len());
        let then = counts.of(if after == After::Nothing { "alone" } else { "swept" });
        assert!(then.lost().is_empty(), "nobody notices that it is put back: {then}");
    });
}

/// The Service is taken still: nobody has the right to put it back but a user.
async fn still_passes_through(at: &Scenario) {
    let services = at.namespace().api::<Service>();
    eventually("the Service", LONG, async || {
        let service = services.get("orders").await.map_err(|error| error.to_string())?;
        let taken =
            service.metadata.annotations.is_some_and(|all| all.contains_key("kubetether.dev/exchange"));
        if taken { Ok(()) } else { Err("it was put back".to_owned()) }
    })
    .await;
}

#[test]
fn of_an_editor_from_whom_another_one_takes_over() {
    Command::prepare();
    scenario_within(2 * BY_ITSELF, Security::Privileged, "dies-taken-over", async |at| {
        let asking = at.shop(&App::orders()).await;
        let user = Level::Edit.user(at).await;
        let local = Local::http();
        let port = local.port().to_string();
        let args = ["--namespace", at.namespace().name(), "exchange", "orders", "--to", &port];
        let mut command = Command::start_with(user.kubeconfig(), &args);
        command.told("exchange").await;
        while command.told("safety").await["interceptor"] != "two_interceptors" {}
        command.signal("KILL").await;
        command.ended().await;

        // Nobody sweeps: what takes the Service over takes both interceptors of the dead one away.
        let session = Session::start(at.config().kubeconfig(user.kubeconfig())).await.good();
        let exchange = session.exchange("orders", To::port(local.port())).await.good();
        assert_eq!(asking.who("http://orders/").await, LOCAL);
        exchange.close(CLOSE).await.good();
        session.close(CLOSE).await.good();
        at.cleaned_up(LONG).await;
        assert_eq!(asking.who("http://orders/").await, CLUSTER);
    });
}

#[test]
fn of_a_cluster_admin() {
    dies("dies-cluster-admin", Level::ClusterAdmin, "restored", "fallback_slice", After::Nothing);
}

#[test]
fn of_an_admin() {
    dies("dies-admin", Level::Admin, "restored", "two_interceptors", After::Nothing);
}

#[test]
fn of_an_editor() {
    dies("dies-edit", Level::Edit, "passes_through", "two_interceptors", After::Sweep);
}

#[test]
fn of_a_user_with_the_smallest_role() {
    dies("dies-smallest", Level::Smallest, "passes_through", "replaced", After::Sweep);
}
