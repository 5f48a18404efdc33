//! Carriers that are given up on purpose.
//!
//! The end that wants to be rid of a carrier puts nothing new on it and says so (GOODBYE `carrier retires`). The other does and
//! says the same. A carrier keeps its order: who hears that has got everything, and has acknowledged it when it says so. Then
//! the first says GOODBYE `carrier given up` behind its last ACK and closes the carrier: nothing is on its way, so nothing is
//! said again. If the carrier dies before, it is lost as any other. So it is, too, where the peer knows nothing of this (it goes
//! on using the carrier) or does not answer within the carrier's time of silence.

use std::time::Instant;

use super::{CarrierEnd, CarrierId, Event, Link, carrier::Carrier};
use crate::{Goodbye, code::GoodbyeCode};

/// A carrier on which nothing new goes.
#[derive(Debug)]
pub(super) struct Leaving {
    /// This end wants it.
    wanted: bool,
    /// The peer is to be told.
    pub(super) notice: bool,
    /// The peer puts nothing new there either: all that it has sent has come.
    heard: bool,
    /// It is not waited for any longer.
    until: Instant,
}

impl Carrier {
    /// Whether what any carrier can send may go here.
    pub(super) fn is_usable(&self) -> bool {
        self.up && !self.finished && self.leaving.is_none()
    }

    /// When it is given up with or without the peer.
    pub(super) fn leave_at(&self) -> Option<Instant> {
        let leaving = self.leaving.as_ref().filter(|leaving| leaving.wanted)?;
        (self.farewell.is_none() && !self.finished).then_some(leaving.until)
    }

    fn leave(&mut self, wanted: bool, now: Instant) -> &mut Leaving {
        let until = now + self.silence;
        let leaving =
            self.leaving.get_or_insert(Leaving { wanted: false, notice: true, heard: false, until });
        leaving.wanted |= wanted;
        leaving
    }

    /// Its last frame is said next.
    fn part(&mut self) {
        if !self.finished {
            self.farewell = Some(Goodbye::new(GoodbyeCode::Carrier, "no longer needed"));
        }
    }
}

impl Link {
    /// Gives up a carrier in good order: nothing new is put on it, what is on its way is acknowledged, then
    /// [`carrier_finished`](Self::carrier_finished) tells that it is to be flushed and closed (and
    /// [`carrier_down`](Self::carrier_down) to be told). That takes a round trip and a half, at most as long as the carrier may
    /// be silent. If it dies before, it is lost as any other. Idempotent; one that is not up is given up at once.
    pub fn retire(&mut self, id: CarrierId, now: Instant) {
        let Some(carrier) = self.carriers.get_mut(&id).filter(|_| self.closed.is_none()) else {
            return;
        };
        if !carrier.up {
            return self.end_carrier(id, CarrierEnd::Retired, now);
        }
        let leaves = carrier.leaving.is_none();
        carrier.leave(true, now);
        self.events.extend(leaves.then_some(Event::CarrierLeaving(id)));
        self.part(id);
    }

    /// The peer puts nothing new on the carrier.
    pub(super) fn handle_retiring(&mut self, id: CarrierId, now: Instant) {
        let Some(carrier) = self.carriers.get_mut(&id) else {
            return;
        };
        let leaves = carrier.leaving.is_none();
        carrier.leave(false, now).heard = true;
        carrier.ack_due |= carrier.received > carrier.told;
        self.events.extend(leaves.then_some(Event::CarrierLeaving(id)));
        self.part(id);
    }

    /// The peer has said its last word on the carrier.
    pub(super) fn given_up(&mut self, id: CarrierId, now: Instant) {
        let Some(carrier) = self.carriers.get_mut(&id) else {
            return;
        };
        let retired = carrier.leaving.is_some() && carrier.retained.is_empty();
        // Which is no loss.
        carrier.finished |= retired;
        let end = if retired { CarrierEnd::Retired } else { CarrierEnd::Abandoned };
        self.end_carrier(id, end, now);
    }

    /// Says the last word on a carrier when nothing is left on it.
    pub(super) fn part(&mut self, id: CarrierId) {
        if let Some(carrier) = self.carriers.get_mut(&id)
            && let Some(leaving) = &carrier.leaving
            && leaving.wanted
            && leaving.heard
            && !leaving.notice
            && carrier.retained.is_empty()
        {
            carrier.part();
        }
    }

    /// Does not wait for a peer any longer.
    pub(super) fn part_late(&mut self, now: Instant) {
        for carrier in self.carriers.values_mut() {
            if carrier.leave_at().is_some_and(|at| at <= now) {
                carrier.part();
            }
        }
    }
}
