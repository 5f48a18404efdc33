//! What comes from the peer.

use std::time::Instant;

use bytes::Bytes;

use super::{
    CarrierEnd, CarrierId, CloseReason, Event, FRAME_COST, Link, Resend, carrier::Carrier, pace::Others,
};
use crate::{
    Frame, Goodbye, Hello, ProtocolError,
    budget::Account,
    code::{GoodbyeCode, Role},
    secret::Prover,
};

impl Link {
    /// Takes bytes that came on a carrier. What the peer does wrong closes the link (or, before its hello, the carrier).
    pub fn handle_input(&mut self, id: CarrierId, bytes: Bytes, now: Instant) {
        let Some(carrier) = self.carriers.get_mut(&id).filter(|_| self.closed.is_none()) else {
            return;
        };
        self.now = Some(now);
        (carrier.last_heard, carrier.excused) = (now, false);
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
        let clock = self.clock(now);
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
                let token = token.min(carrier.next_token);
                let others = self.others(id);
                if let Some(carrier) = self.carriers.get_mut(&id) {
                    if let Some(time) = carrier.pong(token, now) {
                        carrier.pace.see(time, others.are_quiet, &mut self.shortest);
                    }
                    carrier.datagrams.answered(token, now, others, &mut self.shortest);
                }
                Ok(())
            }
            Frame::Goodbye(goodbye) => {
                self.handle_goodbye(id, goodbye, now);
                Ok(())
            }
            Frame::Clock(time) => {
                let ahead = i128::from(clock) - i128::from(time);
                carrier.ahead = i64::try_from(ahead).ok();
                Ok(())
            }
            Frame::Ack { carrier: about, frames, last } => {
                let ahead = carrier.ahead.take().filter(|_| about == id);
                self.handle_ack(about, frames, ahead, now)?;
                if last {
                    self.given_up(about, now);
                }
                Ok(())
            }
            Frame::Datagram { stream, bytes } => self.handle_datagram(stream, bytes, pushed),
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
        if let Some(carrier) = self.carriers.get_mut(&id).filter(|carrier| carrier.up && frames > 0) {
            carrier.count(frames, bytes, now);
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
        let expected = self.proof(Prover::Agent, id, &hello.incarnation);
        if self.carriers.get(&id).is_some_and(|carrier| carrier.proven) && hello.proof != Some(expected) {
            // Whoever it is: the agent that holds the link may still be found.
            self.end_carrier(id, CarrierEnd::Unproven, now);
            return Ok(());
        }
        if let Some(carrier) = self.carriers.get_mut(&id) {
            carrier.notice = self.notice.is_some();
            carrier.greet(&self.config, hello.heartbeat, now);
        }
        self.meet(hello, version);
        (self.grace_at, self.grace_excused) = (None, false);
        self.wake_starved();
        self.events.push_back(Event::CarrierUp(id));
        Ok(())
    }

    /// The peer does not take the carrier. When it no longer knows the link, all is over.
    fn turned_away(&mut self, id: CarrierId, goodbye: Goodbye, now: Instant) {
        let proven = self.carriers.get(&id).is_some_and(|carrier| carrier.proven);
        self.end_carrier(id, CarrierEnd::Refused(goodbye.clone()), now);
        if self.peer.is_none() {
            return;
        }
        if let Some(reason) = forgotten(&goodbye) {
            self.close_with(reason, None);
        } else if proven && goodbye.code == GoodbyeCode::Secret {
            // Who holds the link knows what is proven: it is another agent, and so old that it asks for the secret.
            self.close_with(CloseReason::AgentRestarted(goodbye), None);
        }
    }

    fn handle_goodbye(&mut self, id: CarrierId, goodbye: Goodbye, now: Instant) {
        if goodbye.code == GoodbyeCode::Draining {
            if !std::mem::replace(&mut self.peer_draining, true) {
                self.events.push_back(Event::PeerDraining(goodbye.text));
            }
        } else if goodbye.code == GoodbyeCode::Carrier {
            self.given_up(id, now);
        } else if goodbye.code == GoodbyeCode::Retiring {
            self.handle_retiring(id, now);
        } else if !goodbye.code.is_notice() {
            let reason = forgotten(&goodbye).unwrap_or(CloseReason::Peer(goodbye));
            self.close_with(reason, None);
        }
    }

    fn handle_ack(
        &mut self,
        id: CarrierId,
        frames: u64,
        ahead: Option<i64>,
        now: Instant,
    ) -> Result<(), ProtocolError> {
        let others = self.others(id);
        let Some(carrier) = self.carriers.get_mut(&id) else {
            self.handle_late_ack(id, frames);
            return Ok(());
        };
        if frames > carrier.sent_frames() {
            return Err(ProtocolError::Rule("an ACK of frames that were not sent"));
        }
        let fresh = usize::try_from(frames.saturating_sub(carrier.acknowledged)).unwrap_or(usize::MAX);
        if fresh == 0 {
            return Ok(());
        }
        let mut bytes = 0;
        for frame in carrier.retained.drain(..fresh) {
            if let super::Retained::Data { bytes: data, .. } = frame {
                bytes += data.len() as u64;
                carrier.retained_data -= 1;
                self.retained.release(data.len() as u64 + FRAME_COST);
            }
        }
        carrier.acknowledged = frames;
        carrier.answered(now);
        carrier.pace.acknowledged(frames, bytes, ahead, now, others, &mut self.shortest);
        if carrier.resaid > 0 && !self.resend.is_empty() {
            self.forget_resend(id, frames);
        }
        self.part(id);
        Ok(())
    }

    fn others(&self, id: CarrierId) -> Others {
        let quiet = |(other, carrier): (&CarrierId, &Carrier)| {
            carrier.datagrams.under_way() == 0 && (*other == id || carrier.pace.under_way() == 0)
        };
        Others { carriers: self.carriers.len(), are_quiet: self.carriers.iter().all(quiet) }
    }

    /// The peer tells what came on a carrier that is lost: of that, what was not sent again yet need not be.
    fn handle_late_ack(&mut self, id: CarrierId, frames: u64) {
        let Some(index) = self.lost.iter().position(|lost| *lost == id) else {
            return;
        };
        self.lost.remove(index);
        self.forget_resend(id, frames);
    }

    /// What came on a carrier need not be sent again.
    fn forget_resend(&mut self, id: CarrierId, frames: u64) {
        self.resend.retain(|data| {
            let needed = data.carrier != id || data.number > frames;
            if !needed {
                self.resent -= data.bytes.len() as u64;
                data.released(&mut self.retained);
            }
            needed
        });
    }
}

impl Resend {
    /// It is not needed any more.
    pub(super) fn released(&self, retained: &mut Account) {
        if self.held {
            retained.release(self.bytes.len() as u64 + FRAME_COST);
        }
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
