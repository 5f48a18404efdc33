//! Protocols without HTTP: who speaks first, who ends first, and how.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use super::Server;
use crate::content::Sum;

/// Sends back what comes, and ends when the caller has.
pub(super) fn echo(mut stream: TcpStream, _: &Server) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; 32 * 1024];
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return stream.shutdown(Shutdown::Write);
        }
        stream.write_all(&buffer[..count])?;
    }
}

/// Speaks first, as mail servers do; then answers each line.
pub(super) fn greet(stream: TcpStream, server: &Server) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    stream.get_mut().write_all(format!("220 name={} ready\r\n", server.name).as_bytes())?;
    let mut line = String::new();
    while (&mut stream).take(1024).read_line(&mut line)? > 0 {
        let word = line.trim();
        let answer = if word == "QUIT" { "221 bye".into() } else { format!("250 {word}") };
        stream.get_mut().write_all(format!("{answer}\r\n").as_bytes())?;
        if word == "QUIT" {
            break;
        }
        line.clear();
    }
    Ok(())
}

/// Answers only after the caller's end, with the count and sum of what came.
pub(super) fn collect(mut stream: TcpStream, server: &Server) -> io::Result<()> {
    let sum = drain(&mut stream)?;
    stream.write_all(format!("name={} {sum}\n", server.name).as_bytes())
}

/// Ends its own side first, goes on reading, and tells the log what came.
pub(super) fn say(mut stream: TcpStream, server: &Server) -> io::Result<()> {
    stream.write_all(format!("name={}\n", server.name).as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let sum = drain(&mut stream)?;
    server.log.tell(format!("say {sum}"));
    Ok(())
}

/// Answers the first line and then resets the connection.
pub(super) fn reset(stream: TcpStream, server: &Server) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    stream.get_mut().write_all(format!("name={}\n", server.name).as_bytes())?;
    let mut line = String::new();
    (&mut stream).take(1024).read_line(&mut line)?;
    abort(stream.get_ref())
}

/// Makes the coming close a RST instead of a FIN.
pub(crate) fn abort(stream: &TcpStream) -> io::Result<()> {
    socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO))
}

fn drain(stream: &mut TcpStream) -> io::Result<Sum> {
    let mut sum = Sum::default();
    let mut buffer = [0; 32 * 1024];
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok(sum);
        }
        sum.add(&buffer[..count]);
    }
}
