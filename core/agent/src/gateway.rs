//! The gateway: dials out into the cluster for its clients.

use std::sync::Arc;
use std::time::Duration;

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
use crate::step::{self, Step};

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
}

impl Gateway {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
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
    async fn exchange_datagrams(
        self: Arc<Self>,
        incoming: Incoming,
        host: String,
        port: u16,
        deadline: Duration,
    ) -> Option<Step> {
        let (mut incoming, flow) = self.admit(incoming)?;
        let patience = if deadline.is_zero() { DIAL } else { deadline.min(DIAL_MAX) };
        let found = tokio::select! {
            found = dial::datagrams(&self.shared.resolver, &host, port, Instant::now() + patience) => found,
            () = incoming.cancelled() => return None,
        };
        match found {
            Ok(socket) => {
                tracing::debug!(host, port, "an association is open");
                let datagrams = incoming.accept_datagrams();
                Some(Step::last(async move {
                    let ended = relay_datagrams(datagrams, socket, IDLE, std::future::pending(), None).await;
                    tracing::debug!(port, flow = ?ended, "an association ended");
                    drop(flow);
                }))
            }
            Err(error) => {
                tracing::debug!(host, port, %error, "no association");
                incoming.refuse(error.into());
                None
            }
        }
    }

    /// Does what an open asks for, and answers it either way; then joins the two.
    async fn connect(
        self: Arc<Self>,
        incoming: Incoming,
        host: String,
        port: u16,
        deadline: Duration,
    ) -> Option<Step> {
        let (mut incoming, flow) = self.admit(incoming)?;
        let patience = if deadline.is_zero() { DIAL } else { deadline.min(DIAL_MAX) };
        let dialled = tokio::select! {
            dialled = dial::host(&self.shared.resolver, &host, port, Instant::now() + patience) => dialled,
            // The client gave up: so do we.
            () = incoming.cancelled() => return None,
        };
        match dialled {
            Ok(socket) => {
                tune(&socket);
                tracing::debug!(host, port, "connected");
                let stream = incoming.accept();
                Some(Step::last(async move {
                    let ended = relay(stream, socket).await;
                    tracing::debug!(port, flow = ?ended, "connection ended");
                    drop(flow);
                }))
            }
            Err(error) => {
                tracing::debug!(host, port, %error, "cannot connect");
                incoming.refuse(error.into());
                None
            }
        }
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
        step::run(Step::next(self.connect(incoming, host, port, deadline)), ())
    }

    fn associate(
        self: Arc<Self>,
        incoming: Incoming,
        host: String,
        port: u16,
        deadline: Duration,
    ) -> impl Future<Output = ()> + Send {
        step::run(Step::next(self.exchange_datagrams(incoming, host, port, deadline)), ())
    }

    async fn call(self: Arc<Self>, _: Link, request: Request) -> Answer {
        match request {
            Request::Status => Answer::Status(self.shared.status(false)),
            Request::Drain => {
                let other_clients = self.shared.clients().saturating_sub(1);
                let accepted = other_clients == 0;
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

    fn detached(&self, _: &Link) {}
}
