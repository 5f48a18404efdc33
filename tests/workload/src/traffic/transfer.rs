//! Large bodies one after another on one connection, each byte checked.

use std::io::{ErrorKind, Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use super::{Fault, Shared};
use crate::content::{self, Sum};
use crate::fault;
use crate::http::Client;

const CHUNK: usize = 64 * 1024;

/// Which way a body goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the server.
    Down,
    /// To the server.
    Up,
}

/// Keeps to so many bytes per second. Time that was lost is not made up for: after a stall nothing runs faster.
struct Pace {
    rate: u64,
    next: Instant,
}

impl Pace {
    fn new(rate: u64) -> Self {
        Self { rate, next: Instant::now() }
    }

    fn wait(&mut self, count: usize) {
        if self.rate == 0 {
            return;
        }
        let now = Instant::now();
        self.next = self.next.max(now) + Duration::from_micros(count as u64 * 1_000_000 / self.rate);
        thread::sleep(self.next.saturating_duration_since(now));
    }
}

/// Goes on until it is told to stop; the last body is whole.
pub(super) fn run(shared: &Shared, direction: Direction, bytes: u64, rate: u64) -> Result<(), Fault> {
    let what = if direction == Direction::Down { "transfer down" } else { "transfer up" };
    let mut client = Client::connect(shared.address, shared.deadline).map_err(Fault::of(what))?;
    let mut pace = Pace::new(rate);
    let mut first = true;
    let expected = if direction == Direction::Up { Sum::generated(bytes).to_string() } else { String::new() };
    loop {
        let mut passed = 0;
        let mut moved = |count: usize| {
            shared.report.bytes(direction, count);
            if std::mem::take(&mut first) {
                shared.report.open();
            }
            passed += count as u64;
            // The end is not to be waited for.
            if !shared.stopped() {
                pace.wait(count);
            }
        };
        let body = match direction {
            Direction::Down => down(&mut client, bytes, &mut moved),
            Direction::Up => up(&mut client, bytes, &expected, &mut moved),
        };
        body.map_err(|why| Fault::new(format_args!("{what} after {passed} bytes"), why))?;
        shared.report.whole(direction);
        if shared.stopped() {
            return Ok(());
        }
    }
}

fn down(client: &mut Client, bytes: u64, moved: &mut impl FnMut(usize)) -> Result<(), String> {
    client.ask("GET", "traffic", &format!("/bytes?n={bytes}"), 0).map_err(word)?;
    let length = client.answer().map_err(word)?;
    if length != bytes {
        return Err(format!("a body of {length} bytes"));
    }
    generated(client.stream(), bytes, moved)
}

/// Reads so many bytes and checks each.
pub(super) fn generated(
    from: &mut impl Read,
    bytes: u64,
    moved: &mut impl FnMut(usize),
) -> Result<(), String> {
    let (mut chunk, mut expected) = (vec![0; CHUNK], vec![0; CHUNK]);
    let mut offset = 0;
    while offset < bytes {
        let want = CHUNK.min((bytes - offset) as usize);
        let got = from.read(&mut chunk[..want]).and_then(|count| match count {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            count => Ok(count),
        });
        let count = got.map_err(|error| format!("{} after {offset} bytes", fault::word(&error)))?;
        content::fill(&mut expected[..count], offset);
        if let Some(at) = (0..count).find(|at| chunk[*at] != expected[*at]) {
            return Err(format!("wrong byte at {}", offset + at as u64));
        }
        offset += count as u64;
        moved(count);
    }
    Ok(())
}

fn up(client: &mut Client, bytes: u64, expected: &str, moved: &mut impl FnMut(usize)) -> Result<(), String> {
    client.ask("POST", "traffic", "/sum", bytes).map_err(word)?;
    let mut chunk = vec![0; CHUNK];
    let mut offset = 0;
    while offset < bytes {
        let part = CHUNK.min((bytes - offset) as usize);
        content::fill(&mut chunk[..part], offset);
        client.stream().get_mut().write_all(&chunk[..part]).map_err(word)?;
        offset += part as u64;
        moved(part);
    }
    let length = client.answer().map_err(word)?;
    let mut body = String::new();
    client.stream().take(length).read_to_string(&mut body).map_err(word)?;
    if body.trim_end().ends_with(expected) {
        Ok(())
    } else {
        Err(format!("the server got {}", body.trim_end()))
    }
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn word(error: std::io::Error) -> String {
    fault::word(&error)
}
