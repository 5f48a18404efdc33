//! `link.idle.bytes.*`: what connections cost that do nothing.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::place::{Place, beside};
use crate::figure::{Aim, Figure, Spread};
use crate::wanted::Wanted;

/// Connections.
const MANY: usize = 10_000;

/// Opened before, so that what comes with the first ones is not counted.
const FEW: usize = 100;

/// Of connections that are being opened.
const AT_ONCE: usize = 32;

/// Resident bytes that each may take, at either end.
const EACH: f64 = 4096.0;

pub(crate) fn measure(_: &Wanted) -> Vec<Figure> {
    let mut figures = Vec::new();
    beside("bench-link-idle", async |place| figures = idle(place).await);
    figures
}

async fn idle(place: &Place<'_>) -> Vec<Figure> {
    let forward = place.forward().await;
    let open = |count| tokio::task::block_in_place(|| open(forward.hold(), count));
    let few = open(FEW);
    let before = (forward.held(), place.gateway().await);
    let many = open(MANY);
    let after = (forward.held(), place.gateway().await);
    let each =
        |before: u64, after: u64| Spread::one((after.saturating_sub(before) * 1024) as f64 / MANY as f64);
    let client = each(before.0.rss_kib, after.0.rss_kib);
    let agent = each(before.1.rss_kib, after.1.rss_kib);
    drop((few, many));
    forward.end().await;
    vec![
        Figure::value("link.idle.bytes.client", "bytes", client, Aim::AtMost(EACH)),
        Figure::value("link.idle.bytes.agent", "bytes", agent, Aim::AtMost(EACH)),
    ]
}

/// Opens connections that have each carried a byte both ways, in turn at each of the addresses.
fn open(addresses: &[SocketAddr], count: usize) -> Vec<TcpStream> {
    let worker = |first: usize| {
        let mine = (first..count).step_by(AT_ONCE);
        mine.map(|index| one(addresses[index % addresses.len()])).collect::<Vec<_>>()
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|first| scope.spawn(move || worker(first))).collect();
        let join = |one: std::thread::ScopedJoinHandle<'_, Vec<TcpStream>>| {
            one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        workers.into_iter().flat_map(join).collect()
    })
}

fn one(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
    let echo = (|| {
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.write_all(b"x")?;
        stream.read_exact(&mut [0])
    })();
    echo.unwrap_or_else(|error| panic!("a byte and back: {error}"));
    stream
}
