//! `make soak`: all kinds of load for minutes, carriers cut all the while, and what both ends hold in the rests between.
//! Fails when a byte is lost or wrong, a connection drops, or memory or descriptors grow.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kubetether_tests::Held;
use kubetether_tests::proxy::{Cut, Proxy};

use crate::link::{Direction, Forward, Lane, Place, ask, beside_within, connect, get_once};

/// How long load lasts before a rest.
const ROUND: Duration = Duration::from_secs(10);

/// How long both ends rest before what they hold is read: acknowledgements, closed connections, buffers given back.
const REST: Duration = Duration::from_secs(3);

/// Between cuts of all carriers.
const CUTS: Duration = Duration::from_secs(3);

/// Bytes that go at once.
const BULK: u64 = 10_000_000;

/// What memory may differ by without growing.
const SLACK_KIB: u64 = 4 * 1024;

/// And descriptors: a carrier that is just being replaced.
const SLACK_DESCRIPTORS: u64 = 4;

/// Runs for so many minutes. Whether nothing grew.
pub(crate) fn run(minutes: u64) -> bool {
    let rounds = (minutes * 60 / (ROUND + REST).as_secs()).max(4);
    let mut steady = false;
    let limit = Duration::from_secs(minutes * 60 + 240);
    beside_within(limit, "soak", async |place| steady = soak(place, rounds).await);
    steady
}

async fn soak(place: &Place<'_>, rounds: u64) -> bool {
    let proxy = Proxy::tcp(place.kubeconfig()).await;
    let proxy = proxy.unwrap_or_else(|error| panic!("the proxy: {error}"));
    let forward = place.forward_by(&proxy.kubeconfig()).await;
    println!("round      MB  requests  connections    cuts  client KiB  fds   agent KiB  fds");
    let mut rests = Vec::new();
    let mut lanes = tokio::task::block_in_place(|| Lanes::open(&forward));
    for round in 1..=rounds {
        let accepted = proxy.wire().accepted();
        proxy.wire().cut_every(Some((CUTS, Cut::All)));
        let done = tokio::task::block_in_place(|| lanes.load(&forward));
        proxy.wire().cut_every(None);
        tokio::time::sleep(REST).await;
        let (client, agent) = (forward.held(), place.gateway().await);
        println!(
            "{round:>5} {:>7} {:>9} {:>12} {:>7} {:>11} {:>4} {:>11} {:>4}",
            done.bytes / 1_000_000,
            done.requests,
            done.connections,
            proxy.wire().accepted() - accepted,
            client.rss_kib,
            client.descriptors,
            agent.rss_kib,
            agent.descriptors,
        );
        rests.push((client, agent));
    }
    drop(lanes);
    forward.end().await;
    proxy.close().await;
    let (client, agent): (Vec<Held>, Vec<Held>) = rests.into_iter().unzip();
    let grown: Vec<String> = [("client", client), ("agent", agent)]
        .into_iter()
        .flat_map(|(who, held)| {
            let kib = growth(held.iter().map(|held| held.rss_kib), SLACK_KIB);
            let descriptors = growth(held.iter().map(|held| held.descriptors), SLACK_DESCRIPTORS);
            let tell = |what: &str, grown: Option<(u64, u64)>| {
                grown.map(|(from, to)| format!("{who}: {what} grew from {from} to {to}"))
            };
            [tell("KiB", kib), tell("descriptors", descriptors)].into_iter().flatten().collect::<Vec<_>>()
        })
        .collect();
    println!("{}", if grown.is_empty() { "nothing grew".to_owned() } else { grown.join("\n") });
    grown.is_empty()
}

/// From what to what something grew, when it did: the least of the last quarter beside the most of the second.
fn growth(rests: impl Iterator<Item = u64>, slack: u64) -> Option<(u64, u64)> {
    let rests: Vec<u64> = rests.collect();
    let quarter = rests.len() / 4;
    // The first one warms up.
    let before = rests.get(quarter..(2 * quarter).max(quarter + 1))?.iter().max().copied()?;
    let after = rests.get(rests.len() - quarter.max(1)..)?.iter().min().copied()?;
    (after > before + slack).then_some((before, after))
}

/// What a round carried.
#[derive(Debug, Default)]
struct Done {
    bytes: u64,
    requests: u64,
    connections: u64,
}

/// Connections that stay open through all rounds.
struct Lanes {
    down: Lane,
    up: Lane,
    kept: std::net::TcpStream,
}

impl Lanes {
    fn open(forward: &Forward) -> Self {
        Self {
            down: Lane::open(forward.bytes()),
            up: Lane::open(forward.bytes()),
            kept: connect(forward.http()),
        }
    }

    /// A round of everything at once.
    fn load(&mut self, forward: &Forward) -> Done {
        let over = AtomicBool::new(false);
        let (bytes, requests, connections) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        let again = |count: &AtomicU64, by: u64, work: &mut dyn FnMut()| {
            while !over.load(Ordering::Relaxed) {
                work();
                count.fetch_add(by, Ordering::Relaxed);
            }
        };
        let Self { down, up, kept } = self;
        std::thread::scope(|scope| {
            scope.spawn(|| again(&bytes, BULK, &mut || down.carry(Direction::Down, BULK)));
            scope.spawn(|| again(&bytes, BULK, &mut || up.carry(Direction::Up, BULK)));
            scope.spawn(|| again(&requests, 1, &mut || ask(kept)));
            for _ in 0..2 {
                scope.spawn(|| {
                    again(&connections, 1, &mut || {
                        get_once(forward.http());
                        std::thread::sleep(Duration::from_millis(5));
                    });
                });
            }
            let began = Instant::now();
            while began.elapsed() < ROUND {
                std::thread::sleep(Duration::from_millis(50));
            }
            over.store(true, Ordering::Relaxed);
        });
        Done {
            bytes: bytes.into_inner(),
            requests: requests.into_inner(),
            connections: connections.into_inner(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_seen_and_noise_is_not() {
        let of = |rests: &[u64]| growth(rests.iter().copied(), 10);
        assert_eq!(of(&[1, 100, 104, 96, 108, 99, 101, 103]), None);
        assert_eq!(of(&[1, 100, 100, 104, 110, 120, 130, 140]), Some((104, 130)));
        assert_eq!(of(&[1, 100, 100, 100]), None);
        assert_eq!(of(&[1, 100, 100, 120]), Some((100, 120)));
    }
}
