//! The interceptor's pod goes away while it is needed.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams};
use kubetether::{HandleState, To};
use kubetether_tests::{App, CLOSE, CLUSTER, LOCAL, LONG, Local, Outcome, Report, Scenario, scenario};

/// Nothing that asks may go unanswered for longer than this, whatever happens to the interceptor.
const LONGEST_GAP: Duration = Duration::from_secs(10);

#[test]
fn deleted() {
    scenario("agent-deleted", async |at| {
        let report = kill(at, DeleteParams::default()).await;
        assert!(report.of(CLUSTER) > 0, "the originals answer meanwhile: {report}");
        assert!(report.lost().is_empty(), "a pod that is asked to go loses nothing: {report}");
    });
}

#[test]
fn force_deleted() {
    scenario("agent-forced", async |at| {
        let report = kill(at, DeleteParams::default().grace_period(0)).await;
        assert!(report.longest_gap() < LONGEST_GAP, "{report}");
    });
}

/// Deletes the interceptor's pod under load; the exchange comes back by itself. What callers met from then on.
async fn kill(at: &Scenario, how: DeleteParams) -> Report {
    let client = at.shop(&App::orders()).await;
    let local = Local::http();
    let session = at.session().await;
    let exchange = session.exchange("orders", To::port(local.port())).await.good();
    let mut states = exchange.states();
    let asker = client.ask("http://orders/", 20).await;
    asker.answered_by(LOCAL, asker.mark().await, 10).await;

    let pods = at.namespace().api::<Pod>();
    let ours = ListParams::default().labels("app.kubernetes.io/managed-by=kubetether");
    let found = pods.list(&ours).await.unwrap();
    assert_eq!(found.items.len(), 1, "one interceptor and no gateway");
    let name = found.items[0].metadata.name.clone().unwrap();
    let killed = asker.mark().await;
    pods.delete(&name, &how).await.unwrap();

    let away = states.wait_for(|state| matches!(state, HandleState::PassThrough(_)));
    tokio::time::timeout(LONG, away).await.expect("the handle never tells that it passes through").unwrap();
    let back = states.wait_for(|state| *state == HandleState::Active);
    tokio::time::timeout(LONG, back).await.expect("the exchange does not come back").unwrap();
    let settled = asker.answered_by(LOCAL, asker.mark().await, 50).await;

    exchange.close(CLOSE).await.good();
    asker.answered_by(CLUSTER, asker.mark().await, 10).await;
    session.close(CLOSE).await.good();
    let whole = asker.stop().await;
    assert!(whole.from(settled).lost().is_empty(), "nothing is lost once it is back: {whole}");
    whole.from(killed)
}
