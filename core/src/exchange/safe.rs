//! What an exchange got of the nets that rights allow, as it changes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::life::Life;
use crate::{InterceptorDeath, Safety};

/// The safety of one exchange; a cheap handle.
#[derive(Clone, Debug)]
pub(crate) struct Safe {
    life: Arc<Life>,
    now: Arc<watch::Sender<Safety>>,
}

impl Safe {
    pub(super) fn new(life: Arc<Life>) -> Self {
        Self { life, now: Arc::new(watch::Sender::new(Safety::default())) }
    }

    pub(super) fn now(&self) -> Safety {
        *self.now.borrow()
    }

    /// Waits until the fallback slice is there, at most for `limit`.
    pub(super) async fn caught(&self, limit: Duration) {
        let mut now = self.now.subscribe();
        let there = now.wait_for(|now| now.interceptor == InterceptorDeath::FallbackSlice);
        // What comes later is told later.
        let _ = tokio::time::timeout(limit, there).await;
    }

    /// Changes it, and tells so.
    pub(super) fn change(&self, change: impl FnOnce(&mut Safety)) {
        self.now.send_if_modified(|now| {
            let before = *now;
            change(now);
            let changed = *now != before;
            if changed {
                tracing::info!("{now}");
                self.life.safety(*now);
            }
            changed
        });
    }
}
