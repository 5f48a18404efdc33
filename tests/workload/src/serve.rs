//! The server: every protocol habit that a tunnel can get wrong, a port each.

mod bulk;
mod crowd;
mod raw;
mod web;

use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

pub(crate) use self::raw::abort;
use crate::args::Args;
use crate::fault;

/// The ways to serve a TCP port, by name and as options: `--http 8080 --echo 9000`.
const HABITS: [(&str, Habit); 9] = [
    ("http", web::serve),
    ("echo", raw::echo),
    ("greet", raw::greet),
    ("collect", raw::collect),
    ("say", raw::say),
    ("reset", raw::reset),
    ("crowd", crowd::serve),
    ("bytes", bulk::bytes),
    ("hold", bulk::hold),
];

type Habit = fn(TcpStream, &Server) -> io::Result<()>;

/// Serves `--name` on the ports given by `--http`, `--echo`, `--greet`, `--collect`, `--say`, `--reset`, `--crowd`, `--bytes`, `--hold`
/// and `--udp`, for ever; port 0 is a free one. Prints `HABIT PORT` for each TCP port that it listens on.
///
/// # Errors
/// When a port cannot be listened on or the options make no sense.
pub fn run(args: &Args) -> Result<(), String> {
    let name: String = args.get("name", "workload".to_owned())?;
    let log = Arc::new(Log::default());
    let mut served = Vec::new();
    for (habit, _) in HABITS {
        for text in args.all(habit) {
            let port = parse_port(text)?;
            let started = start(habit, &name, any_address(port), &log);
            let started = started.map_err(|error| format!("--{habit} {port}: {error}"))?;
            let told = writeln!(io::stdout(), "{habit} {}", started.address().port());
            told.map_err(|error| format!("standard output: {error}"))?;
            served.push(started);
        }
    }
    for text in args.all("udp") {
        let port = parse_port(text)?;
        let socket = UdpSocket::bind(any_address(port)).map_err(|error| format!("--udp {port}: {error}"))?;
        crate::spawn(move || echo_datagrams(&socket)).map_err(|error| format!("no thread: {error}"))?;
    }
    loop {
        thread::park();
    }
}

/// Listens at `address` (port 0: a free one) and serves each connection by `habit` in a thread of its
/// own, until what this gives is dropped; connections that are open then go on. How each ended goes to
/// `log`.
///
/// # Errors
/// `NotFound` for a habit that is none, else those of the system.
pub fn start(habit: &str, name: &str, address: SocketAddr, log: &Arc<Log>) -> io::Result<Served> {
    let found = HABITS.iter().find(|(known, _)| *known == habit);
    let (known, habit) = *found.ok_or(io::ErrorKind::NotFound)?;
    let listener = listen(address)?;
    let address = listener.local_addr()?;
    let stopped = Arc::new(AtomicBool::new(false));
    let (name, port, log) = (name.to_owned(), address.port(), Arc::clone(log));
    let server = Arc::new(Server { name, port, log, crowd: crowd::Crowd::default() });
    let flag = Arc::clone(&stopped);
    crate::spawn(move || accept(&listener, known, habit, &server, &flag))?;
    Ok(Served { address, stopped })
}

/// A listening port; dropping it stops listening.
#[derive(Debug)]
pub struct Served {
    address: SocketAddr,
    stopped: Arc<AtomicBool>,
}

impl Served {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Release);
        // Wakes the one that accepts; when it cannot, the port stays until the process ends.
        drop(TcpStream::connect_timeout(&self.address, Duration::from_secs(1)));
    }
}

/// What the habits tell of their connections, the newest last.
#[derive(Debug, Default)]
pub struct Log(Mutex<VecDeque<String>>);

impl Log {
    const LINES: usize = 1000;

    /// The lines so far: `HABIT end` or `HABIT fault WORD` for each connection that is over, and what the
    /// habit had to say before.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn tell(&self, line: String) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == Self::LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }
}

/// What a habit knows of its port.
#[derive(Debug)]
struct Server {
    name: String,
    port: u16,
    log: Arc<Log>,
    crowd: crowd::Crowd,
}

fn parse_port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| format!("{text}: not a port"))
}

/// Both families where the machine has both; in the embedded cluster the pod's address, since pods share a machine.
fn any_address(port: u16) -> SocketAddr {
    if let Some(own) = crate::names::pod_address() {
        return (own, port).into();
    }
    match UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)) {
        Ok(_) => (Ipv6Addr::UNSPECIFIED, port).into(),
        Err(_) => ([0, 0, 0, 0], port).into(),
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    // The kernel's own limit applies; the standard library's 128 drops SYNs of 1,000 callers at once.
    socket.listen(4096)?;
    Ok(socket.into())
}

fn accept(
    listener: &TcpListener,
    name: &'static str,
    habit: Habit,
    server: &Arc<Server>,
    stopped: &AtomicBool,
) {
    loop {
        let accepted = listener.accept();
        if stopped.load(Ordering::Acquire) {
            return;
        }
        let started = accepted.and_then(|(stream, _)| {
            let server = Arc::clone(server);
            crate::spawn(move || {
                let end = match habit(stream, &server) {
                    Ok(()) => "end".to_owned(),
                    Err(error) => format!("fault {}", fault::word(&error)),
                };
                server.log.tell(format!("{name} {end}"));
            })
        });
        if started.is_err() {
            // Out of descriptors or threads: those in use come back.
            thread::sleep(Duration::from_millis(10));
        }
    }
}

fn echo_datagrams(socket: &UdpSocket) {
    let mut buffer = vec![0; 65536];
    while let Ok((count, from)) = socket.recv_from(&mut buffer) {
        // A lost answer is in the nature of UDP.
        drop(socket.send_to(&buffer[..count], from));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_port_tells_how_its_connections_ended_and_goes_when_dropped() {
        let log = Arc::new(Log::default());
        let served = start("echo", "x", ([127, 0, 0, 1], 0).into(), &log).unwrap();
        let mut good = TcpStream::connect(served.address()).unwrap();
        good.write_all(b"hello").unwrap();
        good.shutdown(std::net::Shutdown::Write).unwrap();
        let mut back = String::new();
        good.read_to_string(&mut back).unwrap();
        assert_eq!(back, "hello");
        let bad = TcpStream::connect(served.address()).unwrap();
        abort(&bad).unwrap();
        drop(bad);
        let limit = Instant::now() + Duration::from_secs(5);
        while log.lines().len() < 2 {
            assert!(Instant::now() < limit, "{:?}", log.lines());
            thread::yield_now();
        }
        assert_eq!(log.lines(), ["echo end", "echo fault reset"]);

        let address = served.address();
        drop(served);
        while TcpStream::connect(address).is_ok() {
            assert!(Instant::now() < limit, "it still listens");
            thread::yield_now();
        }
    }
}
