//! HTTP for thousands of connections that hardly ever ask: one thread looks after all of them, so that each costs a
//! descriptor and nothing else.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::Server;

/// Between two looks at connections none of which had anything to say.
const PAUSE: Duration = Duration::from_millis(5);
/// No request is longer.
const LONGEST: usize = 4096;

/// The connections of a port; `None` when nobody looks after them yet.
#[derive(Debug, Default)]
pub(super) struct Crowd(Arc<Mutex<Option<Vec<Member>>>>);

#[derive(Debug)]
struct Member {
    stream: TcpStream,
    read: Vec<u8>,
}

/// Answers each request without a body as `http` does. Returns at once: the connection is the crowd's.
pub(super) fn serve(stream: TcpStream, server: &Server) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    let shared = Arc::clone(&server.crowd.0);
    let mut members = shared.lock().unwrap_or_else(PoisonError::into_inner);
    let first = members.is_none();
    members.get_or_insert_default().push(Member { stream, read: Vec::new() });
    drop(members);
    if first {
        let (name, port) = (server.name.clone(), server.port);
        crate::spawn(move || look_after(&shared, &name, port))?;
    }
    Ok(())
}

fn look_after(shared: &Mutex<Option<Vec<Member>>>, name: &str, port: u16) {
    loop {
        let mut members = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let mut idle = true;
        members.get_or_insert_default().retain_mut(|member| match member.turn(name, port) {
            Ok(busy) => {
                idle &= !busy;
                true
            }
            // Its end, or a fault: either way it is gone, which the other side sees.
            Err(_) => false,
        });
        drop(members);
        if idle {
            thread::sleep(PAUSE);
        }
    }
}

impl Member {
    /// Answers what has come; whether anything had.
    fn turn(&mut self, name: &str, port: u16) -> io::Result<bool> {
        let mut buffer = [0; 1024];
        let count = match self.stream.read(&mut buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        };
        self.read.extend_from_slice(&buffer[..count]);
        while let Some(end) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&self.read[..end]).into_owned();
            self.read.drain(..end + 4);
            let path = head.split(' ').nth(1).ok_or(ErrorKind::InvalidData)?;
            let body = format!("name={name} port={port} path={path}\n");
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            // An empty socket takes so little in one go.
            self.stream.write_all(answer.as_bytes())?;
        }
        if self.read.len() > LONGEST { Err(ErrorKind::InvalidData.into()) } else { Ok(true) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::http::Client;
    use crate::serve::{Log, start};

    #[test]
    fn many_are_answered_and_none_waits_for_another() {
        let served = start("crowd", "x", ([127, 0, 0, 1], 0).into(), &Log::default().into()).unwrap();
        let connect = || Client::connect(served.address(), Duration::from_secs(10)).unwrap();
        let mut all: Vec<Client> = (0..50).map(|_| connect()).collect();
        for round in 0..2 {
            for (number, client) in all.iter_mut().enumerate() {
                let path = format!("/{round}/{number}");
                let body = client.get("x", &path).unwrap();
                assert!(body.contains(&format!("name=x port={} path={path}\n", served.address().port())));
            }
        }
    }
}
