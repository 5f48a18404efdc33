//! Connections of the cluster's callers, taken to the endpoints of this machine.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use kubetether_link::{Incoming, Link, Open, Refusal, RefusalCode, relay_tallied};
use tokio_util::sync::CancellationToken;

use crate::flow::{Counters, FlowEnd};
use crate::life::Life;
use crate::local;
use crate::tasks::Tasks;
use crate::to::Local;

/// Which of the Service's ports go where; a cheap handle.
#[derive(Clone, Debug)]
pub(crate) struct Locals(Arc<HashMap<u16, Endpoint>>);

/// An endpoint of this machine.
#[derive(Debug)]
struct Endpoint {
    local: Local,
    /// The same for people.
    name: Arc<str>,
    /// Whether it has refused ever since it was told that it does.
    refuses: AtomicBool,
}

impl Locals {
    /// By the Service's port.
    pub(crate) fn new(locals: HashMap<u16, Local>) -> Self {
        let endpoint = |local: Local| {
            let name = local.to_string().into();
            Endpoint { local, name, refuses: AtomicBool::new(false) }
        };
        Self(Arc::new(locals.into_iter().map(|(port, local)| (port, endpoint(local))).collect()))
    }

    /// Tells people of those where nobody listens at the start.
    pub(crate) async fn tell_absent(self, life: Arc<Life>) {
        let absent = move || {
            let listeners = local::Listeners::now();
            let nobody = self.0.values().filter(|endpoint| listeners.nobody_at(&endpoint.local));
            nobody.filter_map(|endpoint| endpoint.refused(&Refusal::new(RefusalCode::Refused, ""))).collect()
        };
        let told: Vec<String> = tokio::task::spawn_blocking(absent).await.unwrap_or_default();
        told.into_iter().for_each(|text| life.notice(text));
    }
}

impl Endpoint {
    fn accepted(&self) {
        self.refuses.store(false, Ordering::Relaxed);
    }

    /// What people should know of a refusal: the first one, and the first after a connection that worked.
    fn refused(&self, refusal: &Refusal) -> Option<String> {
        if self.refuses.swap(true, Ordering::Relaxed) {
            return None;
        }
        let local = &self.local;
        Some(match refusal.code {
            RefusalCode::Refused => format!("nothing listens at {local}: callers are reset"),
            RefusalCode::TimedOut | RefusalCode::Unreachable => {
                format!("{local} takes no connections ({}): callers are reset", refusal.text)
            }
            // No word of the endpoint itself, which the interceptor would hand on.
            _ => {
                format!("{local} cannot be connected to ({}): callers go to the original pods", refusal.text)
            }
        })
    }
}

/// How the connections of one exchange are served; a cheap handle.
#[derive(Clone, Debug)]
pub(crate) struct Inbound {
    pub(crate) life: Arc<Life>,
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
        let Some(endpoint) = self.locals.0.get(&port) else {
            let refusal = Refusal::new(RefusalCode::NotAllowed, format!("port {port} is not exchanged"));
            self.counters.begin(from, &"".into(), port).end(FlowEnd::refused(&refusal));
            incoming.refuse(refusal);
            return;
        };
        let counted = self.counters.begin(from, &endpoint.name, port);
        let local = &endpoint.local;
        let connected = tokio::select! {
            connected = local::connect(local) => connected,
            code = incoming.cancelled() => return counted.end(FlowEnd::withdrawn(code)),
        };
        match connected {
            Ok(socket) => {
                endpoint.accepted();
                let ending = self.ending.cancelled();
                let flow = relay_tallied(incoming.accept(), socket, ending, counted.tally()).await;
                tracing::debug!(port, %from, sent = flow.sent, received = flow.received, end = ?flow.end, "connection ended");
                counted.end(FlowEnd::of(flow.end));
            }
            Err(refusal) => {
                tracing::debug!(port, %from, %local, %refusal, "the local endpoint refused");
                counted.end(FlowEnd::refused(&refusal));
                if let Some(text) = endpoint.refused(&refusal) {
                    self.life.notice(text);
                }
                incoming.refuse(refusal);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_once_until_a_connection_works() {
        let local = Local::Tcp { host: "127.0.0.1".into(), port: 9555 };
        let locals = Locals::new(HashMap::from([(80, local)]));
        let endpoint = &locals.0[&80];
        let nobody = Refusal::new(RefusalCode::Refused, "connection refused");
        let told = Some("nothing listens at 127.0.0.1:9555: callers are reset".to_owned());
        assert_eq!(endpoint.refused(&nobody), told);
        assert_eq!(endpoint.refused(&nobody), None);
        endpoint.accepted();
        assert_eq!(endpoint.refused(&nobody), told);
        endpoint.accepted();
        let slow = Refusal::new(RefusalCode::TimedOut, "the local endpoint does not accept");
        assert!(endpoint.refused(&slow).is_some_and(|text| text.ends_with("accept): callers are reset")));
        endpoint.accepted();
        let nowhere = Refusal::new(RefusalCode::Internal, "no such host");
        assert!(
            endpoint.refused(&nowhere).is_some_and(|text| text.contains("(no such host): callers go to"))
        );
    }
}
