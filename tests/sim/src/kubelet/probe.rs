//! Asks a container how it is.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::object::{list, number, text};

/// As much of an answer as is read.
const ANSWER: u64 = 10 * 1024;

/// When and how often to ask.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) delay: Duration,
    pub(crate) period: Duration,
    pub(crate) successes: i64,
    pub(crate) failures: i64,
    timeout: Duration,
}

impl Pace {
    pub(crate) fn of(probe: &Value) -> Self {
        let seconds = |field: &str, usual: i64| {
            let seconds = number(probe, field).unwrap_or(usual);
            Duration::from_secs(seconds.try_into().unwrap_or_default())
        };
        Self {
            delay: seconds("/initialDelaySeconds", 0),
            period: seconds("/periodSeconds", 10).max(Duration::from_secs(1)),
            timeout: seconds("/timeoutSeconds", 1).max(Duration::from_secs(1)),
            successes: number(probe, "/successThreshold").unwrap_or(1),
            failures: number(probe, "/failureThreshold").unwrap_or(3),
        }
    }
}

/// Asks once by HTTP or TCP; why it failed.
pub(crate) async fn ask(probe: &Value, container: &Value, address: IpAddr) -> Result<(), String> {
    let pace = Pace::of(probe);
    let asking = async {
        if let Some(get) = probe.get("httpGet") {
            let port = port(&get["port"], container)?;
            let host = text(get, "/host").parse().unwrap_or(address);
            http(SocketAddr::new(host, port), get).await
        } else if let Some(tcp) = probe.get("tcpSocket") {
            let port = port(&tcp["port"], container)?;
            let dialled = TcpStream::connect(SocketAddr::new(address, port)).await;
            dialled.map(drop).map_err(|error| format!("dial tcp {address}:{port}: {error}"))
        } else {
            Err("the embedded cluster knows probes by httpGet, tcpSocket and exec only".to_owned())
        }
    };
    match tokio::time::timeout(pace.timeout, asking).await {
        Ok(done) => done,
        Err(_) => Err(format!("no answer within {:?}", pace.timeout)),
    }
}

fn port(port: &Value, container: &Value) -> Result<u16, String> {
    let number = match port.as_str() {
        Some(called) => {
            let found = list(container, "/ports").iter().find(|one| text(one, "/name") == called);
            found.and_then(|one| number(one, "/containerPort"))
        }
        None => port.as_i64(),
    };
    number
        .and_then(|number| number.try_into().ok())
        .ok_or_else(|| format!("{port} is no port of the container"))
}

async fn http(address: SocketAddr, get: &Value) -> Result<(), String> {
    let path = Some(text(get, "/path")).filter(|path| !path.is_empty()).unwrap_or("/");
    let told = |error: std::io::Error| format!("Get \"http://{address}{path}\": {error}");
    let mut stream = TcpStream::connect(address).await.map_err(told)?;
    let mut head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: kube-probe/1.34\r\n");
    for header in list(get, "/httpHeaders") {
        head.push_str(&format!("{}: {}\r\n", text(header, "/name"), text(header, "/value")));
    }
    head.push_str("Connection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.map_err(told)?;
    let mut answer = Vec::new();
    stream.take(ANSWER).read_to_end(&mut answer).await.map_err(told)?;
    let line = String::from_utf8_lossy(&answer);
    let code: Option<u16> = line.split(' ').nth(1).and_then(|code| code.parse().ok());
    match code {
        Some(200..=399) => Ok(()),
        Some(code) => Err(format!("HTTP probe failed with statuscode: {code}")),
        None => Err("HTTP probe failed: no status".to_owned()),
    }
}
