//! `link.*.rtt*`: bulk to an API server that is far away, and the memory that it takes. A raw port-forward by the same ways
//! tells what is not the link's: the delaying proxy and what it holds share the machine, and a run waits for its first byte.

use std::time::Duration;

use kubetether_tests::proxy::{Proxy, RawProxy};

use super::lane::{Direction, Lane, together};
use super::place::{Forward, PORTS, Place, beside};
use super::raw::Raw;
use crate::RUNS;
use crate::figure::{Aim, Figure, Spread};
use crate::wanted::Wanted;

/// Bytes of one run: a few seconds' worth, since the first second on a long line is spent on getting to know it.
const BYTES: u64 = 600_000_000;

/// Round trips in milliseconds. Each has a link of its own, so that none is measured on what another one found.
const ROUND_TRIPS: [u64; 3] = [0, 20, 100];

const MIB: u64 = 1024 * 1024;

/// The memory that either end may take for it beside what it has when idle.
const MEMORY: u64 = 64 * MIB;

pub(crate) fn measure(wanted: &Wanted) -> Vec<Figure> {
    let mut figures = Vec::new();
    beside("bench-link-far", async |place| figures = far(place, wanted).await);
    figures
}

async fn far(place: &Place<'_>, wanted: &Wanted) -> Vec<Figure> {
    let mut ways = Vec::new();
    for time in ROUND_TRIPS {
        ways.push(Way::open(place, Duration::from_millis(time)).await);
    }
    let agent = place.gateway().await;
    let [near, some, most] = &mut ways[..] else { unreachable!("as many ways as round trips") };

    let seen = rates(near, some, most, Way::carry);
    let agent = place.gateway().await.peak_kib - agent.rss_kib;
    let client = ways.iter().map(Way::taken_kib).max().unwrap_or_default();
    // Not in turns with the link, which would forget the line in the longer pauses.
    let [near, some, most] = &mut ways[..] else { unreachable!("as many ways as round trips") };
    let raw = rates(near, some, most, Way::carry_raw);
    for way in ways {
        way.end().await;
    }

    let [down, down20, down100, up, up100] = seen.map(Spread::of);
    let [raw, raw20, raw100, raw_up, raw_up100] = raw.map(Spread::of);
    let share = |id, rate, near, aim| Figure::share(id, "MB/s", rate, near, "no delay", aim);
    let all = vec![
        share("link.down.rtt20", down20, down, Aim::AtLeast(0.8)),
        share("link.down.rtt20.raw", raw20, raw, Aim::Nothing),
        share("link.down.rtt100", down100, down, Aim::AtLeast(0.8)),
        share("link.down.rtt100.raw", raw100, raw, Aim::Nothing),
        share("link.up.rtt100", up100, up, Aim::AtLeast(0.8)),
        share("link.up.rtt100.raw", raw_up100, raw_up, Aim::Nothing),
        Figure::bytes("link.rtt.memory.client", client * 1024, Some(MEMORY)),
        Figure::bytes("link.rtt.memory.agent", agent * 1024, Some(MEMORY)),
    ];
    all.into_iter().filter(|figure| wanted.has(figure.id)).collect()
}

/// MB/s down by the three ways, and up by the first and the last.
fn rates(
    near: &mut Way,
    some: &mut Way,
    most: &mut Way,
    carry: impl Fn(&mut Way, Direction) -> f64,
) -> [Vec<f64>; 5] {
    let mut seen: [Vec<f64>; 5] = Default::default();
    for run in 0..=RUNS {
        let rates = [
            carry(near, Direction::Down),
            carry(some, Direction::Down),
            carry(most, Direction::Down),
            carry(near, Direction::Up),
            carry(most, Direction::Up),
        ];
        // The first one warms everything up.
        if run > 0 {
            seen.iter_mut().zip(rates).for_each(|(seen, rate)| seen.push(rate));
        }
    }
    seen
}

/// A command and a raw port-forward, their way to the API server, and a connection through each.
struct Way {
    proxy: RawProxy,
    forward: Forward,
    lane: Vec<Lane>,
    _raw: Raw,
    beside: Vec<Lane>,
    idle_kib: u64,
}

impl Way {
    async fn open(place: &Place<'_>, round_trip: Duration) -> Self {
        let proxy = Proxy::tcp(place.kubeconfig()).await;
        let proxy = proxy.unwrap_or_else(|error| panic!("the proxy: {error}"));
        proxy.wire().round_trip(round_trip);
        let forward = place.forward_by(&proxy.kubeconfig()).await;
        let lane = tokio::task::block_in_place(|| vec![Lane::open(forward.bytes())]);
        let raw = Raw::start(&proxy.kubeconfig(), place.namespace(), &place.pod, &PORTS).await;
        let beside = tokio::task::block_in_place(|| vec![Lane::open(raw.address(0))]);
        let idle_kib = forward.held().rss_kib;
        Self { proxy, forward, lane, _raw: raw, beside, idle_kib }
    }

    fn carry(&mut self, direction: Direction) -> f64 {
        together(&mut self.lane, direction, BYTES)
    }

    fn carry_raw(&mut self, direction: Direction) -> f64 {
        together(&mut self.beside, direction, BYTES)
    }

    /// The most that the command had beyond what it has when idle.
    fn taken_kib(&self) -> u64 {
        self.forward.held().peak_kib - self.idle_kib
    }

    async fn end(self) {
        drop((self.lane, self.beside));
        self.forward.end().await;
        self.proxy.close().await;
    }
}
