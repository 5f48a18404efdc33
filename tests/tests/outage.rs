//! What the link withstands when parts of the cluster itself die. A program of its own, one scenario at a time: whoever
//! else uses the cluster meanwhile would notice. It needs a cluster of `make cluster`.

#![allow(clippy::unwrap_used, reason = "a scenario fails by panicking")]

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kubetether_tests::{Parts, Plan, Scene, under_traffic, within_limit};

/// How long a part is away.
const AWAY: Duration = Duration::from_secs(5);

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn without(scene: &Scene<'_>, part: &str) {
    scene.moves_on().await;
    Parts::of(scene.at.cluster()).restart(part, AWAY).await;
    scene.moves_on().await;
}

#[test]
fn the_api_server_is_killed_and_started_again() {
    let _alone = alone();
    under_traffic("apiserver", Plan::full(), async |scene| without(scene, "apiserver").await);
}

#[test]
fn the_kubelet_is_killed_and_started_again() {
    let _alone = alone();
    under_traffic("kubelet", Plan::full(), async |scene| without(scene, "kubelet").await);
}

/// The pods stay, and their network, so nobody learns of it but by the connections' end.
#[test]
fn agents_are_killed() {
    let _alone = alone();
    within_limit("agents-killed", async |at| {
        let scene = Scene::start(at, Scene::brief(), |config| config).await;
        let mut watch = scene.watch();
        let parts = Parts::of(at.cluster());
        for pod in scene.agents().await {
            parts.kill(&pod).await;
        }
        watch.disturbed().await;
        scene.ends_and_begins_anew(watch, true).await;
    });
}
