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
        let ports = format!("80/TCP=47200>{},81/TCP=47201>{}", originals[0], originals[1]);
        let start =
            Start::agent("interceptor").env("KUBETETHER_PORTS", ports).env("KUBETETHER_LINGER", "50ms");
        Self { agent: change(start).ready().await, originals }
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

pub fn is_reset(result: &io::Result<impl std::fmt::Debug>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset)
}
