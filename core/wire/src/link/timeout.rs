//! What time brings.

use std::time::{Duration, Instant};

use super::{CarrierEnd, CarrierId, CloseReason, Link, suspects::SLEPT};

/// How long a link without carriers is kept after this end slept beyond its grace.
const AWAKE: Duration = Duration::from_secs(15);

impl Link {
    /// When [`handle_timeout`](Self::handle_timeout) is to be called next; changes with any call.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.closed.is_some() {
            return None;
        }
        let carriers = self.carriers.values().filter(|carrier| carrier.up).flat_map(|carrier| {
            let ack_at = carrier.ack_at.filter(|_| !carrier.ack_due);
            [
                Some(carrier.ping_at),
                Some(carrier.dead_at()),
                ack_at,
                self.suspect_at(carrier),
                carrier.leave_at(),
            ]
        });
        carriers.chain([self.grace_at, self.look_at, self.lazy_at()]).flatten().min()
    }

    /// Does what is due. Too early is harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.closed.is_some() {
            return;
        }
        self.now = Some(now);
        self.wake_up(now);
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
            carrier.ack_due |= carrier.ack_at.is_some_and(|at| at <= now);
        }
        for id in dead {
            self.end_carrier(id, CarrierEnd::Silent, now);
        }
        self.hurry_due(now);
        self.suspect(now);
        self.part_late(now);
        if self.look_at.is_some_and(|at| at <= now) {
            self.look();
        }
        if let Some(at) = self.grace_at.filter(|at| *at <= now) {
            if at + SLEPT <= now && !std::mem::replace(&mut self.grace_excused, true) {
                // This end slept: whether the link is dead is for the peer to say, if it is asked soon.
                self.grace_at = Some(now + self.config.grace.min(AWAKE));
            } else {
                self.close_with(CloseReason::Lost, None);
            }
        }
    }
}
