//! Bytes as fast as the way carries them, and connections that only wait: what benches need.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::Server;
use crate::content::{Checked, pattern};

/// Bytes of one write or read.
const CHUNK: usize = 64 * 1024;

/// `down N`: sends N bytes of the pattern and ends. `up N`: takes N bytes of it, answers `ok` or `wrong OFFSET`, and ends.
pub(super) fn bytes(stream: TcpStream, _: &Server) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::with_capacity(CHUNK, stream);
    let mut line = String::new();
    (&mut stream).take(64).read_line(&mut line)?;
    let (direction, count) = line.trim().split_once(' ').ok_or(ErrorKind::InvalidData)?;
    let count: u64 = count.parse().map_err(|_| ErrorKind::InvalidData)?;
    match direction {
        "down" => {
            let mut offset = 0;
            while offset < count {
                let part = CHUNK.min(usize::try_from(count - offset).unwrap_or(CHUNK));
                stream.get_mut().write_all(pattern(offset, part))?;
                offset += part as u64;
            }
        }
        "up" => {
            let mut checked = Checked::default();
            while checked.count() < count {
                let read = stream.fill_buf()?;
                if read.is_empty() {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
                let taken = read.len();
                checked.add(read);
                stream.consume(taken);
            }
            let answer = checked.wrong().map_or_else(|| "ok\n".to_owned(), |at| format!("wrong {at}\n"));
            stream.get_mut().write_all(answer.as_bytes())?;
        }
        _ => return Err(ErrorKind::InvalidData.into()),
    }
    stream.get_ref().shutdown(Shutdown::Write)?;
    // Whoever closes with bytes unread resets.
    drop(io::copy(&mut stream, &mut io::sink()));
    Ok(())
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
