//! Carriers come and go.

use std::{collections::VecDeque, time::Instant};

use super::{
    CarrierEnd, CarrierId, Event, FRAME_COST, Link, Peer, PeerInfo, Resend, SHARES,
    carrier::{Carrier, Retained},
    unknown_link,
};
use crate::{FrameReader, Goodbye, Hello, code::GoodbyeCode, secret::Prover};

/// Lost carriers of which is remembered what came, and whether the peer may say so.
const LOST_MOST: usize = 64;

impl Link {
    /// Client: a carrier is connected. It says hello first, and is up when the peer has.
    ///
    /// Returns `None` when the link is closed or has as many carriers as it may.
    pub fn carrier_up(&mut self, now: Instant) -> Option<CarrierId> {
        if self.closed.is_some() || self.carriers.len() >= self.config.max_carriers as usize {
            return None;
        }
        let id = self.next_carrier;
        self.next_carrier += 1;
        self.carriers
            .insert(id, Carrier::new(&self.config, FrameReader::default(), self.carriers.len() + 1, now));
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
        mut reader: FrameReader,
        now: Instant,
    ) -> Result<CarrierId, Goodbye> {
        // Before the HELLO nothing is counted.
        reader.take_skipped();
        let version = hello.common_version()?;
        let proven = match &hello.proof {
            Some(proof) => *proof == self.proof(Prover::Client, hello.carrier, &hello.incarnation),
            None => hello.secret == Some(self.secret),
        };
        if !proven {
            return Err(Goodbye::new(GoodbyeCode::Secret, "the secret is not that of the link"));
        }
        if hello.resuming.is_some_and(|expected| expected != self.incarnation) || self.closed.is_some() {
            return Err(unknown_link(self.closed.is_some()));
        }
        if self.carriers.contains_key(&hello.carrier) || !self.used.take(hello.carrier) {
            return Err(Goodbye::new(GoodbyeCode::Protocol, "the carrier's number was used before"));
        }
        if self.carriers.len() >= self.config.max_carriers as usize {
            self.replace_carrier(now)?;
        }
        let mut carrier = Carrier::new(&self.config, reader, self.carriers.len() + 1, now);
        carrier.notice = self.notice.is_some();
        carrier.proven = hello.proof.is_some();
        carrier.greet(&self.config, hello.heartbeat, now);
        self.carriers.insert(hello.carrier, carrier);
        self.meet(hello, version);
        (self.grace_at, self.grace_excused) = (None, false);
        self.wake_starved();
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
        self.carriers_lost += u64::from(carrier.up && !carrier.finished);
        if carrier.up {
            remember(&mut self.late_acks, (id, carrier.received));
        }
        if !carrier.retained.is_empty() {
            remember(&mut self.lost, id);
        }
        for (number, frame) in (carrier.acknowledged + 1..).zip(carrier.retained) {
            match frame {
                // It was said again on another before this one was given up.
                _ if number <= carrier.resaid => {
                    if let Retained::Data { bytes, .. } = frame {
                        self.retained.release(bytes.len() as u64 + FRAME_COST);
                    }
                }
                Retained::Data { stream, offset, bytes } => {
                    self.resent += bytes.len() as u64;
                    self.resend.push_back(Resend { carrier: id, number, stream, offset, bytes, held: true });
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
        for other in self.carriers.values_mut() {
            other.ack_due |= other.up && other.received > 0;
        }
        if carrier.up && self.live_carriers() == 0 {
            self.grace_at = Some(now + self.config.grace);
        }
    }

    /// Takes over what the peer's hello says about the link as a whole.
    pub(super) fn meet(&mut self, hello: &Hello, version: u16) {
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
            // A stream may be opened before or behind a later hello: both ends must mean the same.
            stream_credit: self.peer.as_ref().map_or(hello.stream_credit, |peer| peer.stream_credit),
            capabilities: self.peer.as_ref().map_or(hello.capabilities, |peer| peer.capabilities),
            max_streams: hello.max_streams,
        });
        if first {
            // Also a peer that gives little keeps most of it for streams.
            self.reserve = (SHARES[0] / 8).min(hello.link_credit / 4);
            let early: Vec<_> = self.streams.keys().copied().collect();
            for id in early {
                if let Some(stream) = self.streams.get_mut(&id) {
                    stream.send.raise(hello.stream_credit);
                }
                self.make_ready(id);
                self.paid(id);
                let association = self.streams.get(&id).is_some_and(|stream| stream.datagrams.is_some());
                if association && self.takes_associations() == Some(false) {
                    self.refuse_here(id);
                }
            }
        }
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

    pub(super) fn end_carrier(&mut self, id: CarrierId, end: CarrierEnd, now: Instant) {
        self.carrier_down(id, now);
        self.events.push_back(Event::CarrierEnded(id, end));
    }
}

/// Which numbers of carriers were used: the newest, and which of the 64 before it. Older ones are taken for used.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    newest: CarrierId,
    before: u64,
}

impl Numbers {
    /// Uses a number; `false` when it was used, or is none.
    fn take(&mut self, number: CarrierId) -> bool {
        if number > self.newest {
            // What was the newest is one of those before it now.
            let ahead = number - self.newest;
            let moved = self.before.checked_shl(ahead).unwrap_or(0);
            self.before = moved | 1_u64.checked_shl(ahead - 1).unwrap_or(0);
            self.newest = number;
            return true;
        }
        let behind = self.newest - number;
        if number == 0 || !(1..=64).contains(&behind) {
            return false;
        }
        let bit = 1 << (behind - 1);
        let unused = self.before & bit == 0;
        self.before |= bit;
        unused
    }
}

/// Appends, and forgets the oldest where there are too many.
fn remember<T>(queue: &mut VecDeque<T>, new: T) {
    if queue.len() >= LOST_MOST {
        queue.pop_front();
    }
    queue.push_back(new);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_used_once() {
        let mut numbers = Numbers::default();
        assert!(!numbers.take(0));
        for number in [1, 3, 2, 70, 6, 71, 200] {
            assert!(numbers.take(number), "{number}");
            assert!(!numbers.take(number), "{number}");
        }
        // 70 and 71 are too long ago; who comes so late was not waited for.
        assert!([1, 2, 3, 5, 6, 70, 71, 135].into_iter().all(|number| !numbers.take(number)));
        assert!(numbers.take(136) && numbers.take(199) && !numbers.take(136) && !numbers.take(0));
        assert!(numbers.take(u32::MAX) && !numbers.take(199) && numbers.take(u32::MAX - 64));
    }
}
