//! One direction, under a clock that stands still while there is something to do.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::proxy::line::End;
use crate::proxy::pump::pump;
use crate::proxy::wire::{Scope, Way, Wire};

const BUFFER: usize = 64 * 1024;
const MS: Duration = Duration::from_millis(1);

/// One direction: the sender's end, the receiver's end.
fn lane(wire: &Wire, way: Way, tasks: &mut JoinSet<End>) -> (DuplexStream, DuplexStream) {
    let (sender, from) = duplex(BUFFER);
    let (to, receiver) = duplex(BUFFER);
    let (entry, _listed) = wire.0.connections.add();
    let shared = wire.0.clone();
    tasks.spawn(async move { pump(from, to, way, &shared, &entry).await });
    (sender, receiver)
}

async fn send(sender: &mut DuplexStream, mut bytes: usize) {
    let piece = vec![7; BUFFER];
    while bytes > 0 {
        let count = bytes.min(piece.len());
        sender.write_all(&piece[..count]).await.unwrap();
        bytes -= count;
    }
}

async fn take(receiver: &mut DuplexStream, mut bytes: usize) {
    let mut piece = vec![0; BUFFER];
    while bytes > 0 {
        let most = bytes.min(piece.len());
        let count = receiver.read(&mut piece[..most]).await.unwrap();
        assert!(count > 0, "it ended, {bytes} bytes early");
        bytes -= count;
    }
}

#[tokio::test(start_paused = true)]
async fn a_delay_is_exact_and_limits_no_bandwidth() {
    let wire = Wire::new();
    let mut tasks = JoinSet::new();
    let (mut sender, mut receiver) = lane(&wire, Way::Up, &mut tasks);
    wire.delay(200 * MS, Duration::ZERO);
    let began = Instant::now();
    // What 300 MB/s have under way.
    let bytes = 60_000_000;
    let sending = tokio::spawn(async move {
        send(&mut sender, bytes).await;
        sender
    });
    take(&mut receiver, 1).await;
    assert_eq!(began.elapsed().as_millis() / 2, 100);
    take(&mut receiver, bytes - 1).await;
    assert!(began.elapsed() <= 202 * MS, "{:?}", began.elapsed());
    assert_eq!(wire.passed().up, bytes as u64);

    // The end is as late as the bytes.
    drop(sending.await.unwrap());
    let ended = Instant::now();
    assert_eq!(receiver.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(ended.elapsed().as_millis() / 2, 100);
    assert_eq!(tasks.join_next().await.unwrap().unwrap(), End::Finished);
}

#[tokio::test(start_paused = true)]
async fn each_way_has_its_own_delay() {
    let wire = Wire::new();
    let mut tasks = JoinSet::new();
    let (mut sender, mut receiver) = lane(&wire, Way::Down, &mut tasks);
    wire.delay(500 * MS, 10 * MS);
    let began = Instant::now();
    send(&mut sender, 1).await;
    take(&mut receiver, 1).await;
    assert!((10 * MS..=12 * MS).contains(&began.elapsed()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_rate_is_shared_fairly_and_met() {
    let wire = Wire::new();
    let mut tasks = JoinSet::new();
    wire.throttle(Some(100_000), None);
    let mut lanes: Vec<_> = (0..4).map(|_| lane(&wire, Way::Up, &mut tasks)).collect();
    let (_sender, _receiver) = lane(&wire, Way::Down, &mut tasks);
    let began = Instant::now();
    let mut all = JoinSet::new();
    for (mut sender, mut receiver) in lanes.drain(..) {
        all.spawn(async move {
            tokio::join!(send(&mut sender, 50_000), take(&mut receiver, 50_000));
            began.elapsed()
        });
    }
    let times = all.join_all().await;
    // 200,000 bytes of 100,000 per second; each ends in the last turns.
    let near = |time: &Duration| (1_900 * MS..=2_050 * MS).contains(time);
    assert!(times.iter().all(near), "{times:?}");

    let (mut sender, mut receiver) = lane(&wire, Way::Up, &mut tasks);
    wire.throttle(None, None);
    let began = Instant::now();
    tokio::join!(send(&mut sender, 10_000_000), take(&mut receiver, 10_000_000));
    assert!(began.elapsed() < 10 * MS, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_throttled_line_holds_nothing_back_itself() {
    let wire = Wire::new();
    let mut tasks = JoinSet::new();
    wire.throttle(Some(125_000), None);
    wire.delay(100 * MS, Duration::ZERO);
    let (mut sender, mut receiver) = lane(&wire, Way::Up, &mut tasks);
    let sent = timeout(Duration::from_secs(1), send(&mut sender, usize::MAX)).await;
    assert!(sent.is_err());
    // What was sent in that second, before the delay: its rest is under way still, and not more.
    take(&mut receiver, 110_000).await;
    let rest = timeout(100 * MS, take(&mut receiver, 20_000)).await;
    assert!(rest.is_err(), "more than a second's worth had been taken");
}

#[tokio::test(start_paused = true)]
async fn a_blackhole_holds_bytes_and_ends_until_released() {
    let wire = Wire::new();
    let mut tasks = JoinSet::new();
    let (mut sender, mut receiver) = lane(&wire, Way::Up, &mut tasks);
    send(&mut sender, 10).await;
    take(&mut receiver, 10).await;
    wire.blackhole(Scope::All);
    send(&mut sender, 10).await;
    drop(sender);
    let nothing = timeout(Duration::from_secs(30), receiver.read(&mut [0])).await;
    assert!(nothing.is_err(), "{nothing:?}");

    let released = Instant::now();
    wire.release();
    take(&mut receiver, 10).await;
    assert_eq!(receiver.read(&mut [0]).await.unwrap(), 0);
    assert!(released.elapsed() < 5 * MS);
}

#[tokio::test(start_paused = true)]
async fn a_blackhole_for_upgraded_connections_lets_others_pass() {
    let wire = Wire::new();
    let mut tasks = JoinSet::new();
    let (mut sender, mut receiver) = lane(&wire, Way::Up, &mut tasks);
    wire.blackhole(Scope::Upgraded);
    send(&mut sender, 10).await;
    timeout(MS, take(&mut receiver, 10)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_stalls_is_felt() {
    let wire = Wire::new();
    let mut tasks = JoinSet::new();
    let (mut sender, mut receiver) = lane(&wire, Way::Up, &mut tasks);
    let (mut other, mut gets) = lane(&wire, Way::Up, &mut tasks);
    let mut sent = 0;
    while timeout(Duration::from_secs(1), send(&mut sender, BUFFER)).await.is_ok() {
        sent += BUFFER;
    }
    assert!((4 << 20..5 << 20).contains(&sent), "{sent}");
    tokio::join!(send(&mut other, 10_000_000), take(&mut gets, 10_000_000));
    take(&mut receiver, sent).await;
}
