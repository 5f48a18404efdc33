//! Agents go away, and a link stays away for longer than its grace period: connections end, and say so.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::DeleteParams;
use kubetether_tests::proxy::Scope;
use kubetether_tests::{CLOSE, Outcome, Plan, Scene, within_limit};

const SECOND: Duration = Duration::from_secs(1);

async fn delete_agents(scene: &Scene<'_>, how: DeleteParams) {
    let pods = scene.at.namespace().api::<Pod>();
    for pod in scene.agents().await {
        pods.delete(&pod.metadata.name.unwrap(), &how).await.unwrap();
    }
}

#[test]
fn pods_that_are_gone_at_once() {
    within_limit("agents-gone", async |at| {
        let scene = Scene::start(at, Scene::brief(), |config| config).await;
        let mut states = scene.watch();
        delete_agents(&scene, DeleteParams::default().grace_period(0)).await;
        states.disturbed().await;
        scene.ends_and_begins_anew(states, false).await;
    });
}

#[test]
fn links_that_stay_away_for_too_long() {
    const GRACE: u32 = 4;
    within_limit("beyond-grace", async |at| {
        let settings =
            |config: kubetether::Config| config.heartbeat(SECOND / 2, 2 * SECOND).grace(GRACE * SECOND);
        let scene = Scene::start(at, Scene::brief(), settings).await;
        let mut states = scene.watch();
        scene.proxy.wire().blackhole(Scope::All);
        states.disturbed().await;
        tokio::time::sleep((GRACE + 4) * SECOND).await;
        scene.proxy.wire().release();
        scene.ends_and_begins_anew(states, false).await;
    });
}

/// A pod that is asked to go serves what is open until it must end.
#[test]
fn pods_that_are_asked_to_go_cut_nobody_short() {
    within_limit("agents-drained", async |at| {
        let plan = Plan::quiet().bytes(4 << 20).rate(2 << 20).idle(20);
        let scene = Scene::start(at, plan, |config| config).await;
        delete_agents(&scene, DeleteParams::default()).await;
        scene.moves_on().await;
        scene.transferred(1).await;
        let Scene { session, out, into, .. } = scene;
        tokio::join!(out.finish(), into.finish());
        session.close(CLOSE).await.good();
    });
}
