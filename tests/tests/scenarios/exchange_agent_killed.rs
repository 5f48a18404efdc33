//! The interceptor's pod goes away while it is needed.

use std::time::Duration;

use kubetether::{HandleState, Session, To};
use kubetether_tests::{
    App, CLOSE, CLUSTER, Death, LOCAL, LONG, Local, Outcome, Report, Scenario, Steady, steadily,
};

/// Nothing that asks may go unanswered for longer than this, whatever happens to the interceptor.
const LONGEST_GAP: Duration = Duration::from_secs(10);

#[test]
fn deleted() {
    steadily("agent-deleted", async |at| {
        let report = kill(at, Death::Deleted).await;
        assert!(report.of(CLUSTER) > 0, "the originals answer meanwhile: {report}");
        assert!(report.lost().is_empty(), "a pod that is asked to go loses nothing: {report}");
    });
}

#[test]
fn evicted() {
    steadily("agent-evicted", async |at| {
        let report = kill(at, Death::Evicted).await;
        assert!(report.of(CLUSTER) > 0, "the originals answer meanwhile: {report}");
        assert!(report.lost().is_empty(), "a pod that is asked to go loses nothing: {report}");
    });
}

#[test]
fn force_deleted() {
    steadily("agent-forced", async |at| {
        let report = kill(at, Death::ForceDeleted).await;
        assert!(report.longest_gap() < LONGEST_GAP, "{report}");
    });
}

#[test]
fn out_of_memory() {
    steadily("agent-oom", async |at| {
        let report = kill(at, Death::OutOfMemory).await;
        assert!(report.longest_gap() < LONGEST_GAP, "{report}");
    });
}

/// The interceptor's pod dies under load; the exchange comes back by itself. What callers met from then on.
async fn kill(at: &Scenario, how: Death) -> Report {
    let client = at.shop(&App::orders()).await;
    let local = Local::http();
    let session = Session::start(at.config().agent_memory(Death::MEMORY)).await.good();
    let mut steady = Steady::start(at, &client, "http://orders/").await;
    let exchange = session.exchange("orders", To::port(local.port())).await.good();
    let mut states = exchange.states();
    steady.settled_now(LOCAL).await;

    steady.event("killed").await;
    let death = how.of(at, "interceptor");
    let away = states.wait_for(|state| matches!(state, HandleState::PassThrough(_)));
    let away = async {
        let away = tokio::time::timeout(LONG, away).await;
        drop(away.expect("the handle never tells that it passes through").unwrap());
    };
    tokio::join!(death, away);
    let back = states.wait_for(|state| *state == HandleState::Active);
    tokio::time::timeout(LONG, back).await.expect("the exchange does not come back").unwrap();
    steady.settled_now(LOCAL).await;

    steady.event("back").await;
    steady.settled(LOCAL).await;
    exchange.close(CLOSE).await.good();
    steady.settled_now(CLUSTER).await;
    session.close(CLOSE).await.good();
    let counts = steady.finish().await;
    counts.none_lost_but(&["killed"]);
    counts.of("killed").clone()
}
