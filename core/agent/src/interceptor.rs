//! The interceptor: receives the traffic of one Service, and leads each connection to the client that armed it
//! or to the original pods.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use kubetether_link::{Incoming, Link};
use kubetether_wire::{Answer, CallCode, Refusal, RefusalCode, Request};
use tokio::time::Instant;

use crate::config::{Port, Protocol};
use crate::control::Serve;
use crate::drain::Phase;
use crate::serve::{RunError, Shared, listen};

mod inbound;
mod listener;
mod original;
mod proof;
mod route;
mod udp;

use proof::Proofs;
use route::{Armed, Routes};

/// Leads connections.
#[derive(Debug)]
pub(crate) struct Interceptor {
    shared: Arc<Shared>,
    ports: Vec<Arc<Port>>,
    routes: Routes,
    proofs: Proofs,
}

/// A part of the process that runs until dropped, and its name.
pub(crate) type Part = (&'static str, Pin<Box<dyn Future<Output = ()> + Send>>);

/// How long a Probe or Prove call may take when the client leaves it open.
const ATTEMPTS: Duration = Duration::from_secs(10);

impl Interceptor {
    pub(crate) fn new(shared: Arc<Shared>, ports: Vec<Port>) -> Self {
        let ports = ports.into_iter().map(Arc::new).collect();
        Self { shared, ports, routes: Routes::default(), proofs: Proofs::default() }
    }

    /// Binds every port on every address; gives what must run to serve them.
    ///
    /// # Errors
    /// [`RunError::Bind`] for the first that cannot be bound: without all of them the Service would be broken in
    /// part.
    pub(crate) fn listen(self: &Arc<Self>, addresses: &[IpAddr]) -> Result<Vec<Part>, RunError> {
        let mut parts = Vec::new();
        for port in &self.ports {
            for address in addresses {
                let address = SocketAddr::new(*address, port.listen);
                let (interceptor, port) = (Arc::clone(self), Arc::clone(port));
                let part: Part = match port.protocol {
                    Protocol::Tcp => {
                        let socket = listen("connections to the Service", address)?;
                        ("TCP listener", Box::pin(listener::serve(interceptor, port, socket)))
                    }
                    Protocol::Udp => {
                        let socket = udp::bind(address).map_err(|source| RunError::Bind {
                            what: "datagrams to the Service",
                            address,
                            source,
                        })?;
                        ("UDP listener", Box::pin(udp::serve(interceptor, port, socket)))
                    }
                };
                parts.push(part);
            }
        }
        Ok(parts)
    }

    /// The TCP port of the Service with this number.
    fn tcp(&self, number: u16) -> Result<&Arc<Port>, Answer> {
        let of_number =
            |protocol| self.ports.iter().find(move |port| port.number == number && port.protocol == protocol);
        match (of_number(Protocol::Tcp), of_number(Protocol::Udp)) {
            (Some(port), _) => Ok(port),
            (None, Some(_)) => Err(Answer::failed(
                CallCode::Unsupported,
                format!(
                    "port {number} is UDP, which passes through: exposing UDP comes with a later version"
                ),
            )),
            (None, None) => Err(Answer::failed(
                CallCode::NoSuchPort,
                format!("the Service has no port {number} here; it has {}", self.port_list()),
            )),
        }
    }

    /// Who gets a new connection to this port now; none means the originals.
    fn client_for(&self, port: &Port) -> Option<Arc<Armed>> {
        let serving = self.shared.drain.phase() == Phase::Serving;
        serving.then(|| self.routes.client_for(port.number)).flatten()
    }

    fn port_list(&self) -> String {
        let names: BTreeMap<_, _> = self
            .ports
            .iter()
            .map(|port| ((port.number, port.protocol == Protocol::Udp), port.protocol))
            .collect();
        let names: Vec<_> =
            names.iter().map(|((number, _), protocol)| format!("{number}/{protocol}")).collect();
        names.join(", ")
    }

    fn arm(&self, link: Link, exposed: &[u16], holder: String) -> Answer {
        for number in exposed {
            if let Err(answer) = self.tcp(*number) {
                return answer;
            }
        }
        if self.shared.drain.phase() > Phase::Serving {
            return Answer::failed(
                CallCode::NotAllowed,
                "this interceptor is about to end: arm its replacement",
            );
        }
        match self.routes.arm(link, exposed, holder) {
            Ok(()) => {
                // Whoever wanted it gone before has gone.
                self.shared.drain.unask();
                tracing::info!(ports = exposed.len(), "armed");
                Answer::Arm { exposed: exposed.to_vec() }
            }
            Err(held) => Answer::failed(CallCode::Held, held.to_string()),
        }
    }

    async fn probe(&self, number: u16, times: u8, deadline: Duration) -> Answer {
        let port = match self.tcp(number) {
            Ok(port) => port,
            Err(answer) => return answer,
        };
        let deadline = Instant::now() + attempts(deadline);
        let (mut connected, mut failed, mut last_error) = (0, 0, String::new());
        for _ in 0..times {
            // As a caller from nowhere: with a name as original, always the same of its addresses.
            match original::connect(&self.shared.resolver, &port.original, None, deadline).await {
                Ok(_) => connected += 1,
                Err(error) => {
                    failed += 1;
                    last_error = error.to_string();
                }
            }
        }
        Answer::Probe { connected, failed, last_error }
    }
}

fn attempts(deadline: Duration) -> Duration {
    if deadline.is_zero() { ATTEMPTS } else { deadline.min(ATTEMPTS * 6) }
}

impl Serve for Interceptor {
    async fn dial(self: Arc<Self>, incoming: Incoming, _: String, _: u16, _: Duration) {
        incoming
            .refuse(Refusal::new(RefusalCode::NotAllowed, "this agent is an interceptor: a gateway dials"));
    }

    async fn associate(self: Arc<Self>, incoming: Incoming, _: String, _: u16, _: Duration) {
        incoming
            .refuse(Refusal::new(RefusalCode::NotAllowed, "this agent is an interceptor: a gateway dials"));
    }

    async fn call(self: Arc<Self>, link: Link, request: Request) -> Answer {
        match request {
            Request::Status => Answer::Status(self.shared.status(self.routes.is_armed())),
            Request::Arm { exposed, holder } => self.arm(link, &exposed, holder),
            Request::Disarm => match self.routes.disarm(&link) {
                Some(open_flows) => {
                    tracing::info!(open_flows, "disarmed");
                    Answer::Disarm { open_flows }
                }
                None => Answer::failed(CallCode::NotArmed, "this client has not armed the interceptor"),
            },
            Request::Probe { port, times, deadline } => self.probe(port, times, deadline).await,
            Request::Prove { port, address, times, deadline } => match self.tcp(port) {
                Ok(_) => self.proofs.prove(port, address, times, attempts(deadline)).await,
                Err(answer) => answer,
            },
            Request::Drain => {
                if let Some(holder) = self.routes.held_by_other(&link) {
                    return Answer::failed(CallCode::Held, format!("held by {holder}"));
                }
                self.shared.drain.ask();
                Answer::Drain { accepted: true, other_clients: self.shared.clients().saturating_sub(1) }
            }
            Request::Unknown(_) => {
                Answer::failed(CallCode::Unsupported, "this interceptor is older than the client: replace it")
            }
        }
    }

    fn detached(&self, link: &Link) {
        if self.routes.disarm(link).is_some() {
            tracing::info!("the client that had armed is gone: everything goes to the originals");
        }
    }
}
