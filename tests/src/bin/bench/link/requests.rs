//! `link.latency.*` and `link.conns.*`: requests on an open connection, and connections of one request each.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::http::{ask, connect, get_once};
use super::kubectl::Kubectl;
use super::place::{PORTS, Place, beside};
use super::raw::Raw;
use crate::RUNS;
use crate::figure::{Aim, Figure, Spread};
use crate::wanted::Wanted;

/// Requests of one run.
const REQUESTS: usize = 1000;

/// How long connections are opened in one run.
const WHILE: Duration = Duration::from_millis(1500);

pub(crate) fn measure(wanted: &Wanted) -> Vec<Figure> {
    let mut figures = Vec::new();
    beside("bench-link-requests", async |place| {
        if wanted.has("link.latency") {
            figures.push(latency(place).await);
        }
        if wanted.has("link.conns") {
            figures.extend(connections(place).await);
        }
    });
    figures
}

async fn latency(place: &Place<'_>) -> Figure {
    let forward = place.forward().await;
    let raw = Raw::start(place.kubeconfig(), place.namespace(), &place.pod, &PORTS).await;
    let added = tokio::task::block_in_place(|| {
        let (mut link, mut other) = (connect(forward.http()), connect(raw.address(1)));
        let timed = |stream: &mut TcpStream| {
            let began = Instant::now();
            ask(stream);
            began.elapsed().as_secs_f64()
        };
        let mut added = Vec::new();
        for run in 0..=RUNS {
            let (mut through, mut beside) = (Vec::new(), Vec::new());
            // Turn by turn: what disturbs the one disturbs the other.
            for _ in 0..REQUESTS {
                through.push(timed(&mut link));
                beside.push(timed(&mut other));
            }
            if run > 0 {
                added.push((Spread::of(through).median - Spread::of(beside).median) * 1e3);
            }
        }
        added
    });
    forward.end().await;
    Figure::value("link.latency.p50", "ms", Spread::of(added), Aim::AtMost(0.2))
}

async fn connections(place: &Place<'_>) -> Vec<Figure> {
    let forward = place.forward().await;
    let kubectl = Kubectl::start(place.kubeconfig(), place.namespace(), &place.pod, PORTS[1]).await;
    let mut figures = Vec::new();
    for (id, workers, times) in [("link.conns.1", 1, 4.0), ("link.conns.8", 8, 8.0)] {
        let (mut link, mut other) = (Vec::new(), Vec::new());
        for run in 0..=RUNS {
            let rates = tokio::task::block_in_place(|| {
                (opened(forward.http(), workers), opened(kubectl.address(), workers))
            });
            if run > 0 {
                link.push(rates.0);
                other.push(rates.1);
            }
        }
        let (link, other) = (Spread::of(link), Spread::of(other));
        figures.push(Figure::share(id, "conn/s", link, other, "kubectl port-forward", Aim::AtLeast(times)));
    }
    forward.end().await;
    figures
}

/// New connections per second, each with a request and its answer, and ended by the server.
fn opened(address: SocketAddr, workers: usize) -> f64 {
    let began = Instant::now();
    let count: usize = std::thread::scope(|scope| {
        let work = || {
            let mut count = 0;
            while began.elapsed() < WHILE {
                get_once(address);
                count += 1;
            }
            count
        };
        let all: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        all.into_iter().map(|one| one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).sum()
    });
    count as f64 / began.elapsed().as_secs_f64()
}
