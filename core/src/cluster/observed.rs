//! A carrier that is watched: what goes over it, when something came last, and why it ended.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kubetether_link::{CarrierRead, CarrierWrite};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What is known of one carrier.
#[derive(Debug)]
pub(crate) struct Facts {
    born: Instant,
    /// Bytes of both directions.
    moved: AtomicU64,
    /// Milliseconds from birth to when something came last.
    heard: AtomicU64,
    /// Why it ended, in the words of whoever said so first.
    why: OnceLock<String>,
    over: CancellationToken,
    /// Told of the end.
    keeper: Arc<Notify>,
}

impl Facts {
    /// Bytes of both directions so far.
    pub(crate) fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    /// When something came last; at first, when it began.
    pub(crate) fn heard(&self) -> Instant {
        self.born + Duration::from_millis(self.heard.load(Ordering::Relaxed))
    }

    /// Whether the link is done with it.
    pub(crate) fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    /// Why it ended; `None` when nobody said, which means that the link gave it up.
    pub(crate) fn why(&self) -> Option<&str> {
        self.why.get().map(String::as_str)
    }

    fn ended(&self, why: impl FnOnce() -> String) {
        self.why.get_or_init(why);
    }
}

/// Watches over a carrier's halves; `keeper` is told of its end.
pub(crate) fn observe<R: CarrierRead, W: CarrierWrite>(
    read: R,
    write: W,
    keeper: Arc<Notify>,
) -> (Read<R>, Write<W>, Arc<Facts>) {
    let facts = Arc::new(Facts {
        born: Instant::now(),
        moved: AtomicU64::new(0),
        heard: AtomicU64::new(0),
        why: OnceLock::new(),
        over: CancellationToken::new(),
        keeper,
    });
    (Read { inner: read, facts: facts.clone() }, Write { inner: write, facts: facts.clone() }, facts)
}

pub(crate) struct Read<R> {
    inner: R,
    facts: Arc<Facts>,
}

pub(crate) struct Write<W> {
    inner: W,
    facts: Arc<Facts>,
}

impl<R: CarrierRead> CarrierRead for Read<R> {
    async fn recv(&mut self) -> io::Result<Option<Bytes>> {
        let received = self.inner.recv().await;
        match &received {
            Ok(Some(bytes)) => {
                let age = u64::try_from(self.facts.born.elapsed().as_millis()).unwrap_or(u64::MAX);
                self.facts.heard.store(age, Ordering::Relaxed);
                self.facts.moved.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            }
            Ok(None) => self.facts.ended(|| "the API server ended the connection".to_owned()),
            Err(error) => self.facts.ended(|| error.to_string()),
        }
        received
    }
}

impl<R> Drop for Read<R> {
    fn drop(&mut self) {
        self.facts.over.cancel();
        self.facts.keeper.notify_one();
    }
}

impl<W: CarrierWrite> CarrierWrite for Write<W> {
    const HEADROOM: usize = W::HEADROOM;
    const BUFFER: usize = W::BUFFER;

    async fn send(&mut self, buffer: BytesMut) -> io::Result<BytesMut> {
        let bytes = buffer.len() as u64;
        let sent = self.inner.send(buffer).await;
        match &sent {
            Ok(_) => {
                self.facts.moved.fetch_add(bytes, Ordering::Relaxed);
            }
            Err(error) => self.facts.ended(|| error.to_string()),
        }
        sent
    }

    async fn close(&mut self) -> io::Result<()> {
        self.inner.close().await
    }
}
