//! Datagrams: what is sent whole, once, or not at all.

use std::{collections::VecDeque, time::Instant};

use bytes::{Bytes, BytesMut};

use super::{
    CarrierId, Event, FRAME_COST, Link, StreamError, StreamId, TURN,
    pace::{Others, Pace, Shortest},
    stream::Opening,
    turns::{Turns, Who},
    unsupported,
};
use crate::{
    Frame, Open, ProtocolError, Refusal,
    budget::Account,
    code::RefusalCode,
    frame::{self, MAX_DATAGRAM},
    hello::CAPABILITY_DATAGRAMS,
};

/// What one association holds in one direction at most: so many datagrams, and so many bytes with what holding them costs.
const MOST: usize = 256;
const MOST_BYTES: u64 = 256 << 10;
/// What all associations of a link hold at most, and what they may hold whatever the budget says: the largest datagram.
const MOST_OF_ALL: u64 = 4 << 20;
const SHARE: u64 = 128 << 10;
/// What is kept that came before its OPEN.
const EARLY: usize = 64;
const EARLY_BYTES: u64 = 64 << 10;
/// A DATAGRAM is not begun in less room than this, and the PING behind it takes this much.
const LEAST: usize = 512;
const MARK: usize = 16;
/// What the rest of a DATAGRAM leaves to control frames, which may follow it.
const CONTROL: usize = 4 << 10;

/// What an association has that a stream has not.
#[derive(Debug, Default)]
pub(super) struct Association {
    incoming: Queue,
    outgoing: Queue,
    /// A reader waits.
    waiting: bool,
}

/// Datagrams in order.
#[derive(Debug, Default)]
struct Queue {
    datagrams: VecDeque<Bytes>,
    /// With what holding them costs.
    bytes: u64,
}

/// The datagrams of a link.
#[derive(Debug, Default)]
pub(super) struct Datagrams {
    /// What all queues hold; drawn with the first association.
    account: Option<Account>,
    /// Associations with something to send.
    turns: Turns,
    /// What came before its OPEN, which is on another carrier.
    early: VecDeque<(StreamId, Bytes)>,
    early_bytes: u64,
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) dropped: u64,
}

/// The datagrams of a carrier. They are not acknowledged, so a PING behind them tells when they have arrived: what is under
/// way follows a pace of its own, of the same rules as that of the streams.
#[derive(Debug, Default)]
pub(super) struct Sending {
    /// What of a DATAGRAM that was begun has still to follow, before anything else.
    pub(super) rest: Bytes,
    pace: Option<Box<Pace>>,
    /// Tokens of PINGs, and the bytes before each.
    marks: VecDeque<(u64, u64)>,
    /// Bytes that no PING follows yet.
    unmarked: u64,
    /// How far datagrams are ahead of streams that wait as well.
    ahead: u64,
}

impl Queue {
    /// Appends a datagram, and drops the oldest while there are too many. Returns how many were dropped.
    fn push(&mut self, bytes: Bytes, account: &mut Account) -> u64 {
        let cost = bytes.len() as u64 + FRAME_COST;
        let mut dropped = 0;
        loop {
            let spare = MOST_OF_ALL.saturating_sub(account.held()).min(account.room());
            // So that nobody fills what is there for all.
            let most = MOST_BYTES.min((spare + self.bytes) / 4);
            let fits = self.datagrams.len() < MOST && self.bytes + cost <= most;
            if (fits || self.datagrams.is_empty()) && cost <= spare {
                break;
            }
            dropped += 1;
            if self.pop(account).is_none() {
                return dropped;
            }
        }
        account.hold(cost);
        self.bytes += cost;
        self.datagrams.push_back(bytes);
        dropped
    }

    fn pop(&mut self, account: &mut Account) -> Option<Bytes> {
        let bytes = self.datagrams.pop_front()?;
        let cost = bytes.len() as u64 + FRAME_COST;
        self.bytes -= cost;
        account.release(cost);
        if self.datagrams.is_empty() {
            // Idle associations are many.
            self.datagrams = VecDeque::new();
        }
        Some(bytes)
    }

    fn clear(&mut self, account: &mut Account) {
        account.release(self.bytes);
        *self = Self::default();
    }
}

impl Datagrams {
    /// What all queues hold.
    pub(super) fn held(&self) -> u64 {
        self.account.as_ref().map_or(0, Account::held)
    }

    /// Whether some wait to be sent.
    pub(super) fn wait(&self) -> bool {
        self.turns.wait(Who::All)
    }

    /// The link is closed: nothing will come or go.
    pub(super) fn close(&mut self) {
        self.turns.clear();
        self.forget_early();
        if let Some(account) = &mut self.account {
            account.retire();
        }
    }

    fn keep_early(&mut self, id: StreamId, bytes: Bytes) {
        self.early_bytes += bytes.len() as u64;
        self.early.push_back((id, bytes));
        while self.early.len() > EARLY || self.early_bytes > EARLY_BYTES {
            let Some((_, oldest)) = self.early.pop_front() else { return };
            self.early_bytes -= oldest.len() as u64;
            self.dropped += 1;
        }
    }

    fn forget_early(&mut self) {
        (self.early, self.early_bytes) = (VecDeque::new(), 0);
    }

    /// What came for this one before its OPEN.
    fn take_early(&mut self, id: StreamId) -> Vec<Bytes> {
        let mut taken = Vec::new();
        self.early.retain(|(of, bytes)| {
            if *of == id {
                taken.push(bytes.clone());
            }
            *of != id
        });
        self.early_bytes -= taken.iter().map(|bytes| bytes.len() as u64).sum::<u64>();
        if self.early.is_empty() {
            self.forget_early();
        }
        taken
    }
}

impl Sending {
    /// Whether a PING is to follow what was sent: the first at once, the next ones behind a part of what may be under way.
    fn is_mark_due(&self) -> bool {
        let part = self.pace.as_ref().map_or(0, |pace| pace.turn(usize::MAX) as u64);
        self.unmarked > 0 && self.rest.is_empty() && (self.marks.is_empty() || self.unmarked >= part)
    }

    /// Whether something is to be sent on this carrier alone.
    pub(super) fn wants(&self) -> bool {
        !self.rest.is_empty() || self.is_mark_due()
    }

    /// Bytes on their way.
    pub(super) fn under_way(&self) -> u64 {
        self.pace.as_ref().map_or(0, |pace| pace.under_way()) + self.unmarked
    }

    /// Who may send now.
    fn who(&self, carriers: usize, shortest: &Shortest) -> Option<Who> {
        let Some(pace) = &self.pace else {
            return Some(Who::All);
        };
        [(false, Who::All), (true, Who::Small)]
            .into_iter()
            .find(|(first, _)| pace.room(carriers, shortest, *first) > self.unmarked)
            .map(|(_, who)| who)
    }

    /// The peer has answered a PING: what was sent before it has arrived.
    pub(super) fn answered(&mut self, token: u64, now: Instant, others: Others, shortest: &mut Shortest) {
        let mut bytes = 0;
        while let Some((_, marked)) = self.marks.pop_front_if(|(mark, _)| *mark <= token) {
            bytes += marked;
        }
        if let Some(pace) = self.pace.as_mut().filter(|_| bytes > 0) {
            // They share the carrier with streams, which are never told to be quiet.
            let others = Others { are_quiet: false, ..others };
            pace.acknowledged(token, bytes, None, now, others, shortest);
        }
        if self.marks.is_empty() {
            self.marks = VecDeque::new();
        }
    }

    /// Bytes of streams were sent.
    pub(super) fn fall_back(&mut self, bytes: u64) {
        self.ahead = self.ahead.saturating_sub(bytes);
    }

    /// The process did not run for a while.
    pub(super) fn excuse(&mut self, now: Instant) {
        if let Some(pace) = &mut self.pace {
            pace.excuse(now);
        }
    }
}

impl Link {
    /// Sends a datagram on an association ([`Open::is_datagrams`]), at once after [`open`](Self::open) if need be. Never
    /// waits: where there is no room the oldest of the association is dropped, and counted
    /// ([`Stats::datagrams_dropped`](crate::Stats)); one of more than [`MAX_DATAGRAM`] bytes is dropped itself.
    ///
    /// # Errors
    /// See [`StreamError`]; [`Finished`](StreamError::Finished) also where the stream is none for datagrams.
    pub fn send_datagram(&mut self, id: StreamId, bytes: Bytes) -> Result<(), StreamError> {
        let Some(stream) = self.streams.get_mut(&id) else {
            return Err(self.gone());
        };
        if let Opening::Refused(refusal) = &stream.opening {
            return Err(StreamError::Refused((**refusal).clone()));
        }
        if let Some(code) = stream.send.lost() {
            return Err(StreamError::Cut(code));
        }
        let open = !stream.send.is_closed();
        let (Some(association), Some(account)) =
            (stream.datagrams.as_mut().filter(|_| open), &mut self.datagrams.account)
        else {
            return Err(StreamError::Finished);
        };
        if bytes.len() > MAX_DATAGRAM {
            self.datagrams.dropped += 1;
            return Ok(());
        }
        self.datagrams.dropped += association.outgoing.push(bytes, account);
        if !association.outgoing.datagrams.is_empty() && self.closed.is_none() {
            self.datagrams.turns.push(id, &mut stream.turn);
        }
        Ok(())
    }

    /// The next datagram that came on an association, if there is one; when there is none, [`Event::Readable`] will tell.
    ///
    /// # Errors
    /// See [`StreamError`]; what came before the end is given first.
    pub fn receive_datagram(&mut self, id: StreamId) -> Result<Option<Bytes>, StreamError> {
        if let Some(stream) = self.streams.get_mut(&id)
            && let (Some(association), Some(account)) = (&mut stream.datagrams, &mut self.datagrams.account)
        {
            if let Some(bytes) = association.incoming.pop(account) {
                return Ok(Some(bytes));
            }
            association.waiting = true;
        }
        // Nothing can be read but how it ended.
        self.read(id, 0).map(|_| None)
    }

    /// Makes an association of a new stream.
    pub(super) fn associate(&mut self, id: StreamId) {
        let account = || Account::new(self.config.budget.clone(), SHARE);
        self.datagrams.account.get_or_insert_with(account);
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.datagrams = Some(Box::default());
        }
    }

    /// Whether the peer takes datagrams, as far as is known.
    pub(super) fn takes_associations(&self) -> Option<bool> {
        self.peer.as_ref().map(|peer| peer.capabilities & CAPABILITY_DATAGRAMS != 0)
    }

    /// An association was asked for, and the peer is of a version that knows none: nothing is said to it.
    pub(super) fn refuse_here(&mut self, id: StreamId) {
        self.urgent.retain(|frame| frame.opens() != Some(id));
        let text = match &self.peer {
            Some(peer) => format!("the other end ({}) takes no datagrams", peer.info.software),
            None => String::new(),
        };
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.send.settle();
        }
        // Nothing came on it, so nothing can be wrong with it.
        let _ = self.refused(id, Refusal::new(RefusalCode::Unsupported, text));
    }

    /// The peer offers an association.
    pub(super) fn offer(&mut self, id: StreamId, open: &Open) -> Result<Option<Refusal>, ProtocolError> {
        let early = self.datagrams.take_early(id);
        let datagrams = open.is_datagrams();
        if !datagrams && !early.is_empty() {
            return Err(ProtocolError::Rule("a DATAGRAM for a stream"));
        }
        if !datagrams {
            return Ok(None);
        }
        if self.streams.get(&id).is_some_and(|stream| stream.recv.has_begun()) {
            return Err(ProtocolError::Rule("bytes of a stream for an association"));
        }
        if self.takes_associations() != Some(true) {
            return Ok(Some(unsupported("associations for an end that takes no datagrams")));
        }
        self.associate(id);
        for bytes in early {
            self.keep_datagram(id, bytes);
        }
        Ok(None)
    }

    /// A datagram came. The carrier's last bytes were so many.
    pub(super) fn handle_datagram(
        &mut self,
        id: StreamId,
        bytes: Bytes,
        pushed: usize,
    ) -> Result<(), ProtocolError> {
        if self.takes_associations() != Some(true) {
            // It has no associations: this is something of a later version.
            return Ok(());
        }
        // A part of a buffer keeps all of it alive.
        let bytes = if bytes.len() < pushed { Bytes::copy_from_slice(&bytes) } else { bytes };
        match self.streams.get(&id) {
            Some(stream) if stream.datagrams.is_some() => {
                self.answered(id);
                self.keep_datagram(id, bytes);
            }
            Some(stream) if matches!(stream.opening, Opening::Heard) => self.datagrams.keep_early(id, bytes),
            // One that was refused before it was one.
            Some(stream) if !stream.held && stream.send.is_closed() => {}
            Some(_) => return Err(ProtocolError::Rule("a DATAGRAM for a stream")),
            None if self.is_own(id) && id >= self.next_stream => {
                return Err(ProtocolError::Rule("a frame for a stream that was never opened"));
            }
            None if self.is_own(id) || self.forgotten.contains(id >> 1) => {}
            None => self.datagrams.keep_early(id, bytes),
        }
        Ok(())
    }

    fn keep_datagram(&mut self, id: StreamId, bytes: Bytes) {
        if let Some(stream) = self.streams.get_mut(&id)
            && !stream.send.is_closed()
            && let (Some(association), Some(account)) = (&mut stream.datagrams, &mut self.datagrams.account)
        {
            self.datagrams.received += 1;
            self.datagrams.dropped += association.incoming.push(bytes, account);
            if std::mem::take(&mut association.waiting) {
                self.events.push_back(Event::Readable(id));
            }
        }
    }

    /// Throws away what was not sent of an association that has ended, and what was not read where nobody reads any more.
    pub(super) fn drop_datagrams(&mut self, id: StreamId, unread: bool) {
        if let Some(stream) = self.streams.get_mut(&id)
            && let (Some(association), Some(account)) = (&mut stream.datagrams, &mut self.datagrams.account)
        {
            if stream.send.is_closed() {
                association.outgoing.clear(account);
            }
            if unread {
                association.incoming.clear(account);
            }
        }
    }

    /// Whether datagrams wait, and may go on this carrier.
    pub(super) fn takes_datagrams(&self, id: CarrierId) -> bool {
        self.datagrams.wait()
            && !self.lags(id)
            && self
                .carriers
                .get(&id)
                .and_then(|carrier| carrier.datagrams.who(self.carriers.len(), &self.shortest))
                .is_some_and(|who| self.datagrams.turns.wait(who))
    }

    /// Finishes a DATAGRAM that was begun; `false` when that is all that fits.
    pub(super) fn transmit_rest(&mut self, id: CarrierId, out: &mut BytesMut, limit: usize) -> bool {
        let Some(carrier) = self.carriers.get_mut(&id).filter(|carrier| !carrier.datagrams.rest.is_empty())
        else {
            return true;
        };
        let rest = &mut carrier.datagrams.rest;
        let most = limit.saturating_sub(out.len() + MARK + CONTROL);
        out.extend_from_slice(&rest.split_to(rest.len().min(most)));
        rest.is_empty()
    }

    /// Sends datagrams: before the streams as long as they are not `ahead` of them, or all there is room for.
    pub(super) fn transmit_datagrams(
        &mut self,
        id: CarrierId,
        now: Instant,
        out: &mut BytesMut,
        limit: usize,
        ahead: bool,
    ) {
        while limit.saturating_sub(out.len()) >= LEAST + MARK && self.takes_datagrams(id) {
            let carriers = self.carriers.len();
            let Some(carrier) = self.carriers.get_mut(&id) else { return };
            let sending = &carrier.datagrams;
            if !sending.rest.is_empty() || ahead && sending.ahead >= TURN as u64 {
                break;
            }
            let Some((association, bytes)) =
                sending.who(carriers, &self.shortest).and_then(|who| self.take_datagram(who))
            else {
                break;
            };
            let Some(carrier) = self.carriers.get_mut(&id) else { return };
            let sending = &mut carrier.datagrams;
            let length = bytes.len() as u64;
            sending.rest = frame::datagram(out, association, bytes, limit - out.len() - MARK);
            // An empty one is not for nothing.
            sending.unmarked += length.max(FRAME_COST);
            sending.ahead = if ahead { sending.ahead + length } else { 0 };
            sending.pace.get_or_insert_with(|| Box::new(Pace::new(carriers)));
            self.datagrams.sent += 1;
        }
        if self.datagrams.wait()
            && let Some(pace) = self.carriers.get_mut(&id).and_then(|carrier| carrier.datagrams.pace.as_mut())
        {
            pace.hold_back();
        }
        self.transmit_mark(id, now, out);
    }

    /// Sends a PING behind datagrams, if it is time for one.
    pub(super) fn transmit_mark(&mut self, id: CarrierId, now: Instant, out: &mut BytesMut) {
        let Some(carrier) = self.carriers.get_mut(&id).filter(|carrier| carrier.datagrams.is_mark_due())
        else {
            return;
        };
        let token = carrier.ask(now);
        Frame::Ping(token).encode(out);
        let sending = &mut carrier.datagrams;
        let bytes = std::mem::take(&mut sending.unmarked);
        sending.marks.push_back((token, bytes));
        if let Some(pace) = &mut sending.pace {
            pace.sent(token, bytes, now);
        }
    }

    fn take_datagram(&mut self, who: Who) -> Option<(StreamId, Bytes)> {
        loop {
            let id = self.datagrams.turns.next(who)?;
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            let (Some(association), Some(account)) = (&mut stream.datagrams, &mut self.datagrams.account)
            else {
                continue;
            };
            let taken = association.outgoing.pop(account);
            let more = !association.outgoing.datagrams.is_empty();
            self.datagrams.turns.taken(id, &mut stream.turn, more);
            if let Some(bytes) = taken {
                return Some((id, bytes));
            }
        }
    }
}
