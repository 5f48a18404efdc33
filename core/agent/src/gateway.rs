//! The gateway: dials out into the cluster for its clients.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use kubetether_link::{Incoming, Link, relay, relay_datagrams};
use kubetether_wire::{Answer, CallCode, Refusal, RefusalCode, Request};
use tokio::time::Instant;

use crate::control::Serve;
use crate::dial;
use crate::drain::Phase;
use crate::flows::FlowGuard;
use crate::limits::Cost;
use crate::serve::Shared;
use crate::splice::tune;
use crate::step::Step;

/// How long a dial may take when the client leaves it open.
const DIAL: Duration = Duration::from_secs(10);
/// No client waits longer than this, and a stuck dial holds a descriptor.
const DIAL_MAX: Duration = Duration::from_secs(120);

/// An association without a datagram either way for this long has ended: what conntrack allows one that was answered is
/// twice that, and who speaks again gets a new one.
const IDLE: Duration = Duration::from_secs(60);

/// Dials for clients.
#[derive(Debug)]
pub(crate) struct Gateway {
    shared: Arc<Shared>,
    /// Clients that have asked for the end: several that end at once must not each leave it to the others.
    leaving: Mutex<BTreeSet<[u8; 16]>>,
}

impl Gateway {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, leaving: Mutex::default() }
    }

    fn leaving(&self) -> MutexGuard<'_, BTreeSet<[u8; 16]>> {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what a client wants to open, or refuses it.
    fn admit(&self, incoming: Incoming) -> Option<(Incoming, FlowGuard)> {
        if self.shared.drain.phase() > Phase::Serving {
            let text = "the gateway is about to end: another takes its place";
            incoming.refuse(Refusal::new(RefusalCode::Draining, text));
            return None;
        }
        let Some(room) = self.shared.flows.try_room(Cost::JOINED) else {
            let text = "the gateway has as many connections open as its memory and descriptors bear: close some first";
            incoming.refuse(Refusal::new(RefusalCode::Limit, text));
            return None;
        };
        Some((incoming, room.occupy()))
    }

    /// As [`connect`](Self::connect), for datagrams.
    async fn exchange_datagrams(self: Arc<Self>, incoming: Incoming, asked: Asked) -> Option<Step> {
        let (mut incoming, flow) = self.admit(incoming)?;
        let Asked { host, port, .. } = &asked;
        let found = tokio::select! {
            found = dial::datagrams(&self.shared.resolver, host, *port, asked.until()) => found,
            _ = incoming.cancelled() => return None,
        };
        match found {
            Ok(socket) => {
                tracing::debug!(host, port, "an association is open");
                let datagrams = incoming.accept_datagrams();
                let relayed = relay_datagrams(datagrams, socket, IDLE, std::future::pending(), None);
                Some(Step::new(relayed.map(move |ended| {
                    tracing::debug!(port = asked.port, flow = ?ended, "an association ended");
                    drop(flow);
                    None
                })))
            }
            Err(error) => {
                tracing::debug!(host, port, %error, "no association");
                incoming.refuse(error.into());
                None
            }
        }
    }

    /// Does what an open asks for, and answers it either way; then joins the two.
    async fn connect(self: Arc<Self>, incoming: Incoming, asked: Asked) -> Option<Step> {
        let (mut incoming, flow) = self.admit(incoming)?;
        let Asked { host, port, .. } = &asked;
        let dialled = tokio::select! {
            dialled = dial::host(&self.shared.resolver, host, *port, asked.until()) => dialled,
            // The client gave up: so do we.
            _ = incoming.cancelled() => return None,
        };
        match dialled {
            Ok(socket) => {
                tune(&socket);
                tracing::debug!(host, port, "connected");
                let port = *port;
                Some(Step::new(relay(incoming.accept(), socket).map(move |ended| {
                    tracing::debug!(port, flow = ?ended, "connection ended");
                    drop(flow);
                    None
                })))
            }
            Err(error) => {
                tracing::debug!(host, port, %error, "cannot connect");
                incoming.refuse(error.into());
                None
            }
        }
    }
}

/// Where a client wants to be connected to.
struct Asked {
    host: String,
    port: u16,
    /// How long it may take; zero leaves it to us.
    patience: Duration,
}

impl Asked {
    fn until(&self) -> Instant {
        Instant::now() + if self.patience.is_zero() { DIAL } else { self.patience.min(DIAL_MAX) }
    }
}

impl Serve for Gateway {
    fn dial(
        self: Arc<Self>,
        incoming: Incoming,
        host: String,
        port: u16,
        deadline: Duration,
    ) -> impl Future<Output = ()> + Send {
        Step::new(self.connect(incoming, Asked { host, port, patience: deadline }))
    }

    fn associate(
        self: Arc<Self>,
        incoming: Incoming,
        host: String,
        port: u16,
        deadline: Duration,
    ) -> impl Future<Output = ()> + Send {
        Step::new(self.exchange_datagrams(incoming, Asked { host, port, patience: deadline }))
    }

    async fn call(self: Arc<Self>, link: Link, request: Request) -> Answer {
        match request {
            Request::Status => Answer::Status(self.shared.status(false)),
            Request::Drain => {
                let others = {
                    let mut leaving = self.leaving();
                    leaving.insert(link.id());
                    self.shared.acceptor.links_but(&leaving)
                };
                let (accepted, other_clients) = (others == 0, u32::try_from(others).unwrap_or(u32::MAX));
                if accepted {
                    self.shared.acceptor.drain();
                    self.shared.drain.ask();
                }
                Answer::Drain { accepted, other_clients }
            }
            Request::Arm { .. } | Request::Disarm | Request::Probe { .. } | Request::Prove { .. } => {
                Answer::failed(CallCode::NotAllowed, "this agent is a gateway, not an interceptor")
            }
            Request::Unknown(_) => {
                Answer::failed(CallCode::Unsupported, "this gateway is older than the client: replace it")
            }
        }
    }

    fn detached(&self, link: &Link) {
        self.leaving().remove(&link.id());
    }
}
