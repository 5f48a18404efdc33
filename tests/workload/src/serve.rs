//! The server: every protocol habit that a tunnel can get wrong, a port each.

mod raw;
mod web;

use std::io;
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::args::Args;

/// The ways to serve a TCP port, by option name: `--http 8080 --echo 9000`.
const HABITS: [(&str, Habit); 6] = [
    ("http", web::serve),
    ("echo", raw::echo),
    ("greet", raw::greet),
    ("collect", raw::collect),
    ("say", raw::say),
    ("reset", raw::reset),
];

pub(crate) use self::raw::abort;

type Habit = fn(TcpStream, &Server) -> io::Result<()>;

/// What every answer tells.
#[derive(Debug)]
pub struct Server {
    name: String,
    port: u16,
}

/// Serves `--name` on the ports given by `--http`, `--echo`, `--greet`, `--collect`, `--say`, `--reset`
/// and `--udp`, for ever.
///
/// # Errors
/// When a port cannot be listened on or the options make no sense.
pub fn run(args: &Args) -> Result<(), String> {
    let name: String = args.get("name", "workload".to_owned())?;
    for (option, habit) in HABITS {
        for text in args.all(option) {
            let (listener, port) = listen(text)?;
            let server = Arc::new(Server { name: name.clone(), port });
            spawn(move || accept(&listener, habit, &server))?;
        }
    }
    for text in args.all("udp") {
        let port = parse_port(text)?;
        let socket = UdpSocket::bind(address(port)).map_err(|error| format!("UDP port {port}: {error}"))?;
        spawn(move || echo_datagrams(&socket))?;
    }
    loop {
        thread::park();
    }
}

fn spawn(work: impl FnOnce() + Send + 'static) -> Result<(), String> {
    crate::spawn(work).map_err(|error| format!("no thread: {error}"))
}

fn parse_port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| format!("{text}: not a port"))
}

/// Both families where the machine has both.
fn address(port: u16) -> SocketAddr {
    let v6 = Ipv6Addr::UNSPECIFIED;
    if UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        (v6, port).into()
    } else {
        ([0, 0, 0, 0], port).into()
    }
}

fn listen(text: &str) -> Result<(TcpListener, u16), String> {
    let port = parse_port(text)?;
    let socket = || -> io::Result<TcpListener> {
        let address = address(port);
        let socket =
            socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        // The kernel's own limit applies; the standard library's 128 drops SYNs of 1,000 callers at once.
        socket.listen(4096)?;
        Ok(socket.into())
    };
    socket().map(|listener| (listener, port)).map_err(|error| format!("port {port}: {error}"))
}

fn accept(listener: &TcpListener, habit: Habit, server: &Arc<Server>) {
    loop {
        let started = listener.accept().and_then(|(stream, _)| {
            let server = Arc::clone(server);
            // A caller that goes away is no fault of the server's.
            crate::spawn(move || drop(habit(stream, &server)))
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
