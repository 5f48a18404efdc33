//! What the proxy can carry. For a build with optimisation:
//! `cargo test --release -p kubetether-tests --lib proxy::tests::throughput -- --ignored --nocapture`

use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::server::{Caller, Server};
use crate::proxy::{Proxy, Wire};

const BYTES: usize = 1 << 30;
const PIECE: usize = 256 * 1024;

/// What the link's benches put through it.
const LEAST: f64 = 300.0;

async fn send(mut writer: impl AsyncWrite + Unpin) {
    let piece = vec![7; PIECE];
    for _ in 0..BYTES / PIECE {
        writer.write_all(&piece).await.unwrap();
    }
    writer.flush().await.unwrap();
}

async fn take(mut reader: impl AsyncRead + Unpin) {
    let mut piece = vec![0; PIECE];
    let mut left = BYTES;
    while left > 0 {
        let most = left.min(PIECE);
        left -= reader.read(&mut piece[..most]).await.unwrap();
    }
}

/// MB/s from one end to another, in the same process; prints it, and what this whole process worked for it.
async fn rate(
    what: &str,
    writer: impl AsyncWrite + Unpin + Send + 'static,
    reader: impl AsyncRead + Unpin + Send + 'static,
) -> f64 {
    let (began, worked) = (Instant::now(), cpu_seconds());
    let sending = tokio::spawn(send(writer));
    take(reader).await;
    sending.await.unwrap();
    let rate = BYTES as f64 / began.elapsed().as_secs_f64() / 1e6;
    let per_gb = (cpu_seconds() - worked) / (BYTES as f64 / 1e9);
    println!("{what}: {rate:.0} MB/s, {per_gb:.2} CPU s per GB with both ends");
    rate
}

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    // utime and stime, fields 14 and 15 of proc(5), in hundredths of a second.
    fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<f64>().unwrap() / 100.0).sum()
}

fn delays(wire: &Wire, rtt: u64) {
    wire.round_trip(Duration::from_millis(rtt));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, for a build with optimisation and an idle machine"]
async fn of_bytes_alone() {
    let server = Server::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let text = std::fs::read_to_string(server.kubeconfig()).unwrap();
    std::fs::write(server.kubeconfig(), text.replace(&server.address.to_string(), &address.to_string()))
        .unwrap();
    let proxy = Proxy::tcp(&server.kubeconfig()).await.unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    rate("loopback alone", near.unwrap(), far.unwrap().0).await;
    for rtt in [0, 20, 100, 400] {
        delays(proxy.wire(), rtt);
        let (near, far) = tokio::join!(TcpStream::connect(proxy.address()), listener.accept());
        let what = format!("bytes alone, round trip {rtt} ms");
        let rate = rate(&what, near.unwrap(), far.unwrap().0).await;
        // Under 400 ms the bound on what is held limits.
        assert!(rate > LEAST || rtt == 400, "{rate:.0} MB/s at {rtt} ms");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, for a build with optimisation and an idle machine"]
async fn of_upgraded_connections() {
    let server = Server::start().await;
    let proxy = Proxy::start(&server.kubeconfig()).await.unwrap();
    for (what, kubeconfig, rtt) in [
        ("without a proxy", server.kubeconfig(), 0),
        ("through the proxy", proxy.kubeconfig(), 0),
        ("through the proxy, 100 ms", proxy.kubeconfig(), 100),
    ] {
        delays(proxy.wire(), rtt);
        let mut caller = Caller::new(kubeconfig).await;
        let (reader, writer) = tokio::io::split(caller.upgrade().await);
        rate(&format!("echo, {what}, each way at once"), writer, reader).await;
    }
}
