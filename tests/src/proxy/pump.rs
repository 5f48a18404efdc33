//! Carries bytes of a connection: held by time stamp, gated, metered.

use std::pin::pin;

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::bucket;
use super::connections::Entry;
use super::line::{End, Line};
use super::wire::{Shared, Way};

/// Bytes read at once, at most.
const READ: usize = 256 * 1024;

/// Room below which a new buffer is made.
const LEAST: usize = 32 * 1024;

/// Carries both directions between a client and what stands for the server, until both have ended, one is reset, or
/// the connection is cut. When `served`, no more is read of the client.
pub(super) async fn carry(
    client: &mut TcpStream,
    from_server: impl AsyncRead + Unpin,
    to_server: impl AsyncWrite + Unpin,
    shared: &Shared,
    entry: &Entry,
    served: &CancellationToken,
) -> End {
    let (from_client, to_client) = client.split();
    let up = async {
        tokio::select! {
            end = pump(from_client, to_server, Way::Up, shared, entry) => end,
            () = served.cancelled() => End::Finished,
        }
    };
    let down = pump(from_server, to_client, Way::Down, shared, entry);
    let both = async { tokio::try_join!(finished(up), finished(down)) };
    tokio::select! {
        biased;
        () = entry.until_cut() => End::Reset,
        ended = both => if ended.is_ok() { End::Finished } else { End::Reset },
    }
}

async fn finished(direction: impl Future<Output = End>) -> Result<(), ()> {
    match direction.await {
        End::Finished => Ok(()),
        End::Reset => Err(()),
    }
}

/// Carries one direction to its end.
pub(super) async fn pump(
    mut reader: impl AsyncRead + Unpin,
    mut writer: impl AsyncWrite + Unpin,
    way: Way,
    shared: &Shared,
    entry: &Entry,
) -> End {
    let lane = shared.lane(way);
    let mut settings = shared.settings.subscribe();
    let mut line = Line::new(lane.budget.clone());
    let mut buffer = BytesMut::new();
    let mut timer = pin!(sleep(std::time::Duration::ZERO));
    let mut reading = true;
    // When the wire of a limited rate has taken what was read last.
    let mut free = None;
    loop {
        let now = Instant::now();
        let set = *settings.borrow_and_update();
        let (delay, rate) = (set.delay[way as usize], set.rate[way as usize]);
        line.ripen(now);
        let open = set.passes(entry);
        if let Some(end) = line.ended(now).filter(|_| open) {
            if end == End::Finished {
                // A receiver that is gone by now shows in the other direction.
                let _ = writer.shutdown().await;
            }
            return end;
        }
        let busy = free.filter(|free| rate.is_some() && *free > now);
        let wants = open && reading && line.has_room();
        let front = line.front().filter(|_| open).cloned();
        let wake = line.next_due(now).into_iter().chain(busy.filter(|_| wants)).min().filter(|_| open);
        if let Some(wake) = wake
            && timer.deadline() != wake
        {
            timer.as_mut().reset(wake);
        }
        if buffer.capacity() < LEAST {
            buffer.reserve(READ);
        }
        let most = rate.map_or(READ, bucket::piece);
        tokio::select! {
            biased;
            changed = settings.changed() => if changed.is_err() {
                return End::Reset;
            },
            written = writer.write(front.as_deref().unwrap_or_default()), if front.is_some() => match written {
                Ok(0) | Err(_) => return End::Reset,
                Ok(count) => {
                    line.advance(count);
                    lane.passed.fetch_add(count as u64, std::sync::atomic::Ordering::Relaxed);
                }
            },
            read = read(&mut reader, &mut buffer, most), if wants && busy.is_none() => {
                let now = Instant::now();
                match read {
                    Ok(0) => line.finish(End::Finished, now + delay),
                    Ok(count) => {
                        let sent = rate.map_or(now, |rate| lane.bucket.charge(count, rate, now));
                        free = Some(sent);
                        // A wire that catches up must not shorten the delay.
                        line.push(buffer.split().freeze(), sent.max(now) + delay);
                    }
                    Err(_) => line.finish(End::Reset, now + delay),
                }
                reading = matches!(read, Ok(1..));
            },
            () = timer.as_mut(), if wake.is_some() => {}
        }
    }
}

/// Cancel-safe, as what it is made of.
async fn read(
    reader: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
    most: usize,
) -> std::io::Result<usize> {
    reader.read_buf(&mut buffer.limit(most)).await
}
