//! `link.*.rtt*`: bulk to an API server that is far away, and the memory that it takes.

use std::time::Duration;

use kubetether_tests::proxy::Proxy;

use super::lane::{Direction, Lane, together};
use super::place::{Place, beside};
use crate::RUNS;
use crate::figure::{Aim, Figure, Spread};
use crate::wanted::Wanted;

/// Bytes of one run.
const BYTES: u64 = 400_000_000;

const MIB: u64 = 1024 * 1024;

/// The memory that either end may take for it beside what it has when idle.
const MEMORY: u64 = 64 * MIB;

pub(crate) fn measure(wanted: &Wanted) -> Vec<Figure> {
    let mut figures = Vec::new();
    beside("bench-link-far", async |place| figures = far(place, wanted).await);
    figures
}

async fn far(place: &Place<'_>, wanted: &Wanted) -> Vec<Figure> {
    let proxy = Proxy::tcp(place.kubeconfig()).await;
    let proxy = proxy.unwrap_or_else(|error| panic!("the proxy: {error}"));
    let forward = place.forward_by(&proxy.kubeconfig()).await;
    let mut lane = tokio::task::block_in_place(|| vec![Lane::open(forward.bytes())]);
    let (client, agent) = (forward.held(), place.gateway().await);

    let courses = [
        ("link.down.rtt0", Direction::Down, 0),
        ("link.down.rtt20", Direction::Down, 20),
        ("link.down.rtt100", Direction::Down, 100),
        ("link.up.rtt0", Direction::Up, 0),
        ("link.up.rtt100", Direction::Up, 100),
    ];
    let mut seen: [Vec<f64>; 5] = Default::default();
    for run in 0..=RUNS {
        for ((_, direction, delay), seen) in courses.iter().zip(&mut seen) {
            proxy.wire().round_trip(Duration::from_millis(*delay));
            let rate = together(&mut lane, *direction, BYTES);
            // The first one warms everything up.
            if run > 0 {
                seen.push(rate);
            }
        }
    }
    proxy.wire().round_trip(Duration::ZERO);
    let client = (forward.held().peak_kib - client.rss_kib) * 1024;
    let agent = (place.gateway().await.peak_kib - agent.rss_kib) * 1024;
    drop(lane);
    forward.end().await;
    proxy.close().await;

    let [down, down20, down100, up, up100] = seen.map(Spread::of);
    let share = |id, rate, near| Figure::share(id, "MB/s", rate, near, "no delay", Aim::AtLeast(0.8));
    let all = vec![
        share("link.down.rtt20", down20, down),
        share("link.down.rtt100", down100, down),
        share("link.up.rtt100", up100, up),
        Figure::bytes("link.rtt.memory.client", client, Some(MEMORY)),
        Figure::bytes("link.rtt.memory.agent", agent, Some(MEMORY)),
    ];
    all.into_iter().filter(|figure| wanted.has(figure.id)).collect()
}
