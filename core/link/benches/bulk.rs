//! Bulk through a link over loopback TCP, both ends in this process, beside the bare TCP connection in the same run.
//!
//! `cargo bench -p kubetether-link --bench bulk [part of a name]`; figures are MB/s (10^6), the median of five runs, and the
//! CPU seconds of all threads per GB, which a busy machine falsifies less.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench prints, and ends where it cannot go on"
)]

use std::{future::Future, time::Instant};

use bytes::Bytes;
use kubetether_link::{Acceptor, Attached, IoRead, Link, LinkConfig, Open, Role, Stream, relay};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
};

const BYTES: usize = 1 << 30;
const CHUNK: usize = 64 << 10;

fn main() {
    for threads in [1, 2] {
        measure(threads, "bare TCP", bare);
        for carriers in [1, 4] {
            measure(threads, &format!("link, {carriers} carriers"), move || memory(carriers));
        }
        measure(threads, "relay - link - relay, 1 carrier", || relayed(1));
        measure(threads, "1,000,000 B in 100 B writes", small);
        round_trips(threads);
        opens(threads);
    }
    idle();
}

fn runtime(threads: usize) -> Runtime {
    match threads {
        1 => Builder::new_current_thread().enable_all().build().unwrap(),
        threads => Builder::new_multi_thread().worker_threads(threads).enable_all().build().unwrap(),
    }
}

fn measure<F: Future<Output = usize>>(threads: usize, what: &str, run: impl Fn() -> F) {
    if !wanted(what) {
        return;
    }
    let mut total = 0;
    let cpu = cpu_seconds();
    let mut rates: Vec<_> = (0..5)
        .map(|_| {
            let runtime = runtime(threads);
            let start = Instant::now();
            let bytes = runtime.block_on(run());
            total += bytes;
            bytes as f64 / start.elapsed().as_secs_f64() / 1e6
        })
        .collect();
    rates.sort_by(f64::total_cmp);
    let cpu = (cpu_seconds() - cpu) / (total as f64 / 1e9);
    println!(
        "{threads} thread(s)  {what:34} {:7.0} MB/s  ({:.0}-{:.0})  {cpu:.2} CPU s/GB",
        rates[2], rates[0], rates[4]
    );
}

fn wanted(what: &str) -> bool {
    let mut parts = std::env::args().skip(1).filter(|part| !part.starts_with("--")).peekable();
    parts.peek().is_none() || parts.any(|part| what.contains(&part))
}

/// User and system time of this process so far.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    // utime and stime, in ticks of 10 ms.
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

async fn bare() -> usize {
    let (mut near, mut far) = tcp().await;
    let writer = tokio::spawn(async move {
        let chunk = vec![7; CHUNK];
        for _ in 0..BYTES / CHUNK {
            near.write_all(&chunk).await.unwrap();
        }
    });
    let mut buffer = vec![0; CHUNK];
    let mut total = 0;
    while total < BYTES {
        total += far.read(&mut buffer).await.unwrap();
    }
    writer.await.unwrap();
    total
}

async fn memory(carriers: usize) -> usize {
    let (client, agent) = ends(carriers).await;
    let (near, far) = stream(&client, &agent).await;
    let (_near_read, mut near) = near.into_split();
    let (mut far, _far_write) = far.into_split();
    let writer = tokio::spawn(async move {
        let chunk = Bytes::from(vec![7; CHUNK]);
        for _ in 0..BYTES / CHUNK {
            near.send(chunk.clone()).await.unwrap();
        }
        near.finish();
        near
    });
    let mut total = 0;
    while let Some(chunk) = far.chunk().await.unwrap() {
        total += chunk.len();
    }
    drop(writer.await.unwrap());
    total
}

async fn relayed(carriers: usize) -> usize {
    let (client, agent) = ends(carriers).await;
    let (near_stream, far_stream) = stream(&client, &agent).await;
    let ((mut near, near_relay), (mut far, far_relay)) = (tcp().await, tcp().await);
    let relays = [tokio::spawn(relay(near_stream, near_relay)), tokio::spawn(relay(far_stream, far_relay))];
    let writer = tokio::spawn(async move {
        let chunk = vec![7; CHUNK];
        for _ in 0..BYTES / CHUNK {
            near.write_all(&chunk).await.unwrap();
        }
        near.shutdown().await.unwrap();
        near
    });
    let mut buffer = vec![0; CHUNK];
    let mut total = 0;
    while total < BYTES {
        total += far.read(&mut buffer).await.unwrap();
    }
    drop((writer.await.unwrap(), far));
    for relay in relays {
        relay.await.unwrap();
    }
    total
}

async fn small() -> usize {
    let (client, agent) = ends(1).await;
    let (mut near, mut far) = stream(&client, &agent).await;
    let writer = tokio::spawn(async move {
        for _ in 0..10_000 {
            near.write_all(&[7; 100]).await.unwrap();
        }
        near.shutdown().await.unwrap();
        near
    });
    let mut all = Vec::new();
    far.read_to_end(&mut all).await.unwrap();
    drop(writer.await.unwrap());
    all.len()
}

fn round_trips(threads: usize) {
    const TRIPS: u32 = 20_000;
    if !wanted("round trip of one byte") {
        return;
    }
    runtime(threads).block_on(async {
        let (client, agent) = ends(1).await;
        let (mut near, mut far) = stream(&client, &agent).await;
        let echo = tokio::spawn(async move {
            let mut byte = [0; 1];
            while far.read_exact(&mut byte).await.is_ok() {
                far.write_all(&byte).await.unwrap();
            }
        });
        let start = Instant::now();
        for _ in 0..TRIPS {
            near.write_u8(7).await.unwrap();
            near.read_u8().await.unwrap();
        }
        println!("{threads} thread(s)  {:34} {:7.1} µs", "round trip of one byte", micros(start, TRIPS));
        drop(near);
        echo.await.unwrap();
    });
}

fn opens(threads: usize) {
    const OPENS: u32 = 20_000;
    if !wanted("open and drop of a stream") {
        return;
    }
    runtime(threads).block_on(async {
        let (client, agent) = ends(1).await;
        let accept = tokio::spawn(async move {
            while let Some(incoming) = agent.accept().await {
                drop(incoming.accept());
            }
        });
        let start = Instant::now();
        for _ in 0..OPENS {
            drop(client.open(Open::Call).await);
        }
        println!("{threads} thread(s)  {:34} {:7.1} µs", "open and drop of a stream", micros(start, OPENS));
        drop(client);
        accept.await.unwrap();
    });
}

/// What a stream costs that has carried something both ways and now is idle.
fn idle() {
    const STREAMS: usize = 10_000;
    if !wanted("idle streams") {
        return;
    }
    runtime(1).block_on(async {
        let (client, agent) = ends(1).await;
        drop(stream(&client, &agent).await);
        let before = resident();
        let mut streams = Vec::with_capacity(STREAMS);
        for _ in 0..STREAMS {
            let (mut near, mut far) = stream(&client, &agent).await;
            near.write_all(&[7; 1000]).await.unwrap();
            far.read_exact(&mut [0; 1000]).await.unwrap();
            far.write_all(&[7; 1000]).await.unwrap();
            near.read_exact(&mut [0; 1000]).await.unwrap();
            streams.push((near, far));
        }
        client.flushed().await;
        agent.flushed().await;
        let each = (resident() - before) / STREAMS / 2;
        println!("{STREAMS} idle streams: {each} bytes each at each end");
    });
}

/// Resident bytes of this process.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

fn micros(start: Instant, times: u32) -> f64 {
    start.elapsed().as_secs_f64() * 1e6 / f64::from(times)
}

async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (far, _) = listener.accept().await.unwrap();
    near.set_nodelay(true).unwrap();
    far.set_nodelay(true).unwrap();
    (near, far)
}

async fn ends(carriers: usize) -> (Link, Link) {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    let client = Link::client(LinkConfig::new(Role::Client)).unwrap();
    let acceptor = Acceptor::new(LinkConfig::new(Role::Gateway), 4).unwrap();
    let mut agent = None;
    for _ in 0..carriers {
        let (near, far) = tcp().await;
        let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
        let (attached, joined) = tokio::join!(
            client.attach(IoRead::new(near_read), near_write, deadline),
            acceptor.carrier(IoRead::new(far_read), far_write, deadline)
        );
        attached.unwrap();
        if let Attached::New(link) = joined.unwrap() {
            agent = Some(link);
        }
    }
    (client, agent.unwrap())
}

async fn stream(client: &Link, agent: &Link) -> (Stream, Stream) {
    let (near, far) = tokio::join!(client.open(Open::Call), async { agent.accept().await.unwrap().accept() });
    (near.unwrap(), far)
}
