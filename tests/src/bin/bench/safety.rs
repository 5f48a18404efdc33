//! `restore.*`, `interceptor.*`: what callers lose, at 200 requests a second, when a client or an interceptor dies.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, EvictParams, ListParams};
use kubetether::{Session, To};
use kubetether_tests::{
    App, CLOSE, CLUSTER, Client, Command, LOCAL, Level, Local, Outcome, Report, Scenario, User, scenario,
    sweep,
};

use crate::RUNS;
use crate::figure::Figure;

/// Between two requests, in milliseconds.
const EVERY: u32 = 5;
/// Answers in a row after which a change is over for a caller.
const SETTLED: usize = 50;

/// `restore.*`
pub(crate) fn client() -> Vec<Figure> {
    Command::prepare();
    let mut figures = Vec::new();
    let mut lost = Vec::new();
    // With the slice it is to take less than a second.
    for (id, level, most) in [
        ("restore.dead_client.cluster_admin", Level::ClusterAdmin, 1.0),
        ("restore.dead_client.admin", Level::Admin, 10.0),
        ("restore.dead_client.edit", Level::Edit, 10.0),
        ("restore.dead_client.smallest", Level::Smallest, 10.0),
    ] {
        let mut gaps = Vec::new();
        scenario("bench-restore", async |at| {
            let client = at.shop(&App::orders().replicas(2)).await;
            let user = level.user(at).await;
            for _ in 0..RUNS {
                let report = dead_client(at, &client, &user).await;
                gaps.push(report.longest_gap());
                lost.push(report.lost().len());
            }
        });
        figures.push(Figure::seconds(id, gaps, Some(most)));
    }
    figures.push(Figure::lost("restore.lost", &lost));
    figures
}

/// `interceptor.*`
pub(crate) fn interceptors() -> Vec<Figure> {
    let mut figures = Vec::new();
    for (id, fate) in [("interceptor.killed.lost", Fate::Killed), ("interceptor.evicted.lost", Fate::Evicted)]
    {
        let mut lost = Vec::new();
        scenario("bench-interceptor", async |at| {
            let client = at.shop(&App::orders().replicas(2)).await;
            for _ in 0..RUNS {
                lost.push(interceptor(at, &client, fate).await.lost().len());
            }
        });
        figures.push(Figure::lost(id, &lost));
    }
    figures
}

/// What callers met from the kill on until the originals answer.
async fn dead_client(at: &Scenario, client: &Client, user: &User) -> Report {
    let (local, namespace) = (Local::http(), at.namespace().name());
    let port = local.port().to_string();
    let args = ["--namespace", namespace, "exchange", "orders", "--to", &port];
    let mut command = Command::start_with(user.kubeconfig(), &args);
    command.told("exchange").await;
    let asker = client.ask("http://orders/", EVERY).await;
    asker.answered_by(LOCAL, asker.mark().await, SETTLED).await;
    let killed = asker.mark().await;
    command.signal("KILL").await;
    command.ended().await;
    asker.answered_by(CLUSTER, killed, SETTLED).await;
    let report = asker.stop().await.from(killed);
    sweep(at).await;
    report
}

#[derive(Clone, Copy, Debug)]
enum Fate {
    Killed,
    Evicted,
}

/// What callers met from the fate of the interceptor on until this machine answers again.
async fn interceptor(at: &Scenario, client: &Client, fate: Fate) -> Report {
    let pods = at.namespace().api::<Pod>();
    let local = Local::http();
    let session = Session::start(at.config()).await.good();
    let exchange = session.exchange("orders", To::port(local.port())).await.good();
    let asker = client.ask("http://orders/", EVERY).await;
    asker.answered_by(LOCAL, asker.mark().await, SETTLED).await;
    let ours = ListParams::default().labels("kubetether.dev/role=interceptor");
    let found = pods.list(&ours).await.unwrap_or_else(|error| panic!("pods: {error}"));
    let name = found.items.first().and_then(|pod| pod.metadata.name.clone()).unwrap_or_default();
    let gone = asker.mark().await;
    let done = match fate {
        Fate::Killed => pods.delete(&name, &DeleteParams::default().grace_period(0)).await.map(drop),
        Fate::Evicted => pods.evict(&name, &EvictParams::default()).await.map(drop),
    };
    done.unwrap_or_else(|error| panic!("{name}: {error}"));
    asker.answered_by(CLUSTER, gone, 1).await;
    asker.answered_by(LOCAL, asker.mark().await, SETTLED).await;
    exchange.close(CLOSE).await.good();
    session.close(CLOSE).await.good();
    asker.stop().await.from(gone)
}
