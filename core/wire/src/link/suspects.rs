//! Carriers that do not answer.
//!
//! A carrier on which something waits for an answer (a frame, a ping) for more than four times the usual, and nothing was
//! answered meanwhile, is suspect: it is pinged, and what is new goes on others. When as long again has passed, what waits
//! there is said again on others. All of that needs others that are not suspect: on a line that is slow as a whole
//! nothing is said twice. With its next answer the carrier is as good as before.

use std::time::{Duration, Instant};

use super::{
    CarrierId, Link, Resend,
    carrier::{Carrier, Retained},
};

/// The least that is waited for an answer before a carrier is suspect.
const PATIENCE: Duration = Duration::from_millis(200);
/// A call of the driver that is so much later than it was due means that the whole process slept.
pub(super) const SLEPT: Duration = Duration::from_secs(1);

impl Carrier {
    /// Since when an answer is waited for, and how long that may take.
    fn waits(&self) -> Option<(Instant, Duration)> {
        let oldest = [self.pace.waits_since(), self.ping.map(|(_, at)| at)].into_iter().flatten().min()?;
        let since = self.answered.map_or(oldest, |answered| answered.max(oldest));
        let usual = self.pace.usual().max(self.rtt).unwrap_or_default();
        Some((since, (usual * 4).max(PATIENCE).min(self.silence)))
    }

    /// Something that was sent here was answered.
    pub(super) fn answered(&mut self, now: Instant) {
        self.answered = Some(now);
        self.suspect = false;
    }

    fn is_healthy(&self) -> bool {
        self.is_usable() && !self.suspect
    }
}

impl Link {
    /// Whether what any carrier can send should not go on this one.
    pub(super) fn is_avoided(&self, id: CarrierId) -> bool {
        self.carriers
            .get(&id)
            .is_some_and(|carrier| carrier.leaving.is_some() || carrier.suspect && self.has_healthy())
    }

    pub(super) fn has_healthy(&self) -> bool {
        self.carriers.values().any(Carrier::is_healthy)
    }

    /// When the carrier is to be looked at again.
    pub(super) fn suspect_at(&self, carrier: &Carrier) -> Option<Instant> {
        let (since, patience) = carrier.waits()?;
        if !carrier.suspect {
            return Some(since + patience);
        }
        let unsaid = carrier.resaid < carrier.sent_frames();
        (unsaid && self.has_healthy()).then(|| since + patience * 2)
    }

    /// Looks which carriers are suspect by now.
    pub(super) fn suspect(&mut self, now: Instant) {
        let mut resay = Vec::new();
        let healthy = self.has_healthy();
        for (id, carrier) in self.carriers.iter_mut().filter(|(_, carrier)| carrier.up) {
            let Some((since, patience)) = carrier.waits() else {
                continue;
            };
            if since + patience <= now && !std::mem::replace(&mut carrier.suspect, true) {
                carrier.ping_due = true;
            }
            if carrier.suspect && since + patience * 2 <= now && healthy {
                resay.push(*id);
            }
        }
        if self.has_healthy() {
            resay.into_iter().for_each(|id| self.resay(id));
        }
    }

    /// Says again on others what waits for an answer on a suspect.
    fn resay(&mut self, id: CarrierId) {
        let Some(carrier) = self.carriers.get_mut(&id) else {
            return;
        };
        let said = usize::try_from(carrier.resaid.saturating_sub(carrier.acknowledged)).unwrap_or(usize::MAX);
        let first = carrier.acknowledged + 1 + said as u64;
        let mut credits = Vec::new();
        for (number, frame) in (first..).zip(carrier.retained.iter().skip(said)) {
            match frame {
                Retained::Data { stream, offset, bytes } => {
                    self.resent += bytes.len() as u64;
                    self.resend.push_back(Resend {
                        carrier: id,
                        number,
                        stream: *stream,
                        offset: *offset,
                        bytes: bytes.clone(),
                        held: false,
                    });
                }
                Retained::Credit(stream) => credits.push(*stream),
                control @ (Retained::Open { .. }
                | Retained::Opened(_)
                | Retained::Refuse { .. }
                | Retained::Fin { .. }
                | Retained::Reset { .. }) => self.urgent.push_back(control.clone()),
            }
        }
        carrier.resaid = carrier.sent_frames();
        credits.into_iter().for_each(|stream| self.credit_due(stream));
    }

    /// A process that slept has heard nothing because it did not listen: its peer gets another chance, once, and is asked.
    pub(super) fn wake_up(&mut self, now: Instant) {
        let slept = |carrier: &Carrier| carrier.up && carrier.ping_at + SLEPT <= now;
        if !self.carriers.values().any(slept) {
            return;
        }
        for carrier in self.carriers.values_mut().filter(|carrier| carrier.up) {
            if !std::mem::replace(&mut carrier.excused, true) {
                carrier.last_heard = now;
                carrier.answered(now);
                carrier.ping = None;
                carrier.pace.excuse(now);
                carrier.datagrams.excuse(now);
            }
        }
    }
}
