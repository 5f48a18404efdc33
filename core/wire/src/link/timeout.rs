//! What time brings.

use std::time::Instant;

use super::{CarrierEnd, CarrierId, CloseReason, Link};

impl Link {
    /// When [`handle_timeout`](Self::handle_timeout) is to be called next; changes with any call.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.closed.is_some() {
            return None;
        }
        let carriers = self.carriers.values().filter(|carrier| carrier.up).flat_map(|carrier| {
            [Some(carrier.ping_at), Some(carrier.dead_at()), carrier.ack_at.filter(|_| !carrier.ack_due)]
        });
        carriers.chain([self.grace_at, self.look_at]).flatten().min()
    }

    /// Does what is due. Too early is harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.closed.is_some() {
            return;
        }
        self.now = Some(now);
        let mut dead: Vec<CarrierId> = Vec::new();
        for (id, carrier) in self.carriers.iter_mut().filter(|(_, carrier)| carrier.up) {
            if carrier.dead_at() <= now {
                dead.push(*id);
                continue;
            }
            if carrier.ping_at <= now {
                carrier.ping_due = true;
                carrier.ping_at = now + self.config.heartbeat;
            }
            if carrier.ack_at.is_some_and(|at| at <= now) && !std::mem::replace(&mut carrier.ack_due, true) {
                self.acks.push_back(*id);
            }
        }
        for id in dead {
            self.end_carrier(id, CarrierEnd::Silent, now);
        }
        if self.look_at.is_some_and(|at| at <= now) {
            self.look();
        }
        if self.grace_at.is_some_and(|at| at <= now) {
            self.close_with(CloseReason::Lost, None);
        }
    }
}
