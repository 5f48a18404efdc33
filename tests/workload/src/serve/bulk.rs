//! Bytes as fast as the way carries them, and connections that only wait: what benches need.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::Server;
use crate::content::{Checked, pattern};

/// Bytes of one write or read.
const CHUNK: usize = 64 * 1024;

/// Does what each line says until there is none: `down N` sends N bytes of the pattern, `up N` takes N bytes of it and answers
/// `ok` or `wrong OFFSET`.
pub(super) fn bytes(stream: TcpStream, _: &Server) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::with_capacity(CHUNK, stream);
    loop {
        let mut line = String::new();
        if (&mut stream).take(64).read_line(&mut line)? == 0 {
            return stream.get_ref().shutdown(Shutdown::Write);
        }
        let (direction, count) = line.trim().split_once(' ').ok_or(ErrorKind::InvalidData)?;
        let count: u64 = count.parse().map_err(|_| ErrorKind::InvalidData)?;
        match direction {
            "down" => send(stream.get_mut(), count)?,
            "up" => take(&mut stream, count)?,
            _ => return Err(ErrorKind::InvalidData.into()),
        }
    }
}

fn send(stream: &mut TcpStream, count: u64) -> io::Result<()> {
    let mut offset = 0;
    while offset < count {
        let part = CHUNK.min(usize::try_from(count - offset).unwrap_or(CHUNK));
        stream.write_all(pattern(offset, part))?;
        offset += part as u64;
    }
    Ok(())
}

fn take(stream: &mut BufReader<TcpStream>, count: u64) -> io::Result<()> {
    let mut checked = Checked::default();
    while checked.count() < count {
        let read = stream.fill_buf()?;
        if read.is_empty() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let taken = read.len().min(usize::try_from(count - checked.count()).unwrap_or(CHUNK));
        checked.add(&read[..taken]);
        stream.consume(taken);
    }
    let answer = checked.wrong().map_or_else(|| "ok\n".to_owned(), |at| format!("wrong {at}\n"));
    stream.get_mut().write_all(answer.as_bytes())
}

/// Connections that are held open without a thread for each.
static HELD: Mutex<Vec<TcpStream>> = Mutex::new(Vec::new());

/// Sends the first byte back, and keeps the connection open from then on.
pub(super) fn hold(mut stream: TcpStream, _: &Server) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut byte = [0];
    stream.read_exact(&mut byte)?;
    stream.write_all(&byte)?;
    HELD.lock().unwrap_or_else(PoisonError::into_inner).push(stream);
    Ok(())
}
