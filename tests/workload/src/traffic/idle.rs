//! Connections that do nothing between their first request and their last.

use std::io::Read;
use std::net::Shutdown;
use std::ops::Range;

use super::{Fault, Shared};
use crate::http::Client;

/// Threads that open them; it takes no thread to keep one.
const THREADS: u64 = 32;

/// The numbers of the connections, for each thread.
pub(super) fn shares(count: u64) -> impl Iterator<Item = Range<u64>> {
    let each = count.div_ceil(THREADS).max(1);
    (0..THREADS)
        .map(move |share| (share * each).min(count)..((share + 1) * each).min(count))
        .filter(|range| !range.is_empty())
}

/// Opens them, waits for the end, and proves each alive.
pub(super) fn run(shared: &Shared, numbers: Range<u64>) -> Result<(), Fault> {
    let mut open = Vec::new();
    for number in numbers {
        match opened(shared, number) {
            Ok(client) => {
                shared.report.opened();
                open.push((number, client));
            }
            Err(fault) => shared.report.fault(&fault),
        }
    }
    shared.report.open();
    while !shared.rest(shared.deadline) {}
    for (number, mut client) in open {
        match ended(&mut client, number) {
            Ok(()) => shared.report.alive(),
            Err(fault) => shared.report.fault(&fault),
        }
    }
    Ok(())
}

fn opened(shared: &Shared, number: u64) -> Result<Client, Fault> {
    let mut client = Client::connect(shared.address, shared.deadline).map_err(Fault::of("idle, connect"))?;
    demand(&mut client, &format!("/idle/{number}"))?;
    Ok(client)
}

fn ended(client: &mut Client, number: u64) -> Result<(), Fault> {
    demand(client, &format!("/idle/{number}/again"))?;
    let mut last = || -> std::io::Result<usize> {
        let stream = client.stream();
        stream.get_mut().shutdown(Shutdown::Write)?;
        stream.read(&mut [0])
    };
    match last() {
        Ok(0) => Ok(()),
        Ok(_) => Err(Fault::new(format_args!("idle {number}"), "bytes that nobody asked for")),
        Err(error) => Err(Fault::of(format_args!("idle {number}, its end"))(error)),
    }
}

/// The answer tells the path that was asked for: it is this connection's and none other's.
fn demand(client: &mut Client, path: &str) -> Result<(), Fault> {
    let body = client.get("traffic", path).map_err(Fault::of(path))?;
    let own = body.split_whitespace().any(|word| word.strip_prefix("path=") == Some(path));
    if own { Ok(()) } else { Err(Fault::new(path, format_args!("answered by {body:?}"))) }
}
