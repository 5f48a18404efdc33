//! Room for those who write.

use super::{Event, LOOK, Link, StreamId, TURN, carrier::Carrier};
use crate::link::stream::Stream;

/// What one stream, and all together, hold while no carrier is up.
const UNCARRIED: (u64, u64) = (16 << 10, 256 << 10);
/// What a stream without credit may hold, and where others need the room.
const UNPAID: u64 = 64 << 10;
const LITTLE: u64 = 4 << 10;
/// What calls may hold beyond the link's bound.
const CALLS: u64 = 64 << 10;
/// Less room than this is none: frames would be mostly header.
const LEAST: u64 = 1 << 10;

impl Link {
    /// How many bytes may be written to the stream now. One to which the peer gives no credit gets little once half of what
    /// there is for all is taken, and nothing of the last eighth: what is written there can be sent.
    pub(super) fn room_of(&self, stream: &Stream) -> usize {
        let (held, all, spare) = (self.queue.held(), self.most_of_all(), self.spare());
        let (queued, credit) = (stream.send.queued() as u64, stream.send.credit());
        let most = match credit {
            0 => UNPAID,
            _ => self.most_of_one(),
        };
        let room = if spare < LEAST {
            0
        } else if held < all / 2 {
            most.min(self.most_of_one()).saturating_sub(queued)
        } else if held < all / 8 * 7 {
            let most = if credit == 0 { LITTLE } else { most.min(spare / 4) };
            most.saturating_sub(queued)
        } else {
            credit.min(most.saturating_sub(queued))
        };
        let room = match room.min(spare / 2) {
            0 if stream.turn.call && held < all + CALLS => (TURN as u64).saturating_sub(queued),
            room => room,
        };
        usize::try_from(room).unwrap_or(usize::MAX)
    }

    /// A writer of the stream has found no room: it is told when there is some.
    pub(super) fn wait_for_room(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        stream.send.wait();
        // Others wait until what they have written themselves is sent, or for the peer's credit.
        let waits = stream.send.queued() == 0 && (stream.send.credit() > 0 || stream.turn.call);
        if waits && !std::mem::replace(&mut stream.starved, true) {
            self.starved.push_back(id);
        }
        self.look_later();
    }

    /// The peer has given the stream credit.
    pub(super) fn paid(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get(&id)
            && stream.send.queued() == 0
            && stream.send.is_waiting()
        {
            if self.room_of(stream) == 0 {
                self.wait_for_room(id);
            } else if let Some(stream) = self.streams.get_mut(&id)
                && stream.send.wake_now()
            {
                self.events.push_back(Event::Writable(id));
            }
        }
    }

    /// Written bytes were sent or thrown away.
    pub(super) fn unqueue(&mut self, bytes: usize) {
        self.queue.release(bytes as u64);
        self.wake_starved();
    }

    /// Tells those who wait for the link that it has room: as many as it has for, or all where there is plenty.
    pub(super) fn wake_starved(&mut self) {
        if self.starved.is_empty() {
            return;
        }
        let mut spare = self.spare();
        let plenty = spare > self.most_of_all() / 2;
        while spare >= LEAST
            && let Some(id) = self.starved.pop_front()
        {
            if let Some(stream) = self.streams.get_mut(&id) {
                stream.starved = false;
                if stream.send.wake_now() {
                    self.events.push_back(Event::Writable(id));
                    spare = if plenty { spare } else { spare.saturating_sub(TURN as u64) };
                }
            }
        }
    }

    /// What other links give back to the budget is told by nobody: it is looked for from time to time.
    pub(super) fn look_later(&mut self) {
        let waits = !self.starved.is_empty() && self.spare() < LEAST || self.receive.is_short();
        if waits && self.look_at.is_none() && self.closed.is_none() {
            self.look_at = self.now.map(|now| now + LOOK);
        }
    }

    /// What [`look_later`](Self::look_later) has put off.
    pub(super) fn look(&mut self) {
        self.look_at = None;
        self.wake_starved();
        self.link_credit();
        self.look_later();
    }

    fn spare(&self) -> u64 {
        self.most_of_all().saturating_sub(self.queue.held()).min(self.queue.room())
    }

    fn most_of_all(&self) -> u64 {
        if self.is_carried() { self.config.queued as u64 } else { UNCARRIED.1.min(self.config.queued as u64) }
    }

    fn most_of_one(&self) -> u64 {
        let most = self.config.send_buffer as u64;
        if self.is_carried() { most } else { UNCARRIED.0.min(most) }
    }

    fn is_carried(&self) -> bool {
        self.carriers.values().any(Carrier::is_usable)
    }
}
