//! The API server answers 429 and 500.

use std::time::{Duration, Instant};

use http::Method;
use kubetether_tests::proxy::{Asked, Cut, Fault, of};
use kubetether_tests::{LONG, Plan, Scene, eventually, under_traffic, under_traffic_with, within_limit};

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

/// One link with one carrier: it waits each time before it asks again.
#[test]
fn that_say_when_to_come_again_are_heeded() {
    const WAIT: u32 = 3;
    let settings = |config: kubetether::Config| config.carriers(1).most_carriers(1);
    under_traffic_with("retry-after", Plan::quiet().idle(20), settings, async |scene| {
        let requests = scene.proxy.requests();
        let to_the_gateway = |asked: &Asked| {
            asked.resource() == "pods/portforward" && asked.path().contains("/kubetether-gateway-")
        };
        requests.fault(Fault::TooManyRequests(WAIT), 1, to_the_gateway);
        let before = requests.counts();
        let began = Instant::now();
        assert!(scene.proxy.wire().cut(Cut::Upgraded) >= 2);
        let mut times = Vec::new();
        eventually("three refusals", LONG, async || {
            let faults = requests.counts().since(&before).faults;
            while u64::try_from(times.len()).unwrap() < faults {
                times.push(began.elapsed());
            }
            if faults >= 3 { Ok(()) } else { Err(format!("{faults} refusals")) }
        })
        .await;
        // The third comes after two waits, whoever is how busy.
        assert!(times[2] >= 2 * WAIT * SECOND, "asked at {times:?}");
        requests.no_faults();
        scene.moves_on().await;
    });
}
