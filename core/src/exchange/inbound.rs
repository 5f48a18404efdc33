//! Connections of the cluster's callers, taken to the endpoints of this machine.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use kubetether_link::{Incoming, Link, Open, Refusal, RefusalCode, relay_tallied};
use tokio_util::sync::CancellationToken;

use crate::local;
use crate::stats::Counters;
use crate::tasks::Tasks;
use crate::to::Local;

/// Which of the Service's ports go where.
pub(crate) type Locals = Arc<HashMap<u16, Local>>;

/// How the connections of one exchange are served; a cheap handle.
#[derive(Clone, Debug)]
pub(crate) struct Inbound {
    pub(crate) locals: Locals,
    pub(crate) counters: Counters,
    /// Cancelled when the connections that are open have had their time.
    pub(crate) ending: CancellationToken,
}

/// Which exchange an interceptor serves at the moment; outlives the exchange, as the interceptor does.
#[derive(Clone, Debug, Default)]
pub(crate) struct InboundSlot(Arc<Mutex<Option<Inbound>>>);

impl InboundSlot {
    /// From now on connections are this one's; `None` refuses them.
    pub(crate) fn set(&self, inbound: Option<Inbound>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = inbound;
    }

    fn get(&self) -> Option<Inbound> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Serves what the interceptor sends on this link, until the link is closed.
    pub(crate) async fn serve(self, link: Link, tasks: Tasks) {
        while let Some(incoming) = link.accept().await {
            match self.get() {
                Some(inbound) => tasks.spawn("inbound connection", inbound.one(incoming)),
                // The interceptor takes such a connection to the originals.
                None => incoming.refuse(Refusal::new(RefusalCode::Draining, "no exchange is in force")),
            }
        }
    }
}

impl Inbound {
    async fn one(self, mut incoming: Incoming) {
        let Open::Inbound { port, from, .. } = *incoming.open() else {
            incoming
                .refuse(Refusal::new(RefusalCode::Unsupported, "only connections of callers are taken here"));
            return;
        };
        let counted = self.counters.connection();
        let Some(local) = self.locals.get(&port) else {
            counted.refused();
            incoming.refuse(Refusal::new(RefusalCode::NotAllowed, format!("port {port} is not exchanged")));
            return;
        };
        let connected = tokio::select! {
            connected = local::connect(local) => connected,
            // The caller gave up.
            () = incoming.cancelled() => return,
        };
        match connected {
            Ok(socket) => {
                let ending = self.ending.cancelled();
                let flow = relay_tallied(incoming.accept(), socket, ending, counted.tally()).await;
                tracing::debug!(port, %from, sent = flow.sent, received = flow.received, end = ?flow.end, "connection ended");
            }
            Err(refusal) => {
                tracing::debug!(port, %from, %local, %refusal, "the local endpoint refused");
                counted.refused();
                incoming.refuse(refusal);
            }
        }
    }
}
