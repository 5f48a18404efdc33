//! As much HTTP/1.1 as a few requests to an API server need: one for each connection, with a deadline.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::{tls, variable};

/// To connect, and for each read and write after that.
const PATIENCE: Duration = Duration::from_secs(10);
/// No Service is bigger; etcd takes no more than 1.5 MiB.
const ANSWER_MAX: u64 = 4 << 20;

/// The API server, as this pod may ask it.
pub struct Cluster {
    host: String,
    port: u16,
    /// Renewed by the kubelet: read for each request.
    token: PathBuf,
    trust: Arc<rustls::ClientConfig>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

/// What may be asked.
#[derive(Clone, Copy, Debug)]
pub(super) enum Method {
    Get,
    /// With a JSON patch.
    Patch,
    /// With options.
    Delete,
}

/// What was answered.
#[derive(Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

impl Cluster {
    /// Reads the variables through `lookup`, and the certificate authority.
    ///
    /// # Errors
    /// What is missing or cannot be read.
    pub fn from_env(lookup: impl Fn(&'static str) -> Option<OsString>) -> Result<Self, String> {
        let program = variable(&lookup, "KUBETETHER_RESTORE")?;
        let folder = Path::new(&program).parent().unwrap_or_else(|| Path::new("/"));
        let authority = folder.join("ca.crt");
        let pem = std::fs::read(&authority).map_err(|error| format!("{}: {error}", authority.display()))?;
        let port = variable(&lookup, "KUBERNETES_SERVICE_PORT")?;
        Ok(Self {
            host: variable(&lookup, "KUBERNETES_SERVICE_HOST")?,
            port: port.parse().map_err(|_| format!("KUBERNETES_SERVICE_PORT is {port:?}, not a port"))?,
            token: folder.join("token"),
            trust: tls::trusting(&pem)?,
        })
    }

    /// Asks, and waits for the whole answer.
    pub(super) fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer, String> {
        self.ask_within(PATIENCE, method, path, body)
    }

    /// The same, with so much for each step.
    pub(super) fn ask_within(
        &self,
        patience: Duration,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, String> {
        let failed = |error: &dyn fmt::Display| format!("the API server at {}: {error}", self.host);
        let token = std::fs::read_to_string(&self.token)
            .map_err(|error| format!("{}: {error}", self.token.display()))?;
        let socket = self.connect(patience).map_err(|error| failed(&error))?;
        let mut stream = tls::connect(&self.trust, &self.host, socket)?;
        let body = body.map(Value::to_string).unwrap_or_default();
        let (verb, content) = match method {
            Method::Get => ("GET", "application/json"),
            Method::Patch => ("PATCH", "application/json-patch+json"),
            Method::Delete => ("DELETE", "application/json"),
        };
        let request = format!(
            "{verb} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nUser-Agent: kubetether\r\n\
             Accept: application/json\r\nContent-Type: {content}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.authority(),
            token.trim(),
            body.len(),
        );
        stream.write_all(request.as_bytes()).map_err(|error| failed(&error))?;
        let mut whole = Vec::new();
        match (&mut stream).take(ANSWER_MAX).read_to_end(&mut whole) {
            // A server that ends without TLS's own goodbye; the length tells whether something is missing.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            read => drop(read.map_err(|error| failed(&error))?),
        }
        Answer::parse(&whole).ok_or_else(|| failed(&"its answer is not HTTP, or not whole"))
    }

    fn connect(&self, patience: Duration) -> io::Result<TcpStream> {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in (self.host.as_str(), self.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, patience) {
                Ok(socket) => {
                    socket.set_read_timeout(Some(patience))?;
                    socket.set_write_timeout(Some(patience))?;
                    return Ok(socket);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn authority(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }
}

impl Answer {
    /// From all bytes of a connection; `None` when it is not whole.
    pub(super) fn parse(whole: &[u8]) -> Option<Self> {
        let end = whole.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&whole[..end]).ok()?;
        let body = &whole[end + 4..];
        let mut lines = head.split("\r\n");
        let status = lines.next()?.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
        let header = |name: &str| {
            let mut fields = lines.clone().filter_map(|line| line.split_once(':'));
            fields.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
        };
        let body = if header("Transfer-Encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
        {
            chunks(body)?
        } else if let Some(length) = header("Content-Length") {
            body.get(..length.parse().ok()?)?.to_vec()
        } else {
            body.to_vec()
        };
        Some(Self { status, body })
    }
}

/// The chunks of a body joined; `None` without the last one.
fn chunks(mut body: &[u8]) -> Option<Vec<u8>> {
    let mut joined = Vec::new();
    loop {
        let line = body.windows(2).position(|two| two == b"\r\n")?;
        let size = std::str::from_utf8(&body[..line]).ok()?.split(';').next()?.trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return Some(joined);
        }
        body = &body[line + 2..];
        joined.extend_from_slice(body.get(..size)?);
        body = body.get(size.checked_add(2)?..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &[u8]) -> Option<Answer> {
        Some(Answer { status, body: body.to_vec() })
    }

    #[test]
    fn answers_end_by_length_by_chunks_or_with_the_connection() {
        let length = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(Answer::parse(length), answer(200, b"{}"));
        let chunked =
            b"HTTP/1.1 409 Conflict\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n";
        assert_eq!(Answer::parse(chunked), answer(409, b"abcde"));
        assert_eq!(Answer::parse(b"HTTP/1.0 404 Not Found\r\n\r\nno"), answer(404, b"no"));
    }

    #[test]
    fn what_is_not_whole_is_none() {
        let whole = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        for cut in 0..whole.len() - 2 {
            assert_eq!(Answer::parse(&whole[..cut]), None, "{cut}");
        }
        assert_eq!(Answer::parse(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}"), None);
        assert_eq!(
            Answer::parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"),
            None
        );
    }
}
