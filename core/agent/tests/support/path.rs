//! A way to the agent that can be frozen and cut, as networks are.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Passing,
    Frozen,
    Cut,
}

/// Passes connections on to one address.
pub struct Path {
    pub address: SocketAddr,
    state: watch::Sender<State>,
}

impl Path {
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = watch::Sender::new(State::Passing);
        let watch = state.subscribe();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                if *watch.borrow() == State::Cut {
                    continue;
                }
                let far = TcpStream::connect(target).await.unwrap();
                let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
                tokio::spawn(pass(near_read, far_write, watch.clone()));
                tokio::spawn(pass(far_read, near_write, watch.clone()));
            }
        });
        Self { address, state }
    }

    /// Nothing passes any more, and nobody is told.
    pub fn freeze(&self) {
        self.state.send_replace(State::Frozen);
    }

    /// All connections are closed, and new ones until [`mend`](Self::mend).
    pub fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    /// Passes again.
    pub fn mend(&self) {
        self.state.send_replace(State::Passing);
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut state: watch::Receiver<State>) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = tokio::select! {
            _ = state.wait_for(|state| *state == State::Cut) => return,
            read = from.read(&mut buffer) => match read {
                Ok(length) if length > 0 => length,
                Ok(_) | Err(_) => return,
            },
        };
        let Ok(state) = state.wait_for(|state| *state != State::Frozen).await.map(|state| *state) else {
            return;
        };
        if state == State::Cut || to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
