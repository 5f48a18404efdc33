//! What lets only WebSockets through.

use kubetether_tests::proxy::{Asked, Cut, Fault, Proxy};
use kubetether_tests::{Plan, Scene, under_traffic, within_limit};

#[test]
fn none_is_asked_for_where_spdy_does() {
    under_traffic("spdy", Plan::quiet().idle(20), async |scene| {
        let requests = scene.proxy.requests();
        requests.fault(Fault::BadRequest, 1, |asked| carries(asked, "websocket"));
        scene.proxy.wire().cut(Cut::Upgraded);
        scene.moves_on().await;
        assert_eq!(requests.counts().faults, 0, "{:?}", requests.counts());
    });
}

#[test]
fn is_found_out_once() {
    within_limit("websockets", async |at| {
        let behind = |proxy: &Proxy| {
            proxy.requests().fault(Fault::BadRequest, 1, |asked| carries(asked, "SPDY/3.1"));
        };
        let scene = Scene::start_behind(at, Plan::quiet().idle(20), |config| config, behind).await;
        let before = scene.proxy.requests().counts();
        assert!(before.faults > 0, "{before:?}");
        assert!(scene.proxy.wire().cut(Cut::Upgraded) >= 2);
        scene.moves_on().await;
        let since = scene.proxy.requests().counts().since(&before);
        assert_eq!(since.faults, 0, "{since:?}");
        scene.finish().await;
    });
}

fn carries(asked: &Asked, protocol: &str) -> bool {
    asked.resource() == "pods/portforward" && asked.upgrades_to(protocol)
}
