//! Carriers are cut, as proxies and networks do.

use std::time::Duration;

use kubetether_tests::proxy::Cut;
use kubetether_tests::{Plan, eventually, under_traffic};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn all_at_once() {
    // As fast as it goes: all buffers are full.
    under_traffic("cut-once", Plan::full().rate(0), async |scene| {
        scene.moves_on().await;
        assert!(scene.proxy.wire().cut(Cut::Upgraded) >= 4, "two links of two carriers each");
        scene.moves_on().await;
        // Also what watches the cluster and renews the Lease.
        scene.proxy.wire().cut(Cut::All);
        scene.moves_on().await;
    });
}

#[test]
fn all_every_second() {
    under_traffic("cut-often", Plan::full(), async |scene| {
        scene.proxy.wire().cut_every(Some((SECOND, Cut::Upgraded)));
        scene.transferred(1).await;
        scene.proxy.wire().cut_every(None);
    });
}

#[test]
fn the_oldest_every_second() {
    under_traffic("cut-oldest", Plan::full(), async |scene| {
        scene.proxy.wire().cut_every(Some((SECOND, Cut::OneUpgraded)));
        scene.transferred(1).await;
        scene.proxy.wire().cut_every(None);
    });
}

/// As proxies do that let no connection grow old. Transfers are slow enough to be under way all the time.
#[test]
fn all_every_minute() {
    under_traffic("cut-minutely", Plan::full().rate(1536 * 1024), async |scene| {
        let cuts = scene.proxy.wire().cuts();
        scene.proxy.wire().cut_every(Some((60 * SECOND, Cut::All)));
        eventually("two cuts", 200 * SECOND, async || match scene.proxy.wire().cuts() - cuts {
            2.. => Ok(()),
            count => Err(count),
        })
        .await;
        scene.moves_on().await;
    });
}
