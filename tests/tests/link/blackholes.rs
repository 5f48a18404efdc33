//! Nothing passes for a while, and nobody is told: a change of network, a firewall that forgets.

use std::time::Duration;

use kubetether_tests::proxy::Scope;
use kubetether_tests::{Plan, Scene, under_traffic};

/// Nothing passes for so long, and then again.
async fn blackhole(scene: &Scene<'_>, time: Duration) {
    scene.moves_on().await;
    scene.proxy.wire().blackhole(Scope::All);
    tokio::time::sleep(time).await;
    scene.proxy.wire().release();
    scene.moves_on().await;
}

/// Shorter than anybody notices.
#[test]
fn for_three_seconds() {
    under_traffic("blackhole-3", Plan::full().rate(0), async |scene| {
        blackhole(scene, Duration::from_secs(3)).await;
    });
}

/// Long enough that both ends have given up every carrier.
#[test]
fn for_thirty_seconds() {
    under_traffic("blackhole-30", Plan::full(), async |scene| {
        blackhole(scene, Duration::from_secs(30)).await;
    });
}
