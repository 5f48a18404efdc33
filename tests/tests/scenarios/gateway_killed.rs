//! The gateway's pod goes away while a forward rests on it.

use std::time::Duration;

use kubetether::{HandleState, Session};
use kubetether_tests::{
    App, CLOSE, CLUSTER, Client, Death, LONG, Outcome, Report, Scenario, Steady, steadily,
};

/// Nothing that asks may go unanswered for longer than this, whatever happens to the gateway.
const LONGEST_GAP: Duration = Duration::from_secs(15);

#[test]
fn deleted() {
    steadily("gateway-deleted", async |at| {
        let report = kill(at, Death::Deleted).await;
        assert!(report.lost().is_empty(), "a pod that is asked to go loses nothing: {report}");
    });
}

#[test]
fn evicted() {
    steadily("gateway-evicted", async |at| {
        let report = kill(at, Death::Evicted).await;
        assert!(report.lost().is_empty(), "a pod that is asked to go loses nothing: {report}");
    });
}

#[test]
fn force_deleted() {
    steadily("gateway-forced", async |at| {
        let report = kill(at, Death::ForceDeleted).await;
        assert!(report.longest_gap() < LONGEST_GAP, "{report}");
    });
}

#[test]
fn out_of_memory() {
    steadily("gateway-oom", async |at| {
        let report = kill(at, Death::OutOfMemory).await;
        assert!(report.longest_gap() < LONGEST_GAP, "{report}");
    });
}

/// The gateway's pod dies under load; the forward comes back by itself. What callers met from then on.
async fn kill(at: &Scenario, how: Death) -> Report {
    at.shop(&App::orders()).await;
    let session = Session::start(at.config().agent_memory(Death::MEMORY)).await.good();
    let forward = session.forward("orders:80").await.good();
    let mut states = forward.states();
    let mut steady = Steady::start(at, &Client::here(), &format!("http://{}/", forward.address())).await;
    steady.settled(CLUSTER).await;

    steady.event("killed").await;
    let states = async {
        let away = states.wait_for(HandleState::is_disturbed);
        // A gateway whose successor is there before it goes is never missed.
        let _ = tokio::time::timeout(LONGEST_GAP, away).await;
        let back = states.wait_for(|state| *state == HandleState::Active);
        drop(tokio::time::timeout(LONG, back).await.expect("the forward does not come back").unwrap());
    };
    tokio::join!(how.of(at, "gateway"), states);
    steady.settled_now(CLUSTER).await;

    steady.event("back").await;
    steady.settled(CLUSTER).await;
    let counts = steady.finish().await;
    session.close(CLOSE).await.good();
    counts.none_lost_but(&["killed"]);
    counts.of("killed").clone()
}
