//! As much HTTP/1.1 as server and client of the scenarios need: keep-alive and Content-Length.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::names;

/// Longest line of a head that is read.
const LINE: u64 = 16 * 1024;

/// The head of a request or an answer: its first line and what follows in the body.
#[derive(Debug, PartialEq, Eq)]
pub struct Head {
    /// The first line.
    pub start: String,
    /// The bytes of the body.
    pub length: u64,
    /// The sender closes after it.
    pub close: bool,
}

/// Reads a head; `None` when the peer has closed before its first byte.
///
/// # Errors
/// Those of the reader, `UnexpectedEof` within a head, `InvalidData` for what is no HTTP.
pub fn read_head(from: &mut impl BufRead) -> io::Result<Option<Head>> {
    let Some(start) = line(from)? else { return Ok(None) };
    let mut head = Head { start, length: 0, close: false };
    loop {
        let line = line(from)?.ok_or(ErrorKind::UnexpectedEof)?;
        if line.is_empty() {
            return Ok(Some(head));
        }
        let (name, value) = line.split_once(':').ok_or(ErrorKind::InvalidData)?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            head.length = value.parse().map_err(|_| ErrorKind::InvalidData)?;
        } else if name.eq_ignore_ascii_case("connection") {
            head.close = value.eq_ignore_ascii_case("close");
        }
    }
}

fn line(from: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    from.by_ref().take(LINE).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.pop() != Some(b'\n') {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    String::from_utf8(line).map(Some).map_err(|_| ErrorKind::InvalidData.into())
}

/// `http://HOST[:PORT][/PATH]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// The host as it stands in the URL.
    pub host: String,
    /// The port; 80 when the URL has none.
    pub port: u16,
    /// The path with its query; `/` when the URL has none.
    pub path: String,
}

impl Url {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// When it is not of that form.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bad = || format!("{text}: not http://HOST[:PORT][/PATH]");
        let rest = text.strip_prefix("http://").ok_or_else(bad)?;
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| bad())?),
            None => (authority, 80),
        };
        if host.is_empty() {
            return Err(bad());
        }
        Ok(Self { host: host.into(), port, path: path.into() })
    }

    /// The first address of its host.
    ///
    /// # Errors
    /// `NotFound` when the name has none.
    pub fn resolve(&self) -> io::Result<SocketAddr> {
        resolve(&format!("{}:{}", self.host, self.port))
    }
}

/// The first address of `host:port`.
///
/// # Errors
/// `NotFound` when the name has none.
pub fn resolve(address: &str) -> io::Result<SocketAddr> {
    if let Some((host, port)) = address.rsplit_once(':')
        && host.parse::<std::net::IpAddr>().is_err()
        && let Some(found) = names::look_up(host)
    {
        let port = port.parse().map_err(|_| ErrorKind::InvalidInput)?;
        return Ok((found?, port).into());
    }
    let found = address.to_socket_addrs();
    found.ok().and_then(|mut all| all.next()).ok_or_else(|| ErrorKind::NotFound.into())
}

/// A connection that asks, keep-alive.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    /// Connects; `deadline` holds for the connect and for each read and write after it.
    ///
    /// # Errors
    /// Those of the connect.
    pub fn connect(address: SocketAddr, deadline: Duration) -> io::Result<Self> {
        Self::over(TcpStream::connect_timeout(&address, deadline)?, deadline)
    }

    /// Over a connection that is there.
    ///
    /// # Errors
    /// Those of setting it up.
    pub fn over(stream: TcpStream, deadline: Duration) -> io::Result<Self> {
        stream.set_read_timeout(Some(deadline))?;
        stream.set_write_timeout(Some(deadline))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// One request without a body; gives the answer's body.
    ///
    /// # Errors
    /// Those of the connection; `UnexpectedEof` when it ends before the answer; `InvalidData` for a
    /// status other than 200.
    pub fn get(&mut self, host: &str, path: &str) -> io::Result<String> {
        self.ask("GET", host, path, 0)?;
        let length = self.answer()?;
        let mut body = String::new();
        (&mut self.stream).take(length).read_to_string(&mut body)?;
        if body.len() as u64 != length {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(body)
    }

    /// Sends the head of a request.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn ask(&mut self, method: &str, host: &str, path: &str, length: u64) -> io::Result<()> {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n");
        self.stream.get_mut().write_all(head.as_bytes())
    }

    /// Reads the head of an answer; gives the length of its body.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn answer(&mut self) -> io::Result<u64> {
        let head = read_head(&mut self.stream)?.ok_or(ErrorKind::UnexpectedEof)?;
        if head.start.split(' ').nth(1) != Some("200") {
            return Err(io::Error::new(ErrorKind::InvalidData, head.start));
        }
        Ok(head.length)
    }

    /// What the answer's body is read from, and the request's body written to.
    pub fn stream(&mut self) -> &mut BufReader<TcpStream> {
        &mut self.stream
    }
}

/// The `name=` of an answer of [`serve`](crate::serve), or `?`.
#[must_use]
pub fn name_in(body: &str) -> &str {
    body.split_whitespace().find_map(|word| word.strip_prefix("name=")).unwrap_or("?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let url = |text| Url::parse(text).map(|url| (url.host, url.port, url.path));
        assert_eq!(url("http://orders"), Ok(("orders".into(), 80, "/".into())));
        assert_eq!(url("http://orders:81/a?b=c:d"), Ok(("orders".into(), 81, "/a?b=c:d".into())));
        for bad in ["orders", "http://", "http://:80", "http://a:b", "https://a"] {
            assert!(url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn heads() {
        let mut bytes = &b"POST /sum HTTP/1.1\r\nHost: x\r\ncontent-LENGTH: 12\r\n\r\nrest"[..];
        let head = read_head(&mut bytes).unwrap().unwrap();
        assert_eq!(head, Head { start: "POST /sum HTTP/1.1".into(), length: 12, close: false });
        assert_eq!(bytes, b"rest");
        assert_eq!(read_head(&mut &b""[..]).unwrap(), None);
        for bad in [&b"GET"[..], b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nnonsense\r\n\r\n"] {
            assert!(read_head(&mut &*bad).is_err());
        }
    }
}
