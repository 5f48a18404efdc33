//! The state machine of one end of a link: bytes and the time in, bytes and events out.

mod carrier;
mod chunks;
mod credit;
mod input;
mod ops;
mod ranges;
mod recv;
mod send;
mod stream;
mod timeout;
mod transmit;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;

pub use self::ops::{OpenFailure, Read, StreamError};
use self::{
    carrier::{Carrier, Retained},
    credit::LinkReceive,
    ranges::Ranges,
    stream::Stream,
};
use crate::{
    FrameReader, Goodbye, Hello, LinkConfig, Open, ProtocolError, Refusal,
    code::{GoodbyeCode, ResetCode, Role},
    hello,
};

/// The number of a stream in its link: even ones are opened by the client, odd ones by the agent.
pub type StreamId = u64;

/// The number of a carrier in its link, given by the client, never used twice.
pub type CarrierId = u32;

/// One end of a link. Sans-IO: it does nothing by itself. The driver
///
/// - tells it of carriers ([`carrier_up`](Self::carrier_up), [`carrier_join`](Self::carrier_join),
///   [`carrier_down`](Self::carrier_down)),
/// - hands it what they bring ([`handle_input`](Self::handle_input)) and what they can take
///   ([`poll_transmit`](Self::poll_transmit)),
/// - calls [`handle_timeout`](Self::handle_timeout) at [`poll_timeout`](Self::poll_timeout),
/// - and after any call drains [`poll_event`](Self::poll_event) and looks at
///   [`has_output`](Self::has_output) and [`carrier_has_output`](Self::carrier_has_output).
#[derive(Debug)]
pub struct Link {
    config: LinkConfig,
    side: Side,
    id: [u8; 16],
    secret: [u8; 32],
    incarnation: [u8; 16],
    peer: Option<Peer>,
    closed: Option<CloseReason>,
    /// This end is leaving, and says so on every carrier.
    notice: Option<String>,
    peer_draining: bool,

    carriers: BTreeMap<CarrierId, Carrier>,
    next_carrier: CarrierId,
    /// When the link is given up for want of carriers.
    grace_at: Option<Instant>,

    streams: HashMap<StreamId, Stream>,
    next_stream: StreamId,
    opened_here: u32,
    opened_there: u32,
    /// The peer's streams that are over.
    forgotten: Ranges,

    /// Frames that go before all data.
    urgent: VecDeque<Retained>,
    /// Carriers whose frames are to be acknowledged.
    acks: VecDeque<CarrierId>,
    /// Data of lost carriers.
    resend: VecDeque<Resend>,
    /// Lost carriers of which the peer may still say what it got, the newest last.
    lost: VecDeque<CarrierId>,
    /// What came on lost carriers, to be told on the next, the newest last.
    late_acks: VecDeque<(CarrierId, u64)>,
    /// Streams with bytes and credit to send them, in turn.
    ready: VecDeque<StreamId>,
    /// Written and not sent, of all streams.
    queued: usize,

    receive: LinkReceive,
    /// Bytes of streams that the peer lets us send in all, and those sent.
    send_limit: u64,
    sent: u64,
    /// Cost of the data frames that are retained.
    unacknowledged: u64,
    link_credit_due: bool,
    /// When to look for readers that have stopped.
    park_at: Option<Instant>,

    events: VecDeque<Event>,
    resent: u64,
    carriers_lost: u64,
}

/// Something for the driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The peer has said hello on the carrier.
    CarrierUp(CarrierId),
    /// The link is done with the carrier, for a reason of its own: close it. Needs no `carrier_down`.
    CarrierEnded(CarrierId, CarrierEnd),
    /// The peer wants to open a stream; it is held until [`Link::release`].
    Incoming(StreamId, Open),
    /// A stream opened here was answered: see [`Link::opened`].
    Answered(StreamId),
    /// A reader that was told to wait has something to read.
    Readable(StreamId),
    /// A writer that was told to wait has room.
    Writable(StreamId),
    /// The stream was cut: whoever waits on it should look.
    Cut(StreamId),
    /// The peer is about to leave.
    PeerDraining(String),
    /// The link is closed: see [`Link::close_reason`]. Every stream is cut, without an event for each.
    Closed,
}

/// Why the link is done with a carrier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CarrierEnd {
    /// Nothing came on it for too long.
    Silent,
    /// The peer turned it away.
    Refused(Goodbye),
    /// What came on it before the hello is not our protocol.
    Protocol(ProtocolError),
    /// Another one took its place.
    Replaced,
}

/// Why a link ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// This end closed it.
    #[error("closed here ({0})")]
    Local(Goodbye),
    /// The peer closed it.
    #[error("closed by the peer ({0})")]
    Peer(Goodbye),
    /// No carrier came back within the grace period.
    #[error("no carrier came back within the grace period")]
    Lost,
    /// The agent is not the one that held the link: it restarted, or its grace period has passed.
    #[error("the agent no longer knows the link ({0})")]
    AgentRestarted(Goodbye),
    /// The peer broke the protocol.
    #[error("the peer broke the protocol: {0}")]
    Protocol(ProtocolError),
    /// A task that drives the link panicked.
    #[error("a task of the link panicked")]
    Panicked,
}

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
    /// Streams that are not over, at either end.
    pub streams: u32,
    /// Bytes of streams that were sent, each counted once.
    pub sent: u64,
    /// Bytes of streams that came, each counted once.
    pub received: u64,
    /// Bytes that were queued to be sent again because their carrier was lost.
    pub resent: u64,
    /// Bytes that were sent and are not acknowledged yet, with what holding them costs.
    pub unacknowledged: u64,
    /// Bytes that were written and not sent yet.
    pub queued: u64,
    /// Bytes that came and were not read yet.
    pub buffered: u64,
    /// Carriers that were lost while the link was open.
    pub carriers_lost: u64,
}

/// Which end this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Agent,
}

/// Data that was sent on a carrier that was lost.
#[derive(Debug)]
struct Resend {
    carrier: CarrierId,
    /// Its number among the frames of that carrier.
    number: u64,
    stream: StreamId,
    offset: u64,
    bytes: Bytes,
}

#[derive(Debug)]
struct Peer {
    info: PeerInfo,
    stream_credit: u64,
    max_streams: u32,
}

/// The most bytes of one stream in one frame of ours: its turn.
const TURN: usize = 16 << 10;
/// What holding one data frame costs beside its bytes.
const FRAME_COST: u64 = 64;
/// Lost carriers of which is remembered what came, and whether the peer may say so.
const LOST_MOST: usize = 64;

impl Link {
    /// A client's end without a carrier. `id`, `secret` and `incarnation` must be random; the first two name and prove the
    /// link, the last one names this process.
    pub fn client(config: LinkConfig, id: [u8; 16], secret: [u8; 32], incarnation: [u8; 16]) -> Self {
        Self::new(config, Side::Client, id, secret, incarnation)
    }

    /// An agent's end for a client's hello, still without a carrier: follow with [`carrier_join`](Self::carrier_join).
    ///
    /// # Errors
    /// What to tell the client when it has no secret, is no client, speaks no common version, or resumes a link that is not
    /// known here (it would not have come here otherwise).
    pub fn agent(config: LinkConfig, hello: &Hello, incarnation: [u8; 16]) -> Result<Self, Goodbye> {
        hello.common_version()?;
        if hello.role != Role::Client {
            return Err(Goodbye::new(
                GoodbyeCode::Role,
                format!("a {} cannot attach to an agent", hello.role),
            ));
        }
        let Some(secret) = hello.secret else {
            return Err(Goodbye::new(GoodbyeCode::Secret, "the hello has no secret"));
        };
        if let Some(expected) = hello.resuming {
            return Err(unknown_link(expected == incarnation));
        }
        Ok(Self::new(config, Side::Agent, hello.link, secret, incarnation))
    }

    fn new(config: LinkConfig, side: Side, id: [u8; 16], secret: [u8; 32], incarnation: [u8; 16]) -> Self {
        let receive = LinkReceive::new(config.link_window, config.parked);
        Self {
            config,
            side,
            id,
            secret,
            incarnation,
            peer: None,
            closed: None,
            notice: None,
            peer_draining: false,
            carriers: BTreeMap::new(),
            next_carrier: 1,
            grace_at: None,
            streams: HashMap::new(),
            next_stream: if side == Side::Client { 2 } else { 1 },
            opened_here: 0,
            opened_there: 0,
            forgotten: Ranges::default(),
            urgent: VecDeque::new(),
            acks: VecDeque::new(),
            resend: VecDeque::new(),
            lost: VecDeque::new(),
            late_acks: VecDeque::new(),
            ready: VecDeque::new(),
            queued: 0,
            receive,
            send_limit: 0,
            sent: 0,
            unacknowledged: 0,
            link_credit_due: false,
            park_at: None,
            events: VecDeque::new(),
            resent: 0,
            carriers_lost: 0,
        }
    }

    /// Client: a carrier is connected. It says hello first, and is up when the peer has.
    ///
    /// Returns `None` when the link is closed or has as many carriers as it may.
    pub fn carrier_up(&mut self, now: Instant) -> Option<CarrierId> {
        if self.closed.is_some() || self.carriers.len() >= self.config.max_carriers as usize {
            return None;
        }
        let id = self.next_carrier;
        self.next_carrier += 1;
        self.carriers.insert(id, Carrier::new(&self.config, FrameReader::default(), now));
        Some(id)
    }

    /// Agent: a carrier came whose first frame is `hello`; `reader` has taken that frame and goes on behind it. Call
    /// [`handle_input`](Self::handle_input) next, if only with nothing.
    ///
    /// # Errors
    /// What to tell the client before closing the carrier.
    pub fn carrier_join(
        &mut self,
        hello: &Hello,
        reader: FrameReader,
        now: Instant,
    ) -> Result<CarrierId, Goodbye> {
        let version = hello.common_version()?;
        if !hello.secret.is_some_and(|secret| hello::same_secret(&secret, &self.secret)) {
            return Err(Goodbye::new(GoodbyeCode::Secret, "the secret is not that of the link"));
        }
        if hello.resuming.is_some_and(|expected| expected != self.incarnation) || self.closed.is_some() {
            return Err(unknown_link(self.closed.is_some()));
        }
        if self.carriers.contains_key(&hello.carrier) || hello.carrier == 0 {
            return Err(Goodbye::new(GoodbyeCode::Protocol, "the carrier's number is taken"));
        }
        if self.carriers.len() >= self.config.max_carriers as usize {
            self.replace_carrier(now)?;
        }
        let mut carrier = Carrier::new(&self.config, reader, now);
        carrier.notice = self.notice.is_some();
        carrier.greet(&self.config, hello.heartbeat, now);
        self.carriers.insert(hello.carrier, carrier);
        self.meet(hello, version);
        self.grace_at = None;
        self.events.push_back(Event::CarrierUp(hello.carrier));
        Ok(hello.carrier)
    }

    /// The carrier is gone. What was sent on it and not acknowledged is sent again on another. Nothing happens for one that
    /// is not known.
    pub fn carrier_down(&mut self, id: CarrierId, now: Instant) {
        let Some(carrier) = self.carriers.remove(&id) else {
            return;
        };
        if self.closed.is_some() {
            return;
        }
        self.carriers_lost += u64::from(carrier.up);
        if carrier.received > 0 {
            remember(&mut self.late_acks, (id, carrier.received));
        }
        if !carrier.retained.is_empty() {
            remember(&mut self.lost, id);
        }
        for (number, frame) in (carrier.acknowledged + 1..).zip(carrier.retained) {
            match frame {
                Retained::Data { stream, offset, bytes } => {
                    self.unacknowledged -= bytes.len() as u64 + FRAME_COST;
                    self.resent += bytes.len() as u64;
                    self.resend.push_back(Resend { carrier: id, number, stream, offset, bytes });
                }
                Retained::Credit(stream) => self.credit_due(stream),
                control @ (Retained::Open { .. }
                | Retained::Opened(_)
                | Retained::Refuse { .. }
                | Retained::Fin { .. }
                | Retained::Reset { .. }) => self.urgent.push_back(control),
            }
        }
        // What the lost one was to tell about the others may not have arrived.
        for (id, other) in &mut self.carriers {
            if other.received > 0 && !std::mem::replace(&mut other.ack_due, true) {
                self.acks.push_back(*id);
            }
        }
        if carrier.up && self.live_carriers() == 0 {
            self.grace_at = Some(now + self.config.grace);
        }
    }

    /// Closes the link: every stream is cut, and each carrier says goodbye once it is polled. Idempotent.
    pub fn close(&mut self, code: GoodbyeCode, text: &str) {
        let goodbye = Goodbye::new(code, text);
        self.close_with(CloseReason::Local(goodbye.clone()), Some(&goodbye));
    }

    /// Closes the link because its driver panicked. Nothing is sent.
    pub fn close_panicked(&mut self) {
        self.close_with(CloseReason::Panicked, None);
    }

    /// Tells the peer, on every carrier, that this end is about to leave. The link stays.
    pub fn drain(&mut self, text: &str) {
        self.notice = Some(text.to_owned());
        for carrier in self.carriers.values_mut() {
            carrier.notice = true;
        }
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Why the link is closed, if it is.
    pub fn close_reason(&self) -> Option<&CloseReason> {
        self.closed.as_ref()
    }

    /// What the peer told about itself, since the first carrier was up.
    pub fn peer(&self) -> Option<&PeerInfo> {
        self.peer.as_ref().map(|peer| &peer.info)
    }

    /// The random name of the link, the same at both ends.
    pub fn id(&self) -> [u8; 16] {
        self.id
    }

    /// How the link behaves.
    pub fn config(&self) -> &LinkConfig {
        &self.config
    }

    /// Carriers that are up.
    pub fn live_carriers(&self) -> usize {
        self.carriers.values().filter(|carrier| carrier.up && !carrier.finished).count()
    }

    /// The smallest smoothed round trip among the carriers that are up.
    pub fn rtt(&self) -> Option<Duration> {
        self.carriers.values().filter_map(|carrier| carrier.rtt).min()
    }

    /// Counters.
    pub fn stats(&self) -> Stats {
        Stats {
            carriers: self.live_carriers() as u32,
            streams: self.streams.len() as u32,
            sent: self.sent,
            received: self.receive.total(),
            resent: self.resent,
            unacknowledged: self.unacknowledged,
            queued: self.queued as u64,
            buffered: self.receive.buffered(),
            carriers_lost: self.carriers_lost,
        }
    }

    /// Whether the peer holds everything that was written and said here.
    pub fn is_flushed(&self) -> bool {
        self.queued == 0
            && self.urgent.is_empty()
            && self.resend.is_empty()
            && self.carriers.values().all(|carrier| carrier.retained.is_empty())
    }

    /// Takes over what the peer's hello says about the link as a whole.
    fn meet(&mut self, hello: &Hello, version: u16) {
        self.send_limit = self.send_limit.max(hello.link_credit);
        let first = self.peer.is_none();
        self.peer = Some(Peer {
            info: PeerInfo {
                role: hello.role,
                software: hello.software.clone(),
                who: hello.who.clone(),
                incarnation: hello.incarnation,
                version,
            },
            stream_credit: hello.stream_credit,
            max_streams: hello.max_streams,
        });
        if first {
            let early: Vec<_> = self.streams.keys().copied().collect();
            for id in early {
                if let Some(stream) = self.streams.get_mut(&id) {
                    stream.send.raise(hello.stream_credit);
                }
                self.make_ready(id);
            }
        }
    }

    /// Our hello for one carrier.
    fn hello(&self, carrier: CarrierId) -> Hello {
        let client = self.side == Side::Client;
        Hello {
            version_min: hello::VERSION_MIN,
            version_max: hello::VERSION_MAX,
            role: self.config.role,
            incarnation: self.incarnation,
            link: self.id,
            secret: client.then_some(self.secret),
            carrier,
            resuming: self.peer.as_ref().filter(|_| client).map(|peer| peer.info.incarnation),
            capabilities: 0,
            stream_credit: self.config.initial_window,
            link_credit: self.receive.limit(),
            max_streams: self.config.max_streams,
            heartbeat: self.config.heartbeat,
            software: self.config.software.clone(),
            who: self.config.who.clone(),
        }
    }

    fn close_with(&mut self, reason: CloseReason, goodbye: Option<&Goodbye>) {
        if self.closed.is_some() {
            return;
        }
        let code = reason.reset_code();
        self.closed = Some(reason);
        for carrier in self.carriers.values_mut() {
            carrier.farewell = goodbye.filter(|_| carrier.up).cloned();
            carrier.finished |= carrier.farewell.is_none();
            carrier.retained.clear();
        }
        self.streams.retain(|_, stream| {
            stream.recv.lose(code);
            stream.send.lose(code);
            stream.held
        });
        self.urgent.clear();
        self.acks.clear();
        self.resend.clear();
        self.late_acks.clear();
        self.ready.clear();
        (self.queued, self.unacknowledged) = (0, 0);
        (self.grace_at, self.park_at) = (None, None);
        self.events.push_back(Event::Closed);
    }

    /// Makes place for a carrier: the one that has been silent longest goes, if it missed a heartbeat.
    fn replace_carrier(&mut self, now: Instant) -> Result<(), Goodbye> {
        let oldest = self.carriers.iter().min_by_key(|(_, carrier)| carrier.last_heard);
        let silent = |carrier: &Carrier| now.saturating_duration_since(carrier.last_heard);
        let Some((id, _)) =
            oldest.filter(|(_, carrier)| silent(carrier) > self.config.heartbeat.mul_f32(1.5))
        else {
            return Err(Goodbye::new(GoodbyeCode::Busy, "the link has as many carriers as it may have"));
        };
        self.end_carrier(*id, CarrierEnd::Replaced, now);
        Ok(())
    }

    fn end_carrier(&mut self, id: CarrierId, end: CarrierEnd, now: Instant) {
        self.carrier_down(id, now);
        self.events.push_back(Event::CarrierEnded(id, end));
    }
}

impl CloseReason {
    /// What streams are reset with.
    pub fn reset_code(&self) -> ResetCode {
        match self {
            Self::Local(_) | Self::Peer(_) | Self::Protocol(_) => ResetCode::LinkClosed,
            Self::Lost => ResetCode::LinkLost,
            Self::AgentRestarted(_) => ResetCode::AgentRestarted,
            Self::Panicked => ResetCode::Internal,
        }
    }

    /// Whether the end was asked for, by either side.
    pub fn is_orderly(&self) -> bool {
        match self {
            Self::Local(goodbye) | Self::Peer(goodbye) => goodbye.code == GoodbyeCode::Closed,
            Self::Lost | Self::AgentRestarted(_) | Self::Protocol(_) | Self::Panicked => false,
        }
    }
}

/// Appends, and forgets the oldest where there are too many.
fn remember<T>(queue: &mut VecDeque<T>, new: T) {
    if queue.len() >= LOST_MOST {
        queue.pop_front();
    }
    queue.push_back(new);
}

/// Why a client cannot resume.
fn unknown_link(same_process: bool) -> Goodbye {
    if same_process {
        Goodbye::new(GoodbyeCode::UnknownLink, "the link has ended here: its grace period has passed")
    } else {
        Goodbye::new(GoodbyeCode::AgentRestarted, "this agent is not the one that held the link")
    }
}

/// What a stream refused here says when its kind is not known.
fn unsupported(kind: u32) -> Refusal {
    Refusal::new(
        crate::code::RefusalCode::Unsupported,
        format!("this end ({}) cannot open streams of kind {kind}", env!("CARGO_PKG_VERSION")),
    )
}

#[cfg(test)]
mod tests;
