//! The health port: plain HTTP, 200 when a connection can be placed, else 503, and nothing else.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

/// Who asks is the kubelet, once a second.
const AT_ONCE: usize = 16;
const REQUEST_MAX: usize = 4096;
/// The kubelet waits a second; whoever is silent longer than this does not ask.
const PATIENCE: Duration = Duration::from_millis(500);
const READY: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
const NOT_READY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// Whether the agent is ready; shared with the rest of the process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ready(Arc<AtomicBool>);

impl Ready {
    /// From now on 200.
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// From now on 503.
    pub(crate) fn unset(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// Answers until dropped.
pub(crate) async fn serve(listener: TcpListener, ready: Ready) {
    let mut asking = JoinSet::new();
    // In the order they came, the ended ones among them until they are the oldest.
    let mut order: VecDeque<AbortHandle> = VecDeque::with_capacity(AT_ONCE);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => {
                    let ready = ready.clone();
                    // Whoever is silent must not keep the kubelet out: the oldest makes place.
                    if order.len() >= AT_ONCE
                        && let Some(oldest) = order.pop_front()
                    {
                        oldest.abort();
                    }
                    order.push_back(asking.spawn(async move { timeout(PATIENCE, answer(socket, &ready)).await }));
                }
                // Out of descriptors, most likely; asked again in a second anyway.
                Err(_) => sleep(Duration::from_millis(100)).await,
            },
            Some(_) = asking.join_next() => {}
        }
    }
}

/// Whatever is asked gets the same answer; a request that does not end is not answered.
async fn answer(mut socket: TcpStream, ready: &Ready) -> io::Result<()> {
    let mut request = Vec::with_capacity(512);
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        if request.len() > REQUEST_MAX || socket.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let answer = if ready.0.load(Ordering::Relaxed) { READY } else { NOT_READY };
    socket.write_all(answer).await?;
    socket.shutdown().await
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    async fn ask(address: SocketAddr, request: &[u8]) -> String {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(request).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn tells_readiness_and_nothing_else() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ready = Ready::default();
        let server = tokio::spawn(serve(listener, ready.clone()));
        let before = ask(address, b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert_eq!(before.as_bytes(), NOT_READY);
        ready.set();
        assert_eq!(ask(address, b"GET / HTTP/1.0\r\n\r\n").await.as_bytes(), READY);
        assert_eq!(ask(address, b"DELETE /secrets HTTP/1.1\r\n\r\n").await.as_bytes(), READY);
        ready.unset();
        assert_eq!(ask(address, b"GET / HTTP/1.1\r\n\r\n").await.as_bytes(), NOT_READY);
        let endless = vec![b'x'; REQUEST_MAX + 1000];
        let mut socket = TcpStream::connect(address).await.unwrap();
        // The answer to too much is the end of the connection, which may come while we still write.
        let _ = socket.write_all(&endless).await;
        let mut rest = Vec::new();
        let _ = socket.read_to_end(&mut rest).await;
        assert!(rest.is_empty());
        server.abort();
    }

    #[tokio::test]
    async fn silent_ones_keep_nobody_out() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(serve(listener, Ready::default()));
        let mut silent = Vec::new();
        for _ in 0..AT_ONCE {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        // Less than the silent ones are waited for.
        let asked = timeout(PATIENCE / 2, ask(address, b"GET / HTTP/1.1\r\n\r\n")).await;
        assert_eq!(asked.unwrap().as_bytes(), NOT_READY);
        server.abort();
    }
}
