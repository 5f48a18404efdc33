use std::{
    future::poll_fn,
    io,
    sync::{Arc, Weak},
    task::Poll,
    time::Duration,
};

use kubetether_wire::{
    self as wire, CloseReason, GoodbyeCode, LinkConfig, Open, PeerInfo, Refusal, RefusalCode, Stats, StreamId,
};
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, timeout_at},
};

use crate::{
    AttachError, CarrierRead, CarrierWrite, Datagrams, OpenError, Stream,
    shared::{Shared, now},
    tasks,
};

/// The number of a carrier in its link, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CarrierId(pub(crate) u32);

/// A link to a peer: streams over one or several carriers. A cheap handle; when the last is dropped the link closes (its
/// streams are cut, without waiting for anything).
#[derive(Debug, Clone)]
pub struct Link {
    shared: Arc<Shared>,
    _handle: Arc<Handle>,
}

/// A stream that the peer wants to open. Dropping it refuses it.
#[derive(Debug)]
#[must_use]
pub struct Incoming {
    shared: Arc<Shared>,
    id: StreamId,
    open: Open,
    /// Accepted or refused.
    answered: bool,
}

/// The answer to [`Link::open_early`] that is still to come.
#[derive(Debug)]
#[must_use]
pub struct Opening {
    shared: Weak<Shared>,
    id: StreamId,
    answer: Option<Result<(), OpenError>>,
}

impl Link {
    /// A link for a client, with a new id and secret and no carrier yet.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn client(config: LinkConfig) -> io::Result<Self> {
        let (mut id, mut secret, mut incarnation) = ([0; 16], [0; 32], [0; 16]);
        getrandom::fill(&mut id)?;
        getrandom::fill(&mut secret)?;
        getrandom::fill(&mut incarnation)?;
        Ok(Self::new(Shared::new(wire::Link::client(config, id, secret, incarnation), Weak::new())))
    }

    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let handle = Arc::new(Handle(Arc::clone(&shared)));
        Self { shared, _handle: handle }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Adds a carrier: says hello and waits for the peer's. The link's tasks run on the current tokio runtime.
    ///
    /// Cancel-safe: a cancelled attach drops the carrier.
    ///
    /// # Errors
    /// See [`AttachError`]; the carrier is dropped. When the agent says that it does not know the link, the link is closed
    /// with [`CloseReason::AgentRestarted`].
    pub async fn attach(
        &self,
        read: impl CarrierRead,
        write: impl CarrierWrite,
        deadline: Instant,
    ) -> Result<CarrierId, AttachError> {
        let id = self.shared.act(|state| match state.close_reason() {
            Some(reason) => Err(AttachError::Closed(reason)),
            None => state.link.carrier_up(now()).ok_or(AttachError::TooMany),
        })?;
        let (up, is_up) = oneshot::channel();
        tasks::start(&self.shared, id, read, write, Some(up));
        let mut attaching = Attaching { shared: &self.shared, id, up: false };
        match timeout_at(deadline, is_up).await {
            Ok(Ok(Ok(()))) => attaching.up = true,
            Ok(Ok(Err(error))) => return Err(error),
            Ok(Err(_)) => return Err(AttachError::Ended),
            Err(_) => return Err(AttachError::TimedOut),
        }
        Ok(CarrierId(id))
    }

    /// Gives up one carrier in good order: nothing new goes on it, and it is closed when the peer has all that was sent there
    /// (a round trip and a half; at most as long as a carrier may be silent). Never waits.
    pub fn retire(&self, carrier: CarrierId) {
        self.shared.act(|state| state.link.retire(carrier.0, now()));
    }

    /// How many carriers are up, without those that retire; at 0 the link waits for a new one until its grace period ends.
    pub fn carriers(&self) -> watch::Receiver<usize> {
        self.shared.carriers.subscribe()
    }

    /// Whether the peer said that it is about to leave: the link stays, but new streams may be refused.
    pub fn peer_draining(&self) -> watch::Receiver<bool> {
        self.shared.draining.subscribe()
    }

    /// Tells the peer that this end is about to leave. The link stays up.
    pub fn drain(&self, text: &str) {
        self.shared.act(|state| state.link.drain(text));
    }

    /// Opens a stream: returns when the far end has accepted (it has dialled) or refused. Waits, while the link has no
    /// carrier, for at most the grace period; before the first carrier, for as long as it takes.
    ///
    /// Cancel-safe: a cancelled open resets the stream.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(&self, open: Open) -> Result<Stream, OpenError> {
        let (_, stream) = self.open_early(open)?;
        poll_fn(|cx| stream.poll_opened(cx)).await?;
        Ok(stream)
    }

    /// Opens a stream without waiting: data may be written at once, within the peer's initial credit. If the far end
    /// refuses, reads and writes of the stream fail.
    ///
    /// # Errors
    /// See [`OpenError`]; never [`OpenError::Refused`].
    pub fn open_early(&self, open: Open) -> Result<(Opening, Stream), OpenError> {
        let id = self.shared.act(|state| state.link.open(&open))?;
        let opening = Opening { shared: Arc::downgrade(&self.shared), id, answer: None };
        Ok((opening, Stream::new(Arc::clone(&self.shared), id)))
    }

    /// Opens a UDP association: `open` is one that [is for datagrams](Open::is_datagrams). Returns when the far end has
    /// accepted or refused; waits as [`open`](Self::open) does.
    ///
    /// Cancel-safe: a cancelled open ends the association.
    ///
    /// # Errors
    /// See [`OpenError`]; a peer of a version without datagrams refuses as [`RefusalCode::Unsupported`].
    pub async fn open_datagrams(&self, open: Open) -> Result<Datagrams, OpenError> {
        let (_, datagrams) = self.open_datagrams_early(open)?;
        poll_fn(|cx| datagrams.poll_opened(cx)).await?;
        Ok(datagrams)
    }

    /// Opens a UDP association without waiting: datagrams may be sent at once. If the far end refuses, sending and receiving
    /// fail.
    ///
    /// # Errors
    /// See [`OpenError`]; never [`OpenError::Refused`].
    pub fn open_datagrams_early(&self, open: Open) -> Result<(Opening, Datagrams), OpenError> {
        debug_assert!(open.is_datagrams(), "a stream is opened as an association");
        let id = self.shared.act(|state| state.link.open(&open))?;
        let opening = Opening { shared: Arc::downgrade(&self.shared), id, answer: None };
        Ok((opening, Datagrams::new(Arc::clone(&self.shared), id)))
    }

    /// The next stream or association that the peer opens; `None` when the link is closed. Several tasks may wait. Cancel-safe.
    pub async fn accept(&self) -> Option<Incoming> {
        loop {
            let notified = self.shared.incoming.notified();
            let mut notified = std::pin::pin!(notified);
            // From here on no stream is missed.
            notified.as_mut().enable();
            let next = self.shared.act(|state| {
                loop {
                    let Some((id, open)) = state.incoming.pop_front() else {
                        break Poll::Pending;
                    };
                    if state.link.cut(id).is_none() {
                        break Poll::Ready(Some((id, open, !state.incoming.is_empty())));
                    }
                    // Given up before anybody looked.
                    state.link.release(id);
                }
            });
            match next {
                Poll::Ready(Some((id, open, more))) => {
                    if more {
                        self.shared.incoming.notify_one();
                    }
                    return Some(Incoming { shared: Arc::clone(&self.shared), id, open, answered: false });
                }
                Poll::Ready(None) => return None,
                Poll::Pending if self.close_reason().is_some() => return None,
                Poll::Pending => notified.await,
            }
        }
    }

    /// Waits until the link is closed and its tasks have ended (a goodbye may take them a second). Cancel-safe.
    pub async fn closed(&self) -> CloseReason {
        let (mut closed, mut tasks) = (self.shared.closed.subscribe(), self.shared.tasks.subscribe());
        // The senders live as long as this handle.
        let _ = closed.wait_for(|closed| *closed).await;
        let _ = tasks.wait_for(|tasks| *tasks == 0).await;
        self.close_reason().unwrap_or(CloseReason::Panicked)
    }

    /// Waits until the peer's link holds everything that was written and said here, or the link is closed. Cancel-safe.
    pub async fn flushed(&self) {
        poll_fn(|cx| self.shared.poll_flushed(cx)).await;
    }

    /// Why the link is closed; `None` while it is not.
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.shared.look(|state| state.close_reason())
    }

    /// Closes the link: streams are cut at once, the peer is told on every carrier. Idempotent, never blocks. Let
    /// [`flushed`](Self::flushed) go before where the last bytes matter.
    pub fn close(&self, code: GoodbyeCode, text: &str) {
        self.shared.act(|state| state.link.close(code, text));
    }

    /// What the peer told about itself; `None` before the first carrier is up.
    pub fn peer(&self) -> Option<PeerInfo> {
        self.shared.look(|state| state.link.peer().cloned())
    }

    /// Counters.
    pub fn stats(&self) -> Stats {
        self.shared.look(|state| state.link.stats())
    }

    /// The smallest round trip lately measured on a carrier that is up.
    pub fn rtt(&self) -> Option<Duration> {
        self.shared.look(|state| state.link.rtt())
    }

    /// The random name of the link: the same on both ends, across resumes.
    pub fn id(&self) -> [u8; 16] {
        self.shared.look(|state| state.link.id())
    }

    /// Whether two handles are of the same link.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl Incoming {
    /// What the peer wants.
    pub fn open(&self) -> &Open {
        &self.open
    }

    /// Accepts a stream: the peer's open returns.
    pub fn accept(mut self) -> Stream {
        self.answered = true;
        self.shared.act(|state| state.link.accept(self.id));
        Stream::new(Arc::clone(&self.shared), self.id)
    }

    /// Accepts an association ([`Open::is_datagrams`]): the peer's open returns.
    pub fn accept_datagrams(mut self) -> Datagrams {
        debug_assert!(self.open.is_datagrams(), "a stream is accepted as an association");
        self.answered = true;
        self.shared.act(|state| state.link.accept(self.id));
        Datagrams::new(Arc::clone(&self.shared), self.id)
    }

    /// Refuses: the peer's open fails with this.
    pub fn refuse(mut self, refusal: Refusal) {
        self.refuse_with(refusal);
    }

    /// Waits until the peer gives up (it reset the stream, or the link is lost or closed), and tells which. Cancel-safe.
    pub async fn cancelled(&mut self) -> wire::ResetCode {
        poll_fn(|cx| {
            self.shared.act(|state| {
                if let Some(code) = state.link.cut(self.id) {
                    return Poll::Ready(code);
                }
                state.waiting(self.id).watcher = Some(cx.waker().clone());
                Poll::Pending
            })
        })
        .await
    }

    fn refuse_with(&mut self, refusal: Refusal) {
        self.answered = true;
        self.shared.act(|state| {
            state.waiting.remove(&self.id);
            state.link.refuse(self.id, refusal);
        });
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.answered {
            self.refuse_with(Refusal::new(RefusalCode::Internal, "nobody took the stream"));
        }
    }
}

impl Opening {
    /// Waits for the far end's answer. Cancel-safe; dropping it changes nothing about the stream.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn opened(&mut self) -> Result<(), OpenError> {
        poll_fn(|cx| {
            if let Some(answer) = &self.answer {
                return Poll::Ready(answer.clone());
            }
            let answer = match self.shared.upgrade() {
                Some(shared) => shared.poll_opened(cx, self.id),
                None => Poll::Ready(Err(OpenError::Reset(wire::ResetCode::Dropped))),
            };
            if let Poll::Ready(answer) = &answer {
                self.answer = Some(answer.clone());
            }
            answer
        })
        .await
    }
}

/// Counts the handles: the last one closes the link.
#[derive(Debug)]
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.act(|state| state.link.close(GoodbyeCode::Closed, "the last handle was dropped"));
    }
}

/// A carrier that waits for its hello; dropped before, the carrier is given up.
struct Attaching<'a> {
    shared: &'a Shared,
    id: u32,
    up: bool,
}

impl Drop for Attaching<'_> {
    fn drop(&mut self) {
        if !self.up {
            self.shared.carrier_down(self.id);
        }
    }
}
