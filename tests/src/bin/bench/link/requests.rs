//! `link.latency.*` and `link.conns.*`: requests on an open connection, and connections of one request each.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

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

/// A request that takes so long hangs.
const PATIENCE: Duration = Duration::from_secs(10);

const KEPT: &[u8] = b"GET / HTTP/1.1\r\nHost: target\r\n\r\n";
const CLOSED: &[u8] = b"GET / HTTP/1.1\r\nHost: target\r\nConnection: close\r\n\r\n";

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
        let (mut link, mut other) = (Asker::new(forward.http()), Asker::new(raw.address(2)));
        let mut added = Vec::new();
        for run in 0..=RUNS {
            let (mut through, mut beside) = (Vec::new(), Vec::new());
            // Turn by turn: what disturbs the one disturbs the other.
            for _ in 0..REQUESTS {
                through.push(link.ask());
                beside.push(other.ask());
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
    let kubectl = Kubectl::start(place.kubeconfig(), place.namespace(), &place.pod, PORTS[2]).await;
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

/// A connection on which one request follows the other.
struct Asker(TcpStream);

impl Asker {
    fn new(address: SocketAddr) -> Self {
        let mut asker = Self(connect(address));
        asker.ask();
        asker
    }

    /// How long the answer took, in seconds.
    fn ask(&mut self) -> f64 {
        let began = Instant::now();
        self.0.write_all(KEPT).unwrap_or_else(|error| panic!("a request: {error}"));
        let mut answer = [0; 4096];
        let mut count = 0;
        // As the workload writes it: at once, and with a line's end at its own.
        while !answer[..count].ends_with(b"path=/\n") {
            let read = self.0.read(&mut answer[count..]).unwrap_or_else(|error| panic!("an answer: {error}"));
            assert!(read > 0, "the connection ended");
            count += read;
        }
        began.elapsed().as_secs_f64()
    }
}

/// New connections per second, each with a request and its answer, and ended by the server.
fn opened(address: SocketAddr, workers: usize) -> f64 {
    let began = Instant::now();
    let count: usize = std::thread::scope(|scope| {
        let work = || {
            let mut count = 0;
            while began.elapsed() < WHILE {
                let mut stream = connect(address);
                stream.write_all(CLOSED).unwrap_or_else(|error| panic!("a request: {error}"));
                let mut answer = Vec::with_capacity(256);
                stream.read_to_end(&mut answer).unwrap_or_else(|error| panic!("an answer: {error}"));
                assert!(answer.ends_with(b"path=/\n"), "{:?}", String::from_utf8_lossy(&answer));
                count += 1;
            }
            count
        };
        let all: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        all.into_iter().map(|one| one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).sum()
    });
    count as f64 / began.elapsed().as_secs_f64()
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
    let set = stream.set_nodelay(true).and_then(|()| stream.set_read_timeout(Some(PATIENCE)));
    set.unwrap_or_else(|error| panic!("{address}: {error}"));
    stream
}
