//! Traffic that must outlive what happens to the link under it: transfers, connections that do nothing, requests by
//! the clock, readers that stall. All of it at once, by connections that stay; what went wrong with any is told.

mod idle;
mod report;
mod stalled;
mod talker;
mod transfer;

use std::io::{self, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use self::report::Report;
pub use self::transfer::Direction;
use crate::args::Args;
use crate::{fault, http};

/// What is the same for all connections of one command.
struct Shared {
    address: SocketAddr,
    /// For one read or write: longer than any fault that a connection has to outlive.
    deadline: Duration,
    report: Report,
    stop: AtomicBool,
    /// Threads that are not over.
    busy: AtomicUsize,
}

/// Goes on by HTTP connections to `HOST:PORT` (see `serve --http`) until it is told to stop, then brings everything
/// to its end:
///
/// | option | connections |
/// |---|---|
/// | `--bytes N` (0: none) | one transfer of so many bytes downwards and one upwards, again and again, the last of them whole; `--rate N`: bytes per second of each |
/// | `--idle N` | ask once at the start and once at the end |
/// | `--every-ms N --talkers N` | ask by the clock, taking turns, whether the answers before have come or not |
/// | `--stalled N --stalled-bytes N` | ask for so many bytes and read them at the end only |
///
/// Prints `control PORT` and listens there (`--control PORT`; 0: a free one): every request is answered by how things
/// stand, a line each; `/mark` begins the times of answers anew, `/stop` begins the end. It goes on to answer when all
/// is over. The lines: `state opening|running|over`, `KEY VALUE` for each count, `fault MS WHAT: WORD`.
///
/// # Errors
/// When the address is none, or no port or thread can be had.
pub fn run(args: &Args) -> Result<(), String> {
    let control = TcpListener::bind((Ipv4Addr::LOCALHOST, args.get("control", 0)?));
    let control = control.map_err(|error| format!("--control: {error}"))?;
    let port = control.local_addr().map_err(|error| error.to_string())?.port();
    let shared = begin(args)?;
    let told = writeln!(io::stdout(), "control {port}").and_then(|()| io::stdout().flush());
    told.map_err(|error| format!("standard output: {error}"))?;
    loop {
        // One who asks badly harms nobody.
        let _ = control.accept().and_then(|(stream, _)| answer(stream, &shared));
    }
}

fn begin(args: &Args) -> Result<Arc<Shared>, String> {
    let address = http::resolve(args.word(1, "HOST:PORT")?).map_err(|error| fault::word(&error))?;
    let shared = Arc::new(Shared {
        address,
        deadline: Duration::from_millis(args.get("deadline-ms", 150_000)?),
        report: Report::new(),
        stop: AtomicBool::new(false),
        busy: AtomicUsize::new(0),
    });
    let (bytes, rate) = (args.get("bytes", 0)?, args.get("rate", 0)?);
    for direction in [Direction::Down, Direction::Up] {
        if bytes > 0 {
            start(&shared, move |shared| transfer::run(shared, direction, bytes, rate))?;
        }
    }
    let stalled: u64 = args.get("stalled", 0)?;
    let stalled_bytes = args.get("stalled-bytes", 4 << 20)?;
    for number in 0..stalled {
        start(&shared, move |shared| stalled::run(shared, number, stalled_bytes))?;
    }
    let talkers: u32 = args.get("talkers", 4)?;
    let every = Duration::from_millis(args.get("every-ms", 20)?);
    for number in 0..talkers {
        start(&shared, move |shared| talker::run(shared, number, every, talkers))?;
    }
    for range in idle::shares(args.get("idle", 0)?) {
        start(&shared, move |shared| idle::run(shared, range))?;
    }

    Ok(shared)
}

fn answer(stream: std::net::TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut stream = BufReader::new(stream);
    let Some(head) = http::read_head(&mut stream)? else { return Ok(()) };
    match head.start.split(' ').nth(1) {
        Some("/mark") => shared.report.mark(),
        Some("/stop") => shared.stop.store(true, Ordering::Release),
        _ => {}
    }
    let over = shared.busy.load(Ordering::Acquire) == 0;
    let body = shared.report.text(over);
    write!(stream.get_mut(), "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Runs something in a thread of its own; its fault is told.
fn start(
    shared: &Arc<Shared>,
    work: impl FnOnce(&Arc<Shared>) -> Result<(), Fault> + Send + 'static,
) -> Result<(), String> {
    shared.busy.fetch_add(1, Ordering::AcqRel);
    shared.report.opening(1);
    let shared = Arc::clone(shared);
    let spawned = crate::spawn(move || {
        if let Err(fault) = work(&shared) {
            shared.report.fault(&fault);
        }
        shared.busy.fetch_sub(1, Ordering::AcqRel);
    });
    spawned.map_err(|error| error.to_string())
}

/// What went wrong, with which connection.
#[derive(Debug)]
struct Fault(String);

impl Fault {
    fn new(what: impl std::fmt::Display, why: impl std::fmt::Display) -> Self {
        Self(format!("{what}: {why}"))
    }

    /// For the faults of a connection.
    fn of(what: impl std::fmt::Display) -> impl Fn(io::Error) -> Self {
        move |error| Self::new(&what, fault::word(&error))
    }
}

impl Shared {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Waits for the end, or for so long; whether it has come.
    fn rest(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        while !self.stopped() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            thread::sleep(left.min(Duration::from_millis(20)));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::{self, Log};

    fn begun(habit: &str, options: &str) -> (Arc<Shared>, serve::Served) {
        let served = serve::start(habit, "x", ([127, 0, 0, 1], 0).into(), &Arc::new(Log::default())).unwrap();
        let line = format!("traffic {} --deadline-ms 20000 {options}", served.address());
        let args = Args::parse(line.split(' ').map(str::to_owned)).unwrap();
        (begin(&args).unwrap(), served)
    }

    /// Waits until the report says it; the report.
    fn until(shared: &Shared, said: &str) -> String {
        let limit = Instant::now() + Duration::from_secs(20);
        loop {
            let text = shared.report.text(shared.busy.load(Ordering::Acquire) == 0);
            if text.contains(said) {
                return text;
            }
            assert!(Instant::now() < limit, "never `{said}`:\n{text}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn everything_goes_on_until_it_is_stopped_and_comes_to_its_end() {
        let options = "--bytes 300000 --idle 20 --every-ms 1 --stalled 2 --stalled-bytes 3000000";
        let (shared, _served) = begun("http", options);
        until(&shared, "state running");
        shared.stop.store(true, Ordering::Release);
        let text = until(&shared, "state over");
        for line in ["opened 20\n", "alive 20\n", "stalled 2\n", "faults 0\n"] {
            assert!(text.contains(line), "no {line:?} in\n{text}");
        }
        let count = |key: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(key));
            value.and_then(|value| value.trim().parse::<u64>().ok()).unwrap()
        };
        assert!(count("down ") > 0 && count("up ") > 0 && count("asked ") > 0, "{text}");
        assert_eq!(count("asked "), count("answered "));
    }

    #[test]
    fn faults_are_told_by_connection_and_word() {
        let (shared, _served) = begun("reset", "--bytes 300000 --idle 2 --talkers 1");
        let text = until(&shared, "faults 5");
        for what in
            ["transfer down after 0 bytes: ", "transfer up after ", "/idle/0: ", "/idle/1: ", "talker 0: "]
        {
            assert!(
                text.lines().any(|line| line.starts_with("fault ") && line.contains(what)),
                "{what}: {text}"
            );
        }
    }

    /// Reader and writer of a connection share it, and the kernel tells only one of them.
    #[test]
    fn a_talker_that_is_reset_says_so() {
        const TALKERS: usize = 200;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let accept = |_| listener.accept().unwrap().0;
            for stream in (0..TALKERS).map(accept).collect::<Vec<_>>() {
                socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
            }
        });
        // They begin one by one, while others are reset.
        let line = format!("traffic {address} --deadline-ms 20000 --talkers {TALKERS} --every-ms 1");
        let shared = begin(&Args::parse(line.split(' ').map(str::to_owned)).unwrap()).unwrap();
        let text = until(&shared, "state over");
        server.join().unwrap();
        assert_eq!(text.matches(": reset").count(), TALKERS, "{text}");
    }
}
