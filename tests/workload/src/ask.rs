//! Asks again and again, each time by a new connection, and tells each outcome.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::args::Args;
use crate::fault;
use crate::http::{self, Client, Url};
use crate::ports::{self, Ports};

/// Requests under way before a tick is skipped and told as `skipped`.
const AT_ONCE: usize = 500;

/// One answer to `URL`, printed as it came.
///
/// # Errors
/// The fault's word.
pub fn get(args: &Args) -> Result<(), String> {
    let url = Url::parse(args.word(1, "the URL")?)?;
    let deadline = Duration::from_millis(args.get("deadline-ms", 5000)?);
    let answer = url
        .resolve()
        .and_then(|address| Client::connect(address, deadline)?.get(&url.host, &url.path))
        .map_err(|error| fault::word(&error))?;
    print(&answer)
}

/// Asks `URL` every `--every-ms` until a byte or the end comes on standard input or `--for-ms` are over.
///
/// Requests start by the clock, not after the one before, so a hanging one hides no others. A line each,
/// when it is over: `START_MS TOOK_US ok NAME` or `START_MS TOOK_US err WORD`; at last `done`.
///
/// # Errors
/// When the name has no address at the start.
pub fn ask(args: &Args) -> Result<(), String> {
    let url = Url::parse(args.word(1, "the URL")?)?;
    let every = Duration::from_millis(args.get("every-ms", 20)?);
    let deadline = Duration::from_millis(args.get("deadline-ms", 10_000)?);
    let longest = Duration::from_millis(args.get("for-ms", 600_000)?);
    // Once: the scenarios are about connections, not about the cluster's DNS.
    let address = url.resolve().map_err(|error| fault::word(&error))?;

    let stop = Arc::new(AtomicBool::new(false));
    let stopper = Arc::clone(&stop);
    crate::spawn(move || {
        // A byte, the end and an error of standard input all mean the same.
        drop(io::stdin().read(&mut [0]));
        stopper.store(true, Ordering::Relaxed);
    })
    .map_err(|error| error.to_string())?;

    let under_way = Arc::new(AtomicUsize::new(0));
    let url = Arc::new(url);
    let began = Instant::now();
    let (mut next, mut ports) = (began, Ports::new());
    while !stop.load(Ordering::Relaxed) && began.elapsed() < longest {
        let start = began.elapsed().as_millis();
        if under_way.fetch_add(1, Ordering::Relaxed) < AT_ONCE {
            let (url, under_way) = (Arc::clone(&url), Arc::clone(&under_way));
            let port = ports.take();
            crate::spawn(move || {
                tell(start, &url, (port, address), deadline);
                under_way.fetch_sub(1, Ordering::Relaxed);
            })
            .map_err(|error| error.to_string())?;
        } else {
            under_way.fetch_sub(1, Ordering::Relaxed);
            print(&format!("{start} 0 err skipped\n"))?;
        }
        next += every;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    let patience = Instant::now() + deadline * 2;
    while under_way.load(Ordering::Relaxed) > 0 && Instant::now() < patience {
        thread::sleep(Duration::from_millis(5));
    }
    print("done\n")
}

fn tell(start: u128, url: &Url, (from, to): (u16, SocketAddr), deadline: Duration) {
    let began = Instant::now();
    let answer = ports::connect(from, to, deadline)
        .and_then(|stream| Client::over(stream, deadline)?.get(&url.host, &url.path));
    let took = began.elapsed().as_micros();
    let outcome = match &answer {
        Ok(body) => format!("ok {}", http::name_in(body)),
        Err(error) => format!("err {}", fault::word(error)),
    };
    // Nobody reads any more: the loop ends by its standard input.
    drop(print(&format!("{start} {took} {outcome}\n")));
}

/// One write: lines of several threads do not mix.
fn print(text: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| error.to_string())
}
