//! Where somebody on the way to the API server lets only WebSockets through.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long it is believed: the laptop may be elsewhere by then, or the first way was only broken for a moment.
const BELIEVED: Duration = Duration::from_secs(600);

/// Whether port-forwards go by WebSocket for now; known to all carriers to a cluster.
#[derive(Debug, Default)]
pub(crate) struct Detour(Mutex<Option<Instant>>);

impl Detour {
    /// Whether the first way need not be tried.
    pub(super) fn is_known(&self) -> bool {
        self.until().is_some_and(|until| Instant::now() < until)
    }

    /// The first way failed, and this one did not.
    pub(super) fn was_found(&self) {
        *self.until() = Some(Instant::now() + BELIEVED);
    }

    fn until(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_believed_for_a_while() {
        let detour = Detour::default();
        assert!(!detour.is_known());
        detour.was_found();
        tokio::time::advance(BELIEVED - Duration::from_secs(1)).await;
        assert!(detour.is_known());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!detour.is_known());
    }
}
