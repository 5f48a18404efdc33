//! Requests to the workload's `http` port.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A request that takes so long hangs; after this the link would have ended, too.
const PATIENCE: Duration = Duration::from_secs(60);

const KEPT: &[u8] = b"GET / HTTP/1.1\r\nHost: target\r\n\r\n";
const CLOSED: &[u8] = b"GET / HTTP/1.1\r\nHost: target\r\nConnection: close\r\n\r\n";

/// The end of every answer.
const END: &[u8] = b"path=/\n";

/// # Panics
/// When it is refused.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
    let set = stream.set_nodelay(true).and_then(|()| stream.set_read_timeout(Some(PATIENCE)));
    set.unwrap_or_else(|error| panic!("{address}: {error}"));
    stream
}

/// A request and its answer on a connection that stays.
///
/// # Panics
/// When none comes.
pub(crate) fn ask(stream: &mut TcpStream) {
    exchange(stream, KEPT);
}

/// A connection of one request and its answer. The server ends it behind the answer; that is not waited for, since kubectl
/// tells of it only after a second.
///
/// # Panics
/// When none comes.
pub(crate) fn get_once(address: SocketAddr) {
    exchange(&mut connect(address), CLOSED);
}

fn exchange(stream: &mut TcpStream, request: &[u8]) {
    stream.write_all(request).unwrap_or_else(|error| panic!("a request: {error}"));
    let mut answer = [0; 4096];
    let mut count = 0;
    while !answer[..count].ends_with(END) {
        let read = stream.read(&mut answer[count..]).unwrap_or_else(|error| panic!("an answer: {error}"));
        assert!(read > 0, "the connection was dropped");
        count += read;
    }
}
