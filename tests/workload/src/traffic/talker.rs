//! Requests by the clock on one connection, whether the answers before have come or not.

use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use super::{Fault, Shared};
use crate::http;

/// Requests whose answers have not come: minutes of them.
const PIPELINED: usize = 20_000;

/// Asks as the `number`-th of `of` that take turns every `every`.
pub(super) fn run(shared: &Arc<Shared>, number: u32, every: Duration, of: u32) -> Result<(), Fault> {
    let what = format!("talker {number}");
    let fault = Fault::of(what.clone());
    let stream = TcpStream::connect_timeout(&shared.address, shared.deadline).map_err(&fault)?;
    stream.set_nodelay(true).map_err(&fault)?;
    stream.set_read_timeout(Some(shared.deadline)).map_err(&fault)?;
    stream.set_write_timeout(Some(shared.deadline)).map_err(&fault)?;
    let writing = stream.try_clone().map_err(&fault)?;
    let (send, receive) = mpsc::sync_channel(PIPELINED);
    let (end, wrote) = mpsc::sync_channel(1);
    let first = Instant::now() + every * number;
    let writer = {
        let shared = Arc::clone(shared);
        // Nobody waits for it once the reader has failed for a reason of its own.
        move || drop(end.try_send(ask(&shared, &writing, number, first, every * of, send)))
    };
    crate::spawn(writer).map_err(&fault)?;
    let read = read(shared, stream, number, receive);
    // The kernel tells a reset once, to the thread that asks first; the other sees an end.
    if matches!(read, Ok(()) | Err(Why::Closed(_)))
        && let Ok(Err(error)) = wrote.recv_timeout(shared.deadline)
    {
        return Err(Fault::of(format_args!("{what}, writing"))(error));
    }
    read.map_err(|why| match why {
        Why::Closed(place) => Fault::new(&what, format_args!("{place}: closed")),
        Why::Other(why) => Fault::new(&what, why),
    })
}

/// Why the answers ended too early.
enum Why {
    /// By an end, at this request.
    Closed(String),
    Other(String),
}

fn ask(
    shared: &Shared,
    mut stream: &TcpStream,
    number: u32,
    first: Instant,
    every: Duration,
    sent: SyncSender<Instant>,
) -> std::io::Result<()> {
    let mut next = first;
    for count in 0_u64.. {
        if shared.stopped() {
            break;
        }
        // Each write is one request: the stream sends it at once.
        let request = format!("GET /ask/{number}/{count} HTTP/1.1\r\nHost: traffic\r\n\r\n");
        // Before it is written, or its answer might be quicker. Gone or full: the reader has given up.
        if sent.try_send(Instant::now()).is_err() {
            return Ok(());
        }
        stream.write_all(request.as_bytes())?;
        shared.report.asked();
        next += every;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    stream.shutdown(Shutdown::Write)
}

/// Reads answers to all that was asked, in order, and then the end.
fn read(shared: &Shared, stream: TcpStream, number: u32, sent: Receiver<Instant>) -> Result<(), Why> {
    let mut stream = BufReader::new(stream);
    let word = |error: std::io::Error| crate::fault::word(&error);
    for (count, asked) in sent.iter().enumerate() {
        let place = format!("request {count}");
        let head =
            http::read_head(&mut stream).map_err(|error| Why::Other(format!("{place}: {}", word(error))))?;
        let head = head.ok_or_else(|| Why::Closed(place.clone()))?;
        let mut body = String::new();
        let mut reader = (&mut stream).take(head.length);
        reader.read_to_string(&mut body).map_err(|error| Why::Other(format!("{place}: {}", word(error))))?;
        let path = format!("path=/ask/{number}/{count}");
        if !body.split_whitespace().any(|word| word == path) {
            return Err(Why::Other(format!("{place}: answered by {body:?}")));
        }
        shared.report.answered(asked);
        if count == 0 {
            shared.report.open();
        }
    }
    match stream.read(&mut [0]) {
        Ok(0) => Ok(()),
        Ok(_) => Err(Why::Other("bytes that nobody asked for".to_owned())),
        Err(error) => Err(Why::Other(format!("its end: {}", word(error)))),
    }
}
