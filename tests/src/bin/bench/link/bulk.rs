//! `link.down.*`, `link.up.*` and `link.cpu.*`.

use kubetether_tests::{Held, of_process};

use super::kubectl::Kubectl;
use super::lane::{Direction, Lane, together};
use super::place::{Place, beside};
use super::raw::{Bare, Raw};
use crate::RUNS;
use crate::figure::{Aim, Figure, Spread};
use crate::wanted::Wanted;

/// Bytes of one run.
const BYTES: u64 = 400_000_000;

/// As many WebSockets as the link has carriers.
const CARRIERS: usize = 2;

const GB: f64 = 1e9;

pub(crate) fn measure(wanted: &Wanted) -> Vec<Figure> {
    let mut figures = Vec::new();
    beside("bench-link-bulk", async |place| {
        for (id, bare, direction, streams) in [
            ("link.down.1", "link.down.1.bare", Direction::Down, 1),
            ("link.up.1", "link.up.1.bare", Direction::Up, 1),
            ("link.down.8", "link.down.8.bare", Direction::Down, 8),
            ("link.up.8", "link.up.8.bare", Direction::Up, 8),
        ] {
            if wanted.has(id) {
                figures.extend(rates(place, id, bare, direction, streams).await);
            }
        }
        if wanted.has("link.cpu") {
            figures.extend(work(place).await);
        }
    });
    figures
}

/// The link and the raw loops take turns.
async fn rates(
    place: &Place<'_>,
    id: &'static str,
    bare_id: &'static str,
    direction: Direction,
    streams: usize,
) -> Vec<Figure> {
    let forward = place.forward().await;
    let (kubeconfig, namespace, pod) = (place.kubeconfig(), place.namespace(), place.pod.as_str());
    let raw = Raw::start(kubeconfig, namespace, pod, &super::place::PORTS).await;
    let mut bare_one = Bare::open(kubeconfig, namespace, pod, super::place::PORTS[0], 1).await;
    let mut bare_all = Bare::open(kubeconfig, namespace, pod, super::place::PORTS[0], CARRIERS).await;
    let open = |address, count| -> Vec<Lane> { (0..count).map(|_| Lane::open(address)).collect() };
    let mut link = tokio::task::block_in_place(|| open(forward.bytes(), streams));
    let mut one = tokio::task::block_in_place(|| open(raw.address(0), 1));
    let mut all = tokio::task::block_in_place(|| open(raw.address(0), CARRIERS));

    let mut seen: [Vec<f64>; 5] = Default::default();
    for run in 0..=RUNS {
        let rates = [
            together(&mut link, direction, BYTES),
            together(&mut one, direction, BYTES),
            together(&mut all, direction, BYTES),
            bare_one.carry(direction, BYTES).await,
            bare_all.carry(direction, BYTES).await,
        ];
        // The first one warms everything up.
        if run > 0 {
            seen.iter_mut().zip(rates).for_each(|(seen, rate)| seen.push(rate));
        }
    }
    drop((link, one, all));
    forward.end().await;
    let [link, one, all, bare_one, bare_all] = seen.map(Spread::of);
    let (raw, bare) = (one.better(all), bare_one.better(bare_all));
    vec![
        Figure::share(id, "MB/s", link, raw, "raw port-forward", Aim::AtLeast(0.9)),
        Figure::share(bare_id, "MB/s", link, bare, "raw loop without a local port", Aim::Nothing),
    ]
}

/// What processes work for a GB that goes through them, half of it each way.
async fn work(place: &Place<'_>) -> Vec<Figure> {
    let forward = place.forward().await;
    let kubectl =
        Kubectl::start(place.kubeconfig(), place.namespace(), &place.pod, super::place::PORTS[0]).await;
    let (mut link, mut other) = tokio::task::block_in_place(|| {
        (vec![Lane::open(forward.bytes())], vec![Lane::open(kubectl.address())])
    });
    let per_gb = |before: &Held, after: &Held| {
        (after.cpu_ms - before.cpu_ms) as f64 / 1000.0 / (2.0 * BYTES as f64 / GB)
    };
    let (mut client, mut agent, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for run in 0..=RUNS {
        let before = (forward.held(), place.gateway().await, of_process(kubectl.id()));
        for direction in [Direction::Down, Direction::Up] {
            together(&mut link, direction, BYTES);
            together(&mut other, direction, BYTES);
        }
        let after = (forward.held(), place.gateway().await, of_process(kubectl.id()));
        if run > 0 {
            client.push(per_gb(&before.0, &after.0));
            agent.push(per_gb(&before.1, &after.1));
            theirs.push(per_gb(&before.2, &after.2));
        }
    }
    drop((link, other));
    forward.end().await;
    let (client, agent, theirs) = (Spread::of(client), Spread::of(agent), Spread::of(theirs));
    let both = client.median + agent.median;
    vec![
        Figure::value("link.cpu.client", "CPU s/GB", client, Aim::Nothing),
        Figure::value("link.cpu.agent", "CPU s/GB", agent, Aim::Nothing),
        Figure::share(
            "link.cpu",
            "CPU s/GB",
            Spread::one(both),
            theirs,
            "kubectl's client",
            Aim::AtMost(1.0),
        ),
    ]
}
