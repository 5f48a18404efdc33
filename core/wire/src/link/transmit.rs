//! What goes to the peer.

use std::time::Instant;

use bytes::{Bytes, BytesMut};

use super::{
    CarrierId, Event, FRAME_COST, Link, Resend, StreamId, TURN,
    carrier::{Carrier, Retained},
    turns::Who,
};
use crate::{
    Frame, Goodbye, MAX_DATA,
    code::GoodbyeCode,
    frame::{self, DATA_OVERHEAD},
    open::Refusal,
};

/// A DATA frame is not begun in less room than this: it would be mostly header.
const LEAST_DATA: usize = 512;

impl Link {
    /// The least `max` that [`poll_transmit`](Self::poll_transmit) takes: room for any one frame but DATA, which is cut, and
    /// DATAGRAM, which goes on in the next.
    pub const LEAST_TRANSMIT: usize = 8 << 10;

    /// Appends what the carrier is to send next to `out`, at most `max` bytes (`max` of at least
    /// [`LEAST_TRANSMIT`](Self::LEAST_TRANSMIT)): whole frames, but for a long DATAGRAM, whose rest is the next that comes.
    /// Control frames come first, then datagrams and the streams in turn. Returns whether
    /// there was anything. What was taken counts as sent on this carrier: if that fails, tell
    /// [`carrier_down`](Self::carrier_down).
    pub fn poll_transmit(&mut self, id: CarrierId, now: Instant, out: &mut BytesMut, max: usize) -> bool {
        self.now = Some(now);
        let clock = self.clock(now);
        let goes = self.carrier_takes_shared(id);
        let (start, limit) = (out.len(), out.len() + max.max(Self::LEAST_TRANSMIT));
        let hello = match self.carriers.get(&id) {
            Some(carrier) if carrier.finished => return false,
            Some(carrier) => (!carrier.greeted).then(|| self.hello(id)),
            None => return false,
        };
        let Some(carrier) = self.carriers.get_mut(&id) else {
            return false;
        };
        if let Some(hello) = hello {
            (carrier.greeted, carrier.proven) = (true, hello.proof.is_some());
            Frame::Hello(Box::new(hello)).encode(out);
            // So that the peer knows before it sends anything again.
            for (carrier, frames) in &self.late_acks {
                Frame::Ack { carrier: *carrier, frames: *frames, last: true }.encode(out);
            }
        }
        if !self.transmit_rest(id, out, limit) {
            return true;
        }
        let Some(carrier) = self.carriers.get_mut(&id) else {
            return false;
        };
        if let Some(goodbye) = carrier.farewell.take() {
            if carrier.leaving.is_some() {
                Frame::Ack { carrier: id, frames: carrier.tell(now), last: false }.encode(out);
            }
            Frame::Goodbye(goodbye).encode(out);
            carrier.finished = true;
        }
        if !carrier.up || carrier.finished {
            return out.len() > start;
        }
        if let Some(token) = carrier.pong.take() {
            Frame::Pong(token).encode(out);
            // Who pings may be in doubt: what came is told with it, once more if it was told before.
            carrier.ack_due |= carrier.received > carrier.told;
            if std::mem::take(&mut carrier.repeat_ack) && !carrier.ack_due {
                Frame::Ack { carrier: id, frames: carrier.told, last: false }.encode(out);
            }
        }
        if std::mem::take(&mut carrier.ping_due) {
            Frame::Ping(carrier.ask(now)).encode(out);
        }
        if std::mem::take(&mut carrier.notice)
            && let Some(text) = &self.notice
        {
            Frame::Goodbye(Goodbye::new(GoodbyeCode::Draining, text.as_str())).encode(out);
        }
        // One that would go alone a little later goes with what goes now.
        carrier.ack_due |= goes && carrier.owes_little();
        if std::mem::take(&mut carrier.ack_due) {
            Frame::Clock(clock).encode(out);
            Frame::Ack { carrier: id, frames: carrier.tell(now), last: false }.encode(out);
        }
        if let Some(leaving) = &mut carrier.leaving
            && std::mem::take(&mut leaving.notice)
        {
            Frame::Goodbye(Goodbye::new(GoodbyeCode::Retiring, "")).encode(out);
            self.part(id);
            return true;
        }
        let before = carrier.sent_frames();
        self.transmit_mark(id, now, out);
        let mut bytes = 0;
        if !self.is_avoided(id) {
            self.transmit_acks(out, now);
            let lags = self.lags(id);
            if !lags {
                if goes || out.len() > start {
                    self.hurry();
                }
                self.transmit_urgent(id, out, limit);
            }
            self.transmit_datagrams(id, now, out, limit, true);
            if self.is_between_frames(id) {
                bytes = self.transmit_data(id, out, limit);
                // The ends of the streams whose last bytes went just now.
                if !lags {
                    self.transmit_urgent(id, out, limit);
                }
                self.transmit_datagrams(id, now, out, limit, false);
            }
        }
        if let Some(carrier) = self.carriers.get_mut(&id).filter(|carrier| carrier.sent_frames() > before) {
            carrier.pace.sent(carrier.sent_frames(), bytes, now);
            carrier.datagrams.fall_back(bytes);
        }
        out.len() > start
    }

    /// Whether anything waits that any carrier can send, and one of them may send now.
    pub fn has_output(&self) -> bool {
        self.carriers.keys().any(|id| self.carrier_takes_shared(*id))
    }

    /// Whether anything waits that any carrier can send, and this one may send now: it is up, it is not suspect while another
    /// is not, and if it is bytes of streams or datagrams, there are not too many under way on it.
    pub fn carrier_takes_shared(&self, id: CarrierId) -> bool {
        let Some(carrier) = self.carriers.get(&id).filter(|carrier| carrier.is_usable()) else {
            return false;
        };
        let waits = !self.urgent.is_empty() && !self.lags(id)
            || !self.late_acks.is_empty()
            || self.takes_data(id, carrier)
            || self.takes_datagrams(id)
            || self.carriers.values().any(|other| other.suspect && other.ack_due);
        self.closed.is_none() && waits && !self.is_avoided(id)
    }

    /// Whether anything waits that this carrier alone can send.
    pub fn carrier_has_output(&self, id: CarrierId) -> bool {
        self.carriers.get(&id).is_some_and(Carrier::wants)
    }

    /// Whether the carrier has sent its last: it is to be flushed and closed.
    pub fn carrier_finished(&self, id: CarrierId) -> bool {
        self.carriers.get(&id).is_none_or(|carrier| carrier.finished)
    }

    /// Whether the link knows the carrier: it was brought up, and neither lost nor given up.
    pub fn has_carrier(&self, id: CarrierId) -> bool {
        self.carriers.contains_key(&id)
    }

    /// Whether the peer has said hello on the carrier.
    pub fn carrier_is_up(&self, id: CarrierId) -> bool {
        self.carriers.get(&id).is_some_and(|carrier| carrier.up)
    }

    /// Whether another frame may follow on the carrier.
    fn is_between_frames(&self, id: CarrierId) -> bool {
        self.carriers.get(&id).is_some_and(|carrier| carrier.datagrams.rest.is_empty())
    }

    /// Acknowledges what came on carriers that may say nothing themselves.
    fn transmit_acks(&mut self, out: &mut BytesMut, now: Instant) {
        for (carrier, frames) in self.late_acks.drain(..) {
            Frame::Ack { carrier, frames, last: true }.encode(out);
        }
        for (id, carrier) in &mut self.carriers {
            if carrier.suspect && carrier.ack_due {
                Frame::Ack { carrier: *id, frames: carrier.tell(now), last: false }.encode(out);
            }
        }
    }

    fn transmit_urgent(&mut self, id: CarrierId, out: &mut BytesMut, limit: usize) {
        while let Some(next) = self.urgent.front() {
            let room = match next {
                Retained::Open { fields, .. } => fields.len() + 32,
                Retained::Refuse { refusal, .. } => refusal.text.len().min(1024) + 32,
                Retained::Opened(_)
                | Retained::Credit(_)
                | Retained::Fin { .. }
                | Retained::Reset { .. }
                | Retained::Data { .. } => 64,
            };
            if limit.saturating_sub(out.len()) < room {
                return;
            }
            let Some(next) = self.urgent.pop_front() else {
                return;
            };
            let said = self.say(&next, out);
            if said && let Some(carrier) = self.carriers.get_mut(&id) {
                carrier.retained.push_back(next);
            }
        }
    }

    /// Writes a control frame; `false` when there is no need to say it any more.
    fn say(&mut self, frame: &Retained, out: &mut BytesMut) -> bool {
        let frame = match frame {
            Retained::Open { stream, fields } => Frame::Open { stream: *stream, fields: fields.clone() },
            Retained::Opened(stream) => Frame::Opened(*stream),
            Retained::Refuse { stream, refusal } => {
                Frame::Refuse { stream: *stream, refusal: Refusal::clone(refusal) }
            }
            Retained::Credit(0) => {
                self.link_credit_due = false;
                Frame::Credit { stream: 0, limit: self.receive.limit() }
            }
            Retained::Credit(stream) => {
                let Some(known) = self.streams.get_mut(stream) else {
                    return false;
                };
                known.credit_due = false;
                Frame::Credit { stream: *stream, limit: known.recv.limit() }
            }
            Retained::Fin { stream, end } => Frame::Fin { stream: *stream, end: *end },
            Retained::Reset { stream, code, end, deliver } => {
                Frame::Reset { stream: *stream, code: *code, end: *end, deliver: *deliver }
            }
            Retained::Data { .. } => return false,
        };
        frame.encode(out);
        true
    }

    /// Returns how many bytes of streams were sent.
    fn transmit_data(&mut self, id: CarrierId, out: &mut BytesMut, limit: usize) -> u64 {
        let mut sent = 0;
        let Some(carrier) = self.carriers.get(&id) else {
            return sent;
        };
        let turn = carrier.pace.turn(TURN);
        let all = if self.lags(id) { Who::Bulk } else { Who::All };
        let [room, small_room] = self.rooms(carrier);
        while limit.saturating_sub(out.len()) >= DATA_OVERHEAD + LEAST_DATA {
            let (room, small_room) = (room.saturating_sub(sent), small_room.saturating_sub(sent));
            let most = (limit - out.len() - DATA_OVERHEAD).min(turn);
            let next = if room > 0 {
                self.take_resend(most).or_else(|| self.take_new(most, all))
            } else if small_room > 0 && all == Who::All {
                self.take_new(most, Who::Small)
            } else {
                None
            };
            let Some((stream, offset, bytes)) = next else {
                break;
            };
            frame::data(out, stream, offset, &bytes);
            sent += bytes.len() as u64;
            self.retained.hold(bytes.len() as u64 + FRAME_COST);
            if let Some(carrier) = self.carriers.get_mut(&id) {
                carrier.retained.push_back(Retained::Data { stream, offset, bytes });
                carrier.retained_data += 1;
            }
        }
        if sent >= room
            && self.data_waits(all)
            && let Some(carrier) = self.carriers.get_mut(&id)
        {
            carrier.pace.hold_back();
        }
        sent
    }

    /// Whether only bulk is to go on this carrier, since others are so much faster.
    pub(super) fn lags(&self, id: CarrierId) -> bool {
        let usual = |carrier: &&Carrier| carrier.is_usable() && !carrier.suspect;
        let best = self.carriers.values().filter(usual).filter_map(|carrier| carrier.pace.usual()).min();
        self.carriers.get(&id).zip(best).is_some_and(|(carrier, best)| carrier.pace.lags(best))
    }

    /// What the carrier may send of all streams, and of those who go first.
    fn rooms(&self, carrier: &Carrier) -> [u64; 2] {
        let carriers = self.carriers.len();
        [false, true].map(|first| carrier.pace.room(carriers, &self.shortest, first))
    }

    fn takes_data(&self, id: CarrierId, carrier: &Carrier) -> bool {
        let [room, small_room] = self.rooms(carrier);
        match self.lags(id) {
            true => room > 0 && self.data_waits(Who::Bulk),
            false => room > 0 && self.data_waits(Who::All) || small_room > 0 && self.data_waits(Who::Small),
        }
    }

    /// Whether bytes wait to be sent, of all or only of those who go first.
    fn data_waits(&self, who: Who) -> bool {
        let new = self.allowed(who).is_some_and(|allowed| self.turns.wait(allowed));
        new || who != Who::Small && !self.resend.is_empty()
    }

    /// Who of these may send new bytes: calls alone where no more than what is kept for them is left.
    fn allowed(&self, who: Who) -> Option<Who> {
        let left = self.may_send();
        match who {
            Who::All | Who::Small | Who::Calls | Who::Bulk if left > self.reserve => Some(who),
            Who::All | Who::Small | Who::Calls if left > 0 => Some(Who::Calls),
            Who::All | Who::Small | Who::Calls | Who::Bulk => None,
        }
    }

    fn take_resend(&mut self, room: usize) -> Option<(StreamId, u64, Bytes)> {
        let mut data = loop {
            let next = self.resend.pop_front()?;
            // Whoever takes a part of it holds that anew.
            next.released(&mut self.retained);
            // One that was cut meanwhile needs its bytes no more; one that is over may still need them.
            if self.streams.get(&next.stream).is_none_or(|stream| stream.send.owes()) {
                break next;
            }
        };
        let Resend { stream, offset, held, .. } = data;
        let bytes = data.bytes.split_to(room.min(MAX_DATA).min(data.bytes.len()));
        if !data.bytes.is_empty() {
            if held {
                self.retained.hold(data.bytes.len() as u64 + FRAME_COST);
            }
            self.resend.push_front(Resend { offset: offset + bytes.len() as u64, ..data });
        }
        Some((stream, offset, bytes))
    }

    fn take_new(&mut self, room: usize, who: Who) -> Option<(StreamId, u64, Bytes)> {
        let who = self.allowed(who)?;
        let left = self.may_send();
        let for_all = left.saturating_sub(self.reserve);
        loop {
            let id = self.turns.next(who)?;
            let Some(stream) = self.streams.get_mut(&id) else {
                continue;
            };
            let most = if stream.turn.call { left } else { for_all };
            let most = usize::try_from(most).unwrap_or(usize::MAX).min(room);
            let taken = stream.send.take(most);
            let more = stream.send.sendable() > 0;
            self.turns.taken(id, &mut stream.turn, more);
            let Some((offset, bytes)) = taken else {
                continue;
            };
            self.sent += bytes.len() as u64;
            if stream.send.wake(self.config.send_buffer) {
                self.events.push_back(Event::Writable(id));
            }
            if !more {
                self.after(id);
            }
            self.unqueue(bytes.len());
            return Some((id, offset, bytes));
        }
    }

    /// New bytes that may be sent as far as the link as a whole is concerned; the last of them are for calls.
    fn may_send(&self) -> u64 {
        let held = self.retained.held();
        let may = held == 0 || held < self.config.unacknowledged && self.retained.room() > 0;
        if may { self.send_limit - self.sent } else { 0 }
    }
}
