//! The API server answers 429 and 500.

use std::time::Duration;

use http::Method;
use kubetether_tests::proxy::{Asked, Cut, Fault, of};
use kubetether_tests::{Plan, Scene, under_traffic, within_limit};

const SECOND: Duration = Duration::from_secs(1);

/// What carriers are asked for by.
fn port_forwards() -> impl Fn(&Asked) -> bool + Send + Sync + 'static {
    of(Method::GET, "pods/portforward")
}

#[test]
fn to_a_share_of_all_requests() {
    within_limit("refusals", async |at| {
        let scene = Scene::start_behind(
            at,
            Plan::quiet().idle(20),
            |config| config,
            |proxy| {
                proxy.requests().fault(Fault::TooManyRequests(1), 4, |_| true);
                proxy.requests().fault(Fault::Internal, 4, |_| true);
            },
        );
        let scene = scene.await;
        assert!(scene.proxy.requests().counts().faults >= 6, "{:?}", scene.proxy.requests().counts());
        // The end is under them, too.
        scene.finish().await;
    });
}

#[test]
fn while_carriers_are_replaced() {
    under_traffic("refusals-carriers", Plan::full(), async |scene| {
        let requests = scene.proxy.requests();
        requests.fault(Fault::TooManyRequests(1), 2, port_forwards());
        requests.fault(Fault::Internal, 2, port_forwards());
        scene.proxy.wire().cut_every(Some((3 * SECOND, Cut::Upgraded)));
        scene.transferred(1).await;
        scene.proxy.wire().cut_every(None);
        requests.no_faults();
        assert!(requests.counts().faults > 0);
        scene.moves_on().await;
    });
}
