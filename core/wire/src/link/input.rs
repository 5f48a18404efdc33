//! What comes from the peer.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{
    CarrierEnd, CarrierId, CloseReason, Event, Link, StreamId,
    recv::Counted,
    stream::{Opening, Stream},
    unsupported,
};
use crate::{
    Frame, Goodbye, Hello, Open, ProtocolError, Refusal,
    code::{GoodbyeCode, RefusalCode, ResetCode, Role},
};

/// Frames on a carrier after which they are acknowledged at once.
const ACK_FRAMES: u64 = 64;
/// Bytes of streams on a carrier after which they are acknowledged at once.
const ACK_BYTES: u64 = 128 << 10;
/// How long an acknowledgement may wait for more to acknowledge.
const ACK_DELAY: Duration = Duration::from_millis(25);
/// How long readers may stop before they are looked at, while the link is short of credit.
const PARK_DELAY: Duration = Duration::from_millis(250);

impl Link {
    /// Takes bytes that came on a carrier. What the peer does wrong closes the link (or, before its hello, the carrier).
    pub fn handle_input(&mut self, id: CarrierId, bytes: Bytes, now: Instant) {
        let Some(carrier) = self.carriers.get_mut(&id).filter(|_| self.closed.is_none()) else {
            return;
        };
        carrier.last_heard = now;
        // Out of its place, so that a frame can be handled while the rest is kept.
        let mut reader = std::mem::take(&mut carrier.reader);
        if !bytes.is_empty() {
            reader.push(bytes);
        }
        loop {
            let next = reader.next_frame();
            let skipped = reader.take_skipped();
            self.count(id, skipped, 0, now);
            let handled = match next {
                Ok(Some(frame)) => self.handle_frame(id, frame, reader.pushed(), now),
                Ok(None) => break,
                Err(error) => Err(error),
            };
            if let Err(error) = handled {
                self.broken(id, error, now);
            }
            if self.closed.is_some() || !self.carriers.contains_key(&id) {
                return;
            }
        }
        if let Some(carrier) = self.carriers.get_mut(&id) {
            carrier.reader = reader;
        }
        if self.receive.is_tight() && self.park_at.is_none() {
            self.park_at = Some(now + PARK_DELAY);
        }
    }

    /// Looks for readers that have stopped while the link is short of credit.
    pub(super) fn park(&mut self, now: Instant) {
        self.park_at = None;
        if !self.receive.is_tight() {
            return;
        }
        for stream in self.streams.values_mut() {
            let stalled = stream.recv.stalled().min(self.receive.parking());
            if stalled > 0 {
                stream.recv.park(stalled);
                self.receive.park(stalled);
            }
        }
        self.park_at = Some(now + PARK_DELAY);
        self.link_credit();
    }

    fn broken(&mut self, id: CarrierId, error: ProtocolError, now: Instant) {
        if self.carriers.get(&id).is_some_and(|carrier| !carrier.up) {
            if let ProtocolError::Hello(goodbye) = &error
                && goodbye.code == GoodbyeCode::Version
            {
                return self.turned_away(id, goodbye.clone(), now);
            }
            return self.end_carrier(id, CarrierEnd::Protocol(error), now);
        }
        let goodbye = Goodbye::new(GoodbyeCode::Protocol, error.to_string());
        self.close_with(CloseReason::Protocol(error), Some(&goodbye));
    }

    fn handle_frame(
        &mut self,
        id: CarrierId,
        frame: Frame,
        pushed: usize,
        now: Instant,
    ) -> Result<(), ProtocolError> {
        let Some(carrier) = self.carriers.get_mut(&id) else {
            return Ok(());
        };
        if !carrier.up {
            if let Frame::Hello(hello) = frame {
                return self.handle_hello(id, &hello, now);
            }
            let Frame::Goodbye(goodbye) = frame else {
                return Err(ProtocolError::Rule("the first frame is no HELLO"));
            };
            self.turned_away(id, goodbye, now);
            return Ok(());
        }
        match frame {
            Frame::Hello(_) => Err(ProtocolError::Rule("a second HELLO")),
            Frame::Ping(token) => {
                carrier.pong = Some(token);
                Ok(())
            }
            Frame::Pong(token) => {
                carrier.pong(token, now);
                Ok(())
            }
            Frame::Goodbye(goodbye) => {
                self.handle_goodbye(id, goodbye, now);
                Ok(())
            }
            Frame::Ack { carrier, frames, last } => {
                self.handle_ack(carrier, frames)?;
                if last && self.carriers.contains_key(&carrier) {
                    self.end_carrier(carrier, CarrierEnd::Abandoned, now);
                }
                Ok(())
            }
            // The capability was not announced; a peer that sends some nevertheless is like one of a later version.
            Frame::Datagram { .. } => Ok(()),
            Frame::Open { .. }
            | Frame::Opened(_)
            | Frame::Refuse { .. }
            | Frame::Data { .. }
            | Frame::Credit { .. }
            | Frame::Fin { .. }
            | Frame::Reset { .. } => {
                let bytes = if let Frame::Data { bytes, .. } = &frame { bytes.len() } else { 0 };
                self.count(id, 1, bytes, now);
                self.handle_stream_frame(frame, pushed)
            }
        }
    }

    /// Counts frames that are to be acknowledged, and their bytes of streams.
    fn count(&mut self, id: CarrierId, frames: u64, bytes: usize, now: Instant) {
        let Some(carrier) = self.carriers.get_mut(&id).filter(|carrier| carrier.up && frames > 0) else {
            return;
        };
        carrier.received += frames;
        carrier.untold_bytes += bytes as u64;
        if carrier.received - carrier.told >= ACK_FRAMES || carrier.untold_bytes >= ACK_BYTES {
            if !std::mem::replace(&mut carrier.ack_due, true) {
                self.acks.push_back(id);
            }
        } else if carrier.ack_at.is_none() {
            carrier.ack_at = Some(now + ACK_DELAY);
        }
    }

    fn handle_hello(&mut self, id: CarrierId, hello: &Hello, now: Instant) -> Result<(), ProtocolError> {
        let version = match hello.common_version() {
            Ok(version) => version,
            Err(goodbye) => {
                self.turned_away(id, goodbye, now);
                return Ok(());
            }
        };
        if hello.role == Role::Client || hello.link != self.id || hello.carrier != id {
            return Err(ProtocolError::Rule("the HELLO answers another one"));
        }
        if self.peer.as_ref().is_some_and(|peer| peer.info.incarnation != hello.incarnation) {
            let goodbye = Goodbye::new(GoodbyeCode::AgentRestarted, "its hello tells another incarnation");
            self.close_with(CloseReason::AgentRestarted(goodbye.clone()), Some(&goodbye));
            return Ok(());
        }
        if let Some(carrier) = self.carriers.get_mut(&id) {
            carrier.notice = self.notice.is_some();
            carrier.greet(&self.config, hello.heartbeat, now);
        }
        self.meet(hello, version);
        self.grace_at = None;
        self.events.push_back(Event::CarrierUp(id));
        Ok(())
    }

    /// The peer does not take the carrier. When it no longer knows the link, all is over.
    fn turned_away(&mut self, id: CarrierId, goodbye: Goodbye, now: Instant) {
        self.end_carrier(id, CarrierEnd::Refused(goodbye.clone()), now);
        if self.peer.is_some()
            && let Some(reason) = forgotten(&goodbye)
        {
            self.close_with(reason, None);
        }
    }

    fn handle_goodbye(&mut self, id: CarrierId, goodbye: Goodbye, now: Instant) {
        if goodbye.code == GoodbyeCode::Draining {
            if !std::mem::replace(&mut self.peer_draining, true) {
                self.events.push_back(Event::PeerDraining(goodbye.text));
            }
        } else if goodbye.code == GoodbyeCode::Carrier {
            self.end_carrier(id, CarrierEnd::Abandoned, now);
        } else if !goodbye.code.is_notice() {
            let reason = forgotten(&goodbye).unwrap_or(CloseReason::Peer(goodbye));
            self.close_with(reason, None);
        }
    }

    fn handle_ack(&mut self, id: CarrierId, frames: u64) -> Result<(), ProtocolError> {
        let Some(carrier) = self.carriers.get_mut(&id) else {
            self.handle_late_ack(id, frames);
            return Ok(());
        };
        let sent = carrier.acknowledged + carrier.retained.len() as u64;
        if frames > sent {
            return Err(ProtocolError::Rule("an ACK of frames that were not sent"));
        }
        let fresh = usize::try_from(frames.saturating_sub(carrier.acknowledged)).unwrap_or(usize::MAX);
        for frame in carrier.retained.drain(..fresh) {
            if let super::Retained::Data { bytes, .. } = frame {
                self.unacknowledged -= bytes.len() as u64 + super::FRAME_COST;
            }
        }
        carrier.acknowledged += fresh as u64;
        Ok(())
    }

    /// The peer tells what came on a carrier that is lost: of that, what was not sent again yet need not be.
    fn handle_late_ack(&mut self, id: CarrierId, frames: u64) {
        let Some(index) = self.lost.iter().position(|lost| *lost == id) else {
            return;
        };
        self.lost.remove(index);
        self.resend.retain(|data| {
            let needed = data.carrier != id || data.number > frames;
            if !needed {
                self.resent -= data.bytes.len() as u64;
            }
            needed
        });
    }

    fn handle_stream_frame(&mut self, frame: Frame, pushed: usize) -> Result<(), ProtocolError> {
        match frame {
            Frame::Open { stream, fields } => self.handle_open(stream, &fields),
            Frame::Opened(stream) => {
                if !self.is_own(stream) {
                    return Err(ProtocolError::Rule("an OPENED for a stream of the sender's"));
                }
                if self.find(stream)? {
                    self.answered(stream);
                }
                Ok(())
            }
            Frame::Refuse { stream, refusal } => self.handle_refuse(stream, refusal),
            Frame::Data { stream, offset, bytes } => {
                // A small part of a big buffer would keep all of it alive.
                let bytes = if bytes.len() * 4 < pushed { Bytes::copy_from_slice(&bytes) } else { bytes };
                self.with_recv(stream, |known| known.recv.data(offset, bytes))
            }
            Frame::Fin { stream, end } => self.with_recv(stream, |known| known.recv.finish(end)),
            Frame::Reset { stream, code, end, deliver } => self.handle_reset(stream, code, end, deliver),
            Frame::Credit { stream: 0, limit } => {
                self.send_limit = self.send_limit.max(limit);
                Ok(())
            }
            Frame::Credit { stream, limit } => {
                if self.find(stream)?
                    && let Some(known) = self.streams.get_mut(&stream)
                {
                    known.send.raise(limit);
                    self.make_ready(stream);
                }
                Ok(())
            }
            Frame::Hello(_)
            | Frame::Ping(_)
            | Frame::Pong(_)
            | Frame::Goodbye(_)
            | Frame::Ack { .. }
            | Frame::Datagram { .. } => Ok(()),
        }
    }

    fn handle_open(&mut self, id: StreamId, fields: &[u8]) -> Result<(), ProtocolError> {
        if self.is_own(id) {
            return Err(ProtocolError::Rule("an OPEN with a number of the receiver's"));
        }
        if !self.find(id)? {
            return Ok(());
        }
        let Some(stream) =
            self.streams.get_mut(&id).filter(|stream| matches!(stream.opening, Opening::Heard))
        else {
            return Ok(());
        };
        let open = match Open::decode(fields) {
            Ok(Open::Unknown(kind)) => Err(format!("streams of kind {kind}")),
            Ok(open) => Ok(open),
            // The stream is what cannot be understood, not the peer.
            Err(error) => Err(format!("this stream: {error}")),
        };
        let open = match open {
            Ok(open) => open,
            Err(what) => {
                self.refuse(id, unsupported(&what));
                return Ok(());
            }
        };
        if self.opened_there > self.config.max_streams {
            let most = self.config.max_streams;
            self.refuse(id, Refusal::new(RefusalCode::Limit, format!("{most} streams are open already")));
        } else {
            stream.held = true;
            stream.opening = Opening::Offered;
            self.events.push_back(Event::Incoming(id, open));
        }
        Ok(())
    }

    fn handle_refuse(&mut self, id: StreamId, refusal: Refusal) -> Result<(), ProtocolError> {
        if !self.is_own(id) {
            return Err(ProtocolError::Rule("a REFUSE for a stream of the sender's"));
        }
        if !self.find(id)? {
            return Ok(());
        }
        let Some(stream) =
            self.streams.get_mut(&id).filter(|stream| matches!(stream.opening, Opening::Asked))
        else {
            return Ok(());
        };
        stream.opening = Opening::Refused(Box::new(refusal));
        self.events.extend(stream.held.then_some(Event::Answered(id)));
        self.cut_by_peer(id, ResetCode::Cancelled, 0, 0)
    }

    fn handle_reset(
        &mut self,
        id: StreamId,
        code: ResetCode,
        end: u64,
        deliver: u64,
    ) -> Result<(), ProtocolError> {
        if !self.find(id)? {
            return Ok(());
        }
        if let Some(stream) = self.streams.get(&id)
            && matches!(stream.opening, Opening::Asked)
            && stream.held
        {
            self.events.push_back(Event::Answered(id));
        }
        self.cut_by_peer(id, code, end, deliver)
    }

    fn cut_by_peer(
        &mut self,
        id: StreamId,
        code: ResetCode,
        end: u64,
        deliver: u64,
    ) -> Result<(), ProtocolError> {
        let Some(stream) = self.streams.get_mut(&id) else {
            return Ok(());
        };
        let counted = stream.recv.reset(code, end, deliver)?;
        let queued = stream.send.queued();
        stream.send.lose(code);
        self.queued -= queued;
        self.settle(counted)?;
        self.tell_cut(id);
        self.after(id);
        Ok(())
    }

    /// Hands something to the receiving side of a stream and does what follows from it.
    fn with_recv(
        &mut self,
        id: StreamId,
        act: impl FnOnce(&mut Stream) -> Result<Counted, ProtocolError>,
    ) -> Result<(), ProtocolError> {
        if !self.find(id)? {
            return Ok(());
        }
        // Whoever sends data has accepted; its OPENED is on another carrier.
        self.answered(id);
        let Some(stream) = self.streams.get_mut(&id) else {
            return Ok(());
        };
        let counted = act(stream)?;
        if stream.recv.wake() {
            self.events.push_back(Event::Readable(id));
        }
        let discarded = counted.freed > 0;
        self.settle(counted)?;
        if discarded
            && let Some(stream) = self.streams.get_mut(&id)
            && stream.recv.new_limit(0).is_some()
        {
            self.credit_due(id);
        }
        if self.streams.get(&id).is_some_and(Stream::is_over) {
            self.after(id);
        }
        Ok(())
    }

    /// A stream of ours is open.
    fn answered(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id)
            && matches!(stream.opening, Opening::Asked)
        {
            stream.opening = Opening::Open;
            self.events.extend(stream.held.then_some(Event::Answered(id)));
        }
    }

    fn settle(&mut self, counted: Counted) -> Result<(), ProtocolError> {
        self.receive.sent(counted.sent)?;
        self.receive.free(counted.freed);
        if counted.freed > 0 {
            self.link_credit();
        }
        Ok(())
    }

    /// Whether the stream of a frame is there; a new one of the peer's is made. `false`: it is over.
    fn find(&mut self, id: StreamId) -> Result<bool, ProtocolError> {
        if self.streams.contains_key(&id) {
            return Ok(true);
        }
        if self.is_own(id) {
            return if id < self.next_stream {
                Ok(false)
            } else {
                Err(ProtocolError::Rule("a frame for a stream that was never opened"))
            };
        }
        if self.forgotten.contains(id >> 1) {
            return Ok(false);
        }
        let most = self.config.max_streams.saturating_mul(2).saturating_add(64);
        if self.opened_there >= most || self.forgotten.len() > most as usize {
            return Err(ProtocolError::Rule("far more streams than there may be"));
        }
        // A peer that opens and cuts streams but does not read what they are answered with.
        let said =
            self.urgent.len() + self.carriers.values().map(|carrier| carrier.retained.len()).sum::<usize>();
        if said > (most as usize).saturating_mul(4) + (1 << 20) {
            return Err(ProtocolError::Rule("frames are not acknowledged"));
        }
        self.opened_there += 1;
        let credit = self.peer.as_ref().map_or(0, |peer| peer.stream_credit);
        self.streams.insert(id, Stream::new(Opening::Heard, credit, self.config.initial_window, false));
        Ok(true)
    }
}

/// What the goodbye of an agent that no longer knows the link means for it.
fn forgotten(goodbye: &Goodbye) -> Option<CloseReason> {
    if goodbye.code == GoodbyeCode::UnknownLink {
        // The same process, whose grace period was over first.
        return Some(CloseReason::Lost);
    }
    (goodbye.code == GoodbyeCode::AgentRestarted).then(|| CloseReason::AgentRestarted(goodbye.clone()))
}
