//! Proving, from inside the cluster, that connections to the Service arrive here.
//!
//! The agent connects to the Service's own address, sends no byte and ends its side. While such a proof is
//! outstanding, and only then, a new connection on that port is held for a moment: one that ends without a byte
//! is taken for the proof and answered with its nonce, any other goes its way untouched. Who connects cannot be
//! told by address, since nodes rewrite the source of a pod's connection to itself.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kubetether_wire::{Answer, CallCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

const NONCE: usize = 16;
/// A caller whose server speaks first is held this long at most; it shows no byte on its own.
const HOLD: Duration = Duration::from_millis(250);
/// How long one connection that was accepted may take to show the nonce. Someone else's server may say nothing.
const ANSWER: Duration = Duration::from_secs(1);

/// All outstanding proofs: one at a time for each port.
#[derive(Debug, Default)]
pub(super) struct Proofs {
    outstanding: Mutex<HashMap<u16, Outstanding>>,
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone)]
struct Outstanding {
    nonce: [u8; NONCE],
    settled: Arc<watch::Sender<bool>>,
}

/// What a held connection turned out to be.
#[derive(Debug)]
pub(super) enum Held {
    /// A real caller's; nothing was read from it.
    Caller(TcpStream),
    /// The proof's; answered and closed.
    Proof,
}

enum Seen {
    Here,
    Elsewhere,
    Failed(String),
}

impl Proofs {
    /// Holds a new connection for as long as it may be the proof. Returns at once while none is outstanding.
    pub(super) async fn hold(&self, port: u16, socket: TcpStream) -> Held {
        let Some(proof) = self.lock().get(&port).cloned() else { return Held::Caller(socket) };
        let mut settled = proof.settled.subscribe();
        let mut byte = [0];
        tokio::select! {
            biased;
            seen = socket.peek(&mut byte) => match seen {
                Ok(0) => {
                    proof.settled.send_replace(true);
                    // Fits into any send buffer; a prober that is gone needs no answer.
                    let _ = socket.try_write(&proof.nonce);
                    Held::Proof
                }
                Ok(_) | Err(_) => Held::Caller(socket),
            },
            _ = settled.wait_for(|settled| *settled) => Held::Caller(socket),
            () = sleep(HOLD) => Held::Caller(socket),
        }
    }

    /// Connects `times` times to `address` and counts where the connections arrive. Calls wait for each other.
    pub(super) async fn prove(&self, port: u16, address: SocketAddr, times: u8, limit: Duration) -> Answer {
        let deadline = Instant::now() + limit;
        let Ok(_turn) = timeout_at(deadline, self.turn.lock()).await else {
            return Answer::failed(CallCode::Busy, "other proofs are running");
        };
        let (mut here, mut elsewhere, mut failed, mut last_error) = (0, 0, 0, String::new());
        for _ in 0..times {
            let mut nonce = [0; NONCE];
            if let Err(error) = getrandom::fill(&mut nonce) {
                return Answer::failed(CallCode::Internal, format!("no random bytes: {error}"));
            }
            let proof = self.start(port, nonce);
            match attempt(address, &nonce, deadline).await {
                Seen::Here => here += 1,
                Seen::Elsewhere => elsewhere += 1,
                Seen::Failed(error) => {
                    failed += 1;
                    last_error = error;
                }
            }
            drop(proof);
        }
        Answer::Prove { here, elsewhere, failed, last_error }
    }

    fn start(&self, port: u16, nonce: [u8; NONCE]) -> Started<'_> {
        let settled = Arc::new(watch::Sender::new(false));
        self.lock().insert(port, Outstanding { nonce, settled });
        Started { proofs: self, port }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u16, Outstanding>> {
        // Nothing under this lock can panic half-way.
        self.outstanding.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An outstanding proof; settled when dropped, so that no caller is held for a call that was cancelled.
struct Started<'a> {
    proofs: &'a Proofs,
    port: u16,
}

impl Drop for Started<'_> {
    fn drop(&mut self) {
        if let Some(proof) = self.proofs.lock().remove(&self.port) {
            proof.settled.send_replace(true);
        }
    }
}

async fn attempt(address: SocketAddr, nonce: &[u8; NONCE], deadline: Instant) -> Seen {
    let mut socket = match timeout_at(deadline, TcpStream::connect(address)).await {
        Ok(Ok(socket)) => socket,
        Ok(Err(error)) => return Seen::Failed(format!("{address}: {error}")),
        Err(_) => return Seen::Failed(format!("{address}: no answer within the deadline")),
    };
    let answered = timeout_at(deadline.min(Instant::now() + ANSWER), answer(&mut socket)).await;
    match answered {
        Ok(Ok(answer)) if answer == nonce => Seen::Here,
        // Closed, reset, other bytes, or silence: accepted by somebody else.
        Ok(Ok(_) | Err(_)) | Err(_) => Seen::Elsewhere,
    }
}

/// Ends our side and reads what comes, up to a byte more than a nonce has.
async fn answer(socket: &mut TcpStream) -> io::Result<Vec<u8>> {
    socket.shutdown().await?;
    let mut answer = Vec::with_capacity(NONCE + 1);
    socket.take(NONCE as u64 + 1).read_to_end(&mut answer).await?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const PORT: u16 = 80;
    const LIMIT: Duration = Duration::from_secs(10);

    fn counts(answer: Answer) -> (u8, u8, u8) {
        let Answer::Prove { here, elsewhere, failed, .. } = answer else { panic!("{answer:?}") };
        (here, elsewhere, failed)
    }

    async fn listening() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    #[tokio::test]
    async fn what_arrives_here_is_counted_here() {
        let (listener, address) = listening().await;
        let proofs = Arc::new(Proofs::default());
        let server = tokio::spawn({
            let proofs = Arc::clone(&proofs);
            async move {
                loop {
                    let (socket, _) = listener.accept().await.unwrap();
                    assert!(matches!(proofs.hold(PORT, socket).await, Held::Proof));
                }
            }
        });
        assert_eq!(counts(proofs.prove(PORT, address, 5, LIMIT).await), (5, 0, 0));
        server.abort();
        assert!(proofs.lock().is_empty());
    }

    #[tokio::test]
    async fn what_arrives_elsewhere_or_nowhere_is_told_apart() {
        let proofs = Proofs::default();
        let (listener, address) = listening().await;
        let server = tokio::spawn(async move {
            loop {
                // Closes at once, which is a FIN.
                drop(listener.accept().await.unwrap());
            }
        });
        assert_eq!(counts(proofs.prove(PORT, address, 3, LIMIT).await), (0, 3, 0));
        server.abort();
        let closed = listening().await.1;
        assert_eq!(counts(proofs.prove(PORT, closed, 2, LIMIT).await), (0, 0, 2));
    }

    #[tokio::test]
    async fn a_caller_with_bytes_keeps_them_and_a_silent_one_is_released() {
        let (listener, address) = listening().await;
        let proofs = Proofs::default();
        let proof = proofs.start(PORT, [7; NONCE]);
        let mut caller = TcpStream::connect(address).await.unwrap();
        caller.write_all(b"GET /").await.unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        let Held::Caller(mut socket) = proofs.hold(PORT, socket).await else { panic!("taken for the proof") };
        let mut bytes = [0; 5];
        socket.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"GET /");

        // A caller that waits for the server to speak is let go when the proof is settled.
        let silent = TcpStream::connect(address).await.unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        let held = proofs.hold(PORT, socket);
        tokio::pin!(held);
        assert!(futures_poll_once(&mut held).await.is_none());
        drop(proof);
        assert!(matches!(held.await, Held::Caller(_)));
        drop(silent);
    }

    #[tokio::test]
    async fn other_ports_are_not_held() {
        let (listener, address) = listening().await;
        let proofs = Proofs::default();
        let _proof = proofs.start(PORT, [7; NONCE]);
        let _caller = TcpStream::connect(address).await.unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        let held = proofs.hold(PORT + 1, socket);
        tokio::pin!(held);
        assert!(futures_poll_once(&mut held).await.is_some());
    }

    /// What the future gives without waiting.
    async fn futures_poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        std::future::poll_fn(|cx| {
            std::task::Poll::Ready(match std::pin::Pin::new(&mut *future).poll(cx) {
                std::task::Poll::Ready(value) => Some(value),
                std::task::Poll::Pending => None,
            })
        })
        .await
    }
}
