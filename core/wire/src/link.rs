//! The state machine of one end of a link: bytes and the time in, bytes and events out.

mod blocks;
mod carrier;
mod carriers;
mod chunks;
mod credit;
mod datagrams;
mod event;
mod facts;
mod input;
mod lazy;
mod ops;
mod pace;
mod ranges;
mod recv;
mod retire;
mod reverse;
mod send;
mod stream;
mod streams;
mod suspects;
mod timeout;
mod transmit;
mod turns;
mod writers;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;

use self::{
    carrier::{Carrier, Retained},
    carriers::Numbers,
    credit::LinkReceive,
    datagrams::Datagrams,
    pace::Shortest,
    ranges::Ranges,
    stream::Stream,
    turns::Turns,
};
pub use self::{
    event::{CarrierEnd, CloseReason, Event},
    facts::{PeerInfo, Stats},
    ops::{OpenFailure, Read, StreamError},
};
use crate::{
    CAPABILITY_DATAGRAMS, CAPABILITY_PROOF, Goodbye, Hello, LinkConfig, Refusal, Secret,
    budget::Account,
    code::{GoodbyeCode, Role},
    hello,
    secret::{Meeting, Proof, Prover},
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
    secret: Secret,
    incarnation: [u8; 16],
    peer: Option<Peer>,
    closed: Option<CloseReason>,
    /// This end is leaving, and says so on every carrier.
    notice: Option<String>,
    peer_draining: bool,

    carriers: BTreeMap<CarrierId, Carrier>,
    next_carrier: CarrierId,
    /// Of an agent: which the client has used.
    used: Numbers,
    /// When the link is given up for want of carriers.
    grace_at: Option<Instant>,
    /// It slept through that, and was given some more.
    grace_excused: bool,
    /// The shortest round trip.
    shortest: Shortest,

    streams: HashMap<StreamId, Box<Stream>>,
    next_stream: StreamId,
    opened_here: u32,
    opened_there: u32,
    /// The peer's streams that are over.
    forgotten: Ranges,

    /// Frames that go before all data.
    urgent: VecDeque<Retained>,
    /// Frames that go with others, or then.
    lazy: VecDeque<(Instant, Retained)>,
    /// Data of lost carriers.
    resend: VecDeque<Resend>,
    /// Lost carriers of which the peer may still say what it got, the newest last.
    lost: VecDeque<CarrierId>,
    /// Lost carriers and what came on them, to be told on the next, the newest last.
    late_acks: VecDeque<(CarrierId, u64)>,
    /// Streams with bytes and credit to send them.
    turns: Turns,
    /// Written and not sent, of all streams.
    queue: Account,
    /// Streams whose writers wait because the link as a whole has no room.
    starved: VecDeque<StreamId>,
    /// When to look whether the budget has something again.
    look_at: Option<Instant>,

    receive: LinkReceive,
    /// Bytes of streams that the peer lets us send in all, and those sent.
    send_limit: u64,
    sent: u64,
    /// What of the link's credit is kept for calls.
    reserve: u64,
    /// Data frames that are retained, with what holding them costs.
    retained: Account,
    link_credit_due: bool,
    datagrams: Datagrams,

    /// The last time that was told, and the first: where this end's clock begins.
    now: Option<Instant>,
    began: Option<Instant>,

    events: VecDeque<Event>,
    resent: u64,
    carriers_lost: u64,
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
    /// It is in the account of what is retained: no carrier has it any more.
    held: bool,
}

#[derive(Debug)]
struct Peer {
    info: PeerInfo,
    /// Of the link's first hello.
    capabilities: u64,
    stream_credit: u64,
    max_streams: u32,
}

/// The most bytes of one stream in one frame of ours: its turn.
const TURN: usize = 16 << 10;
/// What holding one data frame costs beside its bytes: its place in a queue that doubles, and what the allocator wants.
const FRAME_COST: u64 = 128;
/// What a link holds of each kind whatever the budget says: credit given, bytes written, bytes sent.
const SHARES: [u64; 3] = [512 << 10, 256 << 10, 256 << 10];
/// How soon is looked again where the budget had nothing.
const LOOK: Duration = Duration::from_millis(50);

impl Link {
    /// A client's end without a carrier. `id`, `secret` and `incarnation` must be random; the first two name and prove the
    /// link, the last one names this process.
    pub fn client(config: LinkConfig, id: [u8; 16], secret: [u8; 32], incarnation: [u8; 16]) -> Self {
        Self::new(config, Side::Client, id, secret.into(), incarnation)
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
        if let Some(expected) = hello.resuming {
            return Err(unknown_link(expected == incarnation));
        }
        let Some(secret) = hello.secret else {
            return Err(Goodbye::new(GoodbyeCode::Secret, "the hello has no secret"));
        };
        Ok(Self::new(config, Side::Agent, hello.link, secret, incarnation))
    }

    fn new(config: LinkConfig, side: Side, id: [u8; 16], secret: Secret, incarnation: [u8; 16]) -> Self {
        let [credit, queue, retained] = SHARES.map(|share| Account::new(config.budget.clone(), share));
        let least = SHARES[0].min(config.link_window);
        let receive = LinkReceive::new(credit, least, config.link_window);
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
            used: Numbers::default(),
            grace_at: None,
            grace_excused: false,
            shortest: Shortest::default(),
            streams: HashMap::new(),
            next_stream: if side == Side::Client { 2 } else { 1 },
            opened_here: 0,
            opened_there: 0,
            forgotten: Ranges::default(),
            urgent: VecDeque::new(),
            lazy: VecDeque::new(),
            resend: VecDeque::new(),
            lost: VecDeque::new(),
            late_acks: VecDeque::new(),
            turns: Turns::default(),
            queue,
            starved: VecDeque::new(),
            look_at: None,
            receive,
            send_limit: 0,
            sent: 0,
            reserve: 0,
            retained,
            link_credit_due: false,
            datagrams: Datagrams::default(),
            now: None,
            began: None,
            events: VecDeque::new(),
            resent: 0,
            carriers_lost: 0,
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

    /// Tells the peer, on every carrier, that this end is about to leave. The link stays. Said once for each text.
    pub fn drain(&mut self, text: &str) {
        if self.notice.as_deref() == Some(text) {
            return;
        }
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

    /// Carriers that are up, without those that are about to go.
    pub fn live_carriers(&self) -> usize {
        self.carriers.values().filter(|carrier| carrier.is_usable()).count()
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
            unacknowledged: self.retained.held(),
            queued: self.queue.held(),
            buffered: self.receive.buffered(),
            credit: self.receive.credit(),
            window: self.receive.window(),
            carriers_lost: self.carriers_lost,
            suspects: self.carriers.values().filter(|carrier| carrier.up && carrier.suspect).count() as u32,
            under_way: self.carriers.values().map(Carrier::under_way).sum(),
            datagrams_sent: self.datagrams.sent,
            datagrams_received: self.datagrams.received,
            datagrams_dropped: self.datagrams.dropped,
            datagrams: self.datagrams.held(),
        }
    }

    /// Whether the peer holds everything that was written and said here, and all datagrams are sent.
    pub fn is_flushed(&self) -> bool {
        self.queue.held() == 0
            && self.urgent.is_empty()
            && self.lazy.is_empty()
            && self.resend.is_empty()
            && !self.datagrams.wait()
            && self.carriers.values().all(|carrier| carrier.retained.is_empty() && !carrier.datagrams.wants())
    }

    /// This end's clock, in microseconds.
    fn clock(&mut self, now: Instant) -> u64 {
        let time = now.saturating_duration_since(*self.began.get_or_insert(now));
        u64::try_from(time.as_micros()).unwrap_or_default()
    }

    /// Our hello for one carrier.
    fn hello(&self, carrier: CarrierId) -> Hello {
        let client = self.side == Side::Client;
        let proof = self.own_proof(carrier);
        Hello {
            version_min: hello::VERSION_MIN,
            version_max: hello::VERSION_MAX,
            role: self.config.role,
            incarnation: self.incarnation,
            link: self.id,
            secret: (client && proof.is_none()).then_some(self.secret),
            proof,
            carrier,
            resuming: self.peer.as_ref().filter(|_| client).map(|peer| peer.info.incarnation),
            capabilities: CAPABILITY_DATAGRAMS | if client { 0 } else { CAPABILITY_PROOF },
            stream_credit: self.config.initial_window,
            link_credit: self.receive.limit(),
            max_streams: self.config.max_streams,
            heartbeat: self.config.heartbeat,
            software: self.config.software.clone(),
            who: self.config.who.clone(),
        }
    }

    /// What this end proves itself with on a carrier: a client to an agent that can answer it, an agent to a client that did.
    fn own_proof(&self, carrier: CarrierId) -> Option<Proof> {
        let peer = self.peer.as_ref()?;
        match self.side {
            Side::Client => (peer.capabilities & CAPABILITY_PROOF != 0)
                .then(|| self.proof(Prover::Client, carrier, &peer.info.incarnation)),
            Side::Agent => self
                .carriers
                .get(&carrier)
                .filter(|carrier| carrier.proven)
                .map(|_| self.proof(Prover::Agent, carrier, &peer.info.incarnation)),
        }
    }

    /// What proves an end on a carrier between this process and the peer's.
    fn proof(&self, prover: Prover, carrier: CarrierId, peer: &[u8; 16]) -> Proof {
        let (client, agent) = match self.side {
            Side::Client => (self.incarnation, *peer),
            Side::Agent => (*peer, self.incarnation),
        };
        self.secret.prove(prover, &Meeting { link: self.id, carrier, client, agent })
    }

    fn close_with(&mut self, reason: CloseReason, goodbye: Option<&Goodbye>) {
        if self.closed.is_some() {
            return;
        }
        let code = reason.reset_code();
        self.closed = Some(reason);
        self.events.push_back(Event::Closed);
        for carrier in self.carriers.values_mut() {
            carrier.farewell = goodbye.filter(|_| carrier.up).cloned();
            carrier.finished |= carrier.farewell.is_none();
            carrier.retained.clear();
            carrier.retained_data = 0;
        }
        self.streams.retain(|_, stream| {
            stream.recv.lose(code);
            stream.send.lose(code);
            stream.held
        });
        let associations = self.streams.iter().filter(|(_, stream)| stream.datagrams.is_some());
        for id in associations.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.drop_datagrams(id, false);
        }
        self.datagrams.close();
        self.urgent.clear();
        self.lazy.clear();
        self.resend.clear();
        self.late_acks.clear();
        self.turns.clear();
        self.starved.clear();
        self.queue.release(self.queue.held());
        self.retained.release(self.retained.held());
        self.queue.retire();
        self.retained.retire();
        self.receive.close();
        (self.grace_at, self.look_at) = (None, None);
    }
}

/// Why a client cannot resume.
fn unknown_link(same_process: bool) -> Goodbye {
    if same_process {
        Goodbye::new(GoodbyeCode::UnknownLink, "the link has ended here: its grace period has passed")
    } else {
        Goodbye::new(GoodbyeCode::AgentRestarted, "this agent is not the one that held the link")
    }
}

/// What a stream refused here says when it is not understood what for.
fn unsupported(what: &str) -> Refusal {
    Refusal::new(
        crate::code::RefusalCode::Unsupported,
        format!("this end ({}) cannot open {what}", env!("CARGO_PKG_VERSION")),
    )
}

#[cfg(test)]
mod tests;
