//! What an exchange got of the nets that rights allow, as it changes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::life::Life;
use crate::{ClientDeath, InterceptorDeath, Safety};

/// The nets that are there now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Nets {
    /// The interceptor may put the Service back by itself.
    pub(super) restored: bool,
    /// The nodes know a fallback slice.
    pub(super) caught: bool,
    /// A second interceptor has callers come here.
    pub(super) second: bool,
}

impl Nets {
    fn safety(self) -> Safety {
        Safety {
            client: if self.restored { ClientDeath::Restored } else { ClientDeath::PassesThrough },
            // Where there are both, callers may come by ways that know of no slice.
            interceptor: match self {
                Self { second: true, .. } => InterceptorDeath::TwoInterceptors,
                Self { caught: true, .. } => InterceptorDeath::FallbackSlice,
                Self { .. } => InterceptorDeath::Replaced,
            },
        }
    }
}

/// The safety of one exchange; a cheap handle.
#[derive(Clone, Debug)]
pub(crate) struct Safe {
    life: Arc<Life>,
    nets: Arc<watch::Sender<Nets>>,
}

impl Safe {
    pub(super) fn new(life: Arc<Life>) -> Self {
        Self { life, nets: Arc::default() }
    }

    pub(super) fn now(&self) -> Safety {
        self.nets.borrow().safety()
    }

    /// Waits until the fallback slice is there, at most for `limit`.
    pub(super) async fn caught(&self, limit: Duration) {
        let mut nets = self.nets.subscribe();
        // What comes later is told later.
        let _ = tokio::time::timeout(limit, nets.wait_for(|nets| nets.caught)).await;
    }

    /// Changes what is there, and tells so.
    pub(super) fn change(&self, change: impl FnOnce(&mut Nets)) {
        self.nets.send_if_modified(|nets| {
            let before = *nets;
            change(nets);
            let now = nets.safety();
            if now != before.safety() {
                tracing::info!("{now}");
                self.life.safety(now);
            }
            *nets != before
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Hub;

    #[test]
    fn what_is_told_is_what_is_there_now() {
        let safe = Safe::new(Life::new(&Arc::new(Hub::new()), "exchange", "orders"));
        assert_eq!(safe.now(), Safety::default());
        safe.change(|nets| nets.second = true);
        safe.change(|nets| (nets.caught, nets.restored) = (true, true));
        assert_eq!(safe.now().interceptor, InterceptorDeath::TwoInterceptors);
        safe.change(|nets| nets.second = false);
        assert_eq!(safe.now().interceptor, InterceptorDeath::FallbackSlice, "it came later, and stays");
        assert_eq!(safe.now().client, ClientDeath::Restored);
        safe.change(|nets| *nets = Nets::default());
        assert_eq!(safe.now(), Safety::default(), "another interceptor, by fewer rights");
    }
}
