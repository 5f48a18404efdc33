//! Where somebody on the way to the API server lets only WebSockets through.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::upgrade::Offer;

/// How long it is believed: the laptop may be elsewhere by then, or the straight way was only broken for a while.
const BELIEVED: Duration = Duration::from_secs(600);

/// Dials of the straight way without an answer, one after another, before the other one is tried: one may be lost with its
/// connection, or with the network.
const DOUBTS: u32 = 2;

/// Which way a session's port-forwards go.
#[derive(Debug, Default)]
pub(crate) struct Detour(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// The other way did, and is taken until then.
    until: Option<Instant>,
    /// Dials of the straight way that were not answered since one was.
    doubts: u32,
}

impl Detour {
    /// What to ask for.
    pub(super) fn offer(&self) -> Offer {
        let known = self.known();
        let around = known.until.is_some_and(|until| Instant::now() < until) || known.doubts >= DOUBTS;
        if around { Offer::WebSocket } else { Offer::Spdy }
    }

    /// A carrier came of it.
    pub(super) fn did(&self, offer: Offer) {
        let until = (offer == Offer::WebSocket).then(|| Instant::now() + BELIEVED);
        *self.known() = Known { until, doubts: 0 };
    }

    /// No answer came to it, or one that makes no sense.
    pub(super) fn did_not(&self, offer: Offer) {
        let mut known = self.known();
        *known = match offer {
            Offer::Spdy => Known { doubts: known.doubts + 1, ..*known },
            Offer::WebSocket => Known::default(),
        };
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_believed_for_a_while() {
        let detour = Detour::default();
        assert_eq!(detour.offer(), Offer::Spdy);
        detour.did(Offer::WebSocket);
        tokio::time::advance(BELIEVED - Duration::from_secs(1)).await;
        assert_eq!(detour.offer(), Offer::WebSocket);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(detour.offer(), Offer::Spdy);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_doubted_twice() {
        let detour = Detour::default();
        for _ in 0..3 {
            detour.did_not(Offer::Spdy);
            assert_eq!(detour.offer(), Offer::Spdy);
            detour.did(Offer::Spdy);
        }
        detour.did_not(Offer::Spdy);
        detour.did_not(Offer::Spdy);
        assert_eq!(detour.offer(), Offer::WebSocket);
        // Neither: it is not the way.
        detour.did_not(Offer::WebSocket);
        assert_eq!(detour.offer(), Offer::Spdy);
    }

    #[tokio::test(start_paused = true)]
    async fn a_detour_that_ends_is_left() {
        let detour = Detour::default();
        detour.did(Offer::WebSocket);
        detour.did_not(Offer::WebSocket);
        assert_eq!(detour.offer(), Offer::Spdy);
        detour.did(Offer::WebSocket);
        // One that was begun before the detour was known.
        detour.did(Offer::Spdy);
        assert_eq!(detour.offer(), Offer::Spdy);
    }
}
