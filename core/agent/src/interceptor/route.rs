//! Where a new connection goes: to the client that armed, or to the originals.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kubetether_link::Link;
use tokio::sync::watch;

use crate::flows::{Count, Counted};

/// Who has armed, if anyone.
#[derive(Debug, Default)]
pub(super) struct Routes {
    armed: Mutex<Option<Arc<Armed>>>,
}

/// A client that gets the connections of some ports.
#[derive(Debug)]
pub(super) struct Armed {
    link: Link,
    exposed: HashSet<u16>,
    holder: String,
    flows: Count,
}

/// Another client has armed already.
#[derive(Debug, thiserror::Error)]
#[error("held by {holder}{}", if *.away { ", whose connection is lost at the moment" } else { "" })]
pub(super) struct Held {
    holder: String,
    away: bool,
}

impl Routes {
    /// Leads connections to `exposed` over `link` from now on. Arming again over the same link replaces the ports.
    pub(super) fn arm(&self, link: Link, exposed: &[u16], holder: String) -> Result<(), Held> {
        let mut armed = self.lock();
        // Connections that are open stay counted when the same client arms again.
        let flows = match armed.as_deref() {
            Some(other) if other.link.is_same(&link) => other.flows.clone(),
            Some(other) if other.link.close_reason().is_none() => {
                return Err(Held { holder: other.holder.clone(), away: !other.is_there() });
            }
            Some(_) | None => Count::default(),
        };
        let exposed = exposed.iter().copied().collect();
        *armed = Some(Arc::new(Armed { link, exposed, holder, flows }));
        Ok(())
    }

    /// Leads everything to the originals again. Gives the number of connections that are still open towards the
    /// client, or none when `link` had not armed.
    pub(super) fn disarm(&self, link: &Link) -> Option<u64> {
        let mut armed = self.lock();
        let flows = armed.as_deref().filter(|armed| armed.link.is_same(link))?.flows.get();
        *armed = None;
        Some(flows)
    }

    /// Whether another live link than this one has armed, and which.
    pub(super) fn held_by_other(&self, link: &Link) -> Option<String> {
        let armed = self.lock();
        let other = |armed: &&Armed| !armed.link.is_same(link) && armed.link.close_reason().is_none();
        armed.as_deref().filter(other).map(|armed| armed.holder.clone())
    }

    pub(super) fn is_armed(&self) -> bool {
        self.lock().is_some()
    }

    /// Who gets a new connection to this port; none means the originals.
    pub(super) fn client_for(&self, port: u16) -> Option<Arc<Armed>> {
        let armed = self.lock();
        let armed = armed.as_ref().filter(|armed| armed.exposed.contains(&port) && armed.is_there())?;
        Some(Arc::clone(armed))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Armed>>> {
        // Nothing under this lock can panic half-way.
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Armed {
    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    /// Counts one connection towards the client.
    pub(super) fn count(&self) -> Counted {
        self.flows.one()
    }

    /// Whether the client can be reached now: its link has a carrier with a heartbeat.
    fn is_there(&self) -> bool {
        *self.link.carriers().borrow() > 0
    }

    /// Waits until the client cannot be reached. Cancel-safe.
    pub(super) async fn lost(&self) {
        let mut carriers: watch::Receiver<usize> = self.link.carriers();
        // An error means that the link is gone, which is as lost as can be.
        let _ = carriers.wait_for(|carriers| *carriers == 0).await;
    }
}
