use std::{io, time::Duration};

use bytes::Bytes;
use kubetether_wire::{Answer, GoodbyeCode, LinkConfig, Open, Refusal, Request, Role};
use tokio::{sync::watch, time::Instant};

use crate::{AttachError, CallError, CarrierRead, CarrierWrite, CloseReason, OpenError, Stream};

/// The number of a carrier in its link, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CarrierId(pub(crate) u32);

/// A link to a peer: streams over one or several carriers. A cheap handle; when the last is dropped the link closes (its
/// streams are cut, without waiting for anything).
#[derive(Debug, Clone)]
pub struct Link;

/// What the peer told about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerInfo {
    /// Its job.
    pub role: Role,
    /// Its software version, for people.
    pub software: String,
    /// Who it is, for people.
    pub who: String,
    /// The random name of its process: another one after a restart.
    pub incarnation: [u8; 16],
    /// The protocol version both speak.
    pub version: u16,
}

/// What a link has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Carriers that are up.
    pub carriers: u32,
    /// Streams that are open, half-open ones included.
    pub streams: u32,
    /// Bytes of streams that were sent, each counted once.
    pub sent: u64,
    /// Bytes of streams that came, each counted once.
    pub received: u64,
    /// Bytes that were sent again because their carrier was lost.
    pub resent: u64,
    /// Bytes that were sent and are not acknowledged yet.
    pub unacknowledged: u64,
    /// Bytes that came and were not read yet.
    pub buffered: u64,
    /// Carriers that were lost.
    pub carriers_lost: u64,
}

/// A stream that the peer wants to open. Dropping it refuses it.
#[derive(Debug)]
#[must_use]
pub struct Incoming;

/// The answer to [`Link::open_early`] that is still to come.
#[derive(Debug)]
#[must_use]
pub struct Opening;

impl Link {
    /// A link for a client, with a new id and secret and no carrier yet.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn client(config: LinkConfig) -> io::Result<Self> {
        let _ = config;
        todo!()
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
        let _ = (read, write, deadline);
        std::future::pending::<()>().await;
        todo!()
    }

    /// How many carriers are up; at 0 the link waits for a new one until its grace period ends.
    pub fn carriers(&self) -> watch::Receiver<usize> {
        todo!()
    }

    /// Whether the peer said that it is about to leave: the link stays, but new streams may be refused.
    pub fn peer_draining(&self) -> watch::Receiver<bool> {
        todo!()
    }

    /// Tells the peer that this end is about to leave. The link stays up.
    pub fn drain(&self, text: &str) {
        let _ = text;
        todo!()
    }

    /// Opens a stream: returns when the far end has accepted (it has dialled) or refused. Waits, while the link has no
    /// carrier, for at most the grace period.
    ///
    /// Cancel-safe: a cancelled open resets the stream.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(&self, open: Open) -> Result<Stream, OpenError> {
        let _ = open;
        std::future::pending::<()>().await;
        todo!()
    }

    /// Opens a stream without waiting: data may be written at once, within the peer's initial credit. If the far end
    /// refuses, reads and writes of the stream fail.
    ///
    /// # Errors
    /// See [`OpenError`]; never [`OpenError::Refused`].
    pub fn open_early(&self, open: Open) -> Result<(Opening, Stream), OpenError> {
        let _ = open;
        todo!()
    }

    /// The next stream that the peer opens; `None` when the link is closed. Several tasks may wait. Cancel-safe.
    pub async fn accept(&self) -> Option<Incoming> {
        std::future::pending().await
    }

    /// Sends one request and waits for the answer, each of at most [`MAX_CALL`](kubetether_wire::MAX_CALL) bytes.
    ///
    /// Cancel-safe: a cancelled call is cut.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call(&self, request: &[u8], deadline: Instant) -> Result<Bytes, CallError> {
        let _ = (request, deadline);
        std::future::pending().await
    }

    /// [`call`](Self::call) with a request and an answer of ours.
    ///
    /// # Errors
    /// See [`CallError`]; [`Answer::Failed`] becomes [`CallError::Failed`].
    pub async fn ask(&self, request: &Request, deadline: Instant) -> Result<Answer, CallError> {
        let _ = (request, deadline);
        std::future::pending().await
    }

    /// Waits until the link is closed. Cancel-safe.
    pub async fn closed(&self) -> CloseReason {
        std::future::pending().await
    }

    /// Why the link is closed; `None` while it is not.
    pub fn close_reason(&self) -> Option<CloseReason> {
        todo!()
    }

    /// Closes the link: streams are cut at once, the peer is told on every carrier. Idempotent, never blocks.
    pub fn close(&self, code: GoodbyeCode, text: &str) {
        let _ = (code, text);
        todo!()
    }

    /// What the peer told about itself; `None` before the first carrier is up.
    pub fn peer(&self) -> Option<PeerInfo> {
        todo!()
    }

    /// Counters.
    pub fn stats(&self) -> Stats {
        todo!()
    }

    /// The smallest round trip lately measured on a carrier that is up.
    pub fn rtt(&self) -> Option<Duration> {
        todo!()
    }

    /// The random name of the link: the same on both ends, across resumes.
    pub fn id(&self) -> [u8; 16] {
        todo!()
    }
}

impl Incoming {
    /// What the peer wants.
    pub fn open(&self) -> &Open {
        todo!()
    }

    /// Accepts: the peer's open returns.
    pub fn accept(self) -> Stream {
        todo!()
    }

    /// Refuses: the peer's open fails with this.
    pub fn refuse(self, refusal: Refusal) {
        let _ = refusal;
        todo!()
    }

    /// Waits until the peer gives up (it reset the stream, or the link is closed). Cancel-safe.
    pub async fn cancelled(&mut self) {
        std::future::pending().await
    }

    /// Takes the request of an [`Open::Call`].
    ///
    /// # Errors
    /// When the request does not come whole before `deadline`, or is too long; the call is cut.
    pub async fn call(self, deadline: Instant) -> io::Result<IncomingCall> {
        let _ = deadline;
        std::future::pending().await
    }
}

impl Opening {
    /// Waits for the far end's answer. Cancel-safe; dropping it changes nothing about the stream.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn opened(&mut self) -> Result<(), OpenError> {
        std::future::pending().await
    }
}

/// One request that waits for its answer. Dropping it cuts the call.
#[derive(Debug)]
#[must_use]
pub struct IncomingCall;

impl IncomingCall {
    /// The bytes of the request; [`Request::decode`] reads ours.
    pub fn request(&self) -> &[u8] {
        todo!()
    }

    /// Answers, with at most [`MAX_CALL`](kubetether_wire::MAX_CALL) bytes. Never waits.
    pub fn answer(self, answer: &[u8]) {
        let _ = answer;
        todo!()
    }
}
