//! An interceptor between callers, originals and a client.

use std::io;
use std::net::SocketAddr;

use kubetether_link::Link;

use super::client::{arm, attach};
use super::{Agent, Start, address, server};

/// An interceptor of a Service with the ports 80 and 81, and the originals of both.
pub struct Scene {
    pub agent: Agent,
    pub originals: [SocketAddr; 2],
}

impl Scene {
    pub async fn new() -> Self {
        let pods = address();
        let originals = [server::named(pods, "original 80").await, server::named(pods, "original 81").await];
        Self::with(originals, |start| start).await
    }

    pub async fn with(originals: [SocketAddr; 2], change: impl FnOnce(Start) -> Start) -> Self {
        Self { agent: change(start(&originals)).ready().await, originals }
    }

    /// The same with another agent at the address of the first, which has ended.
    pub async fn again(self) -> Self {
        let start = start(&self.originals).at(self.agent.address);
        Self { agent: start.ready().await, originals: self.originals }
    }

    pub fn exposed(&self) -> SocketAddr {
        SocketAddr::new(self.agent.address, 47200)
    }

    pub fn unexposed(&self) -> SocketAddr {
        SocketAddr::new(self.agent.address, 47201)
    }

    /// A client that has armed port 80.
    pub async fn armed(&self) -> Link {
        let link = attach(self.agent.control()).await;
        arm(&link, &[80]).await;
        link
    }
}

fn start(originals: &[SocketAddr; 2]) -> Start {
    let ports = format!("80/TCP=47200>{},81/TCP=47201>{}", originals[0], originals[1]);
    Start::agent("interceptor").env("KUBETETHER_PORTS", ports).env("KUBETETHER_LINGER", "50ms")
}

pub fn is_reset(result: &io::Result<impl std::fmt::Debug>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset)
}
