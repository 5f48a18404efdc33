//! What handles are, which does not change.

use serde::Serialize;

/// A session.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct SessionInfo {
    /// Its random name; its Lease is `kubetether-<id>`.
    id: String,
    /// The namespace.
    namespace: String,
    /// The kubeconfig's context; absent inside a cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<String>,
}

/// An exchange in force.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ExchangeInfo {
    /// Tells the handles of a session apart.
    handle: u64,
    /// The Service's name.
    service: String,
    /// The ports that come here.
    ports: Vec<Port>,
    /// The Service's other ports, which go on to the original pods.
    passed_through: Vec<u16>,
}

/// A port of a Service and where it goes on this machine.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Port {
    /// The Service's port.
    service_port: u16,
    /// Where its connections go.
    local: String,
}

/// A forward that is up.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ForwardInfo {
    /// Tells the handles of a session apart.
    handle: u64,
    /// Where it leads.
    destination: String,
    /// The local address and port, as `127.0.0.1:40123`.
    address: String,
    /// The local address.
    host: String,
    /// The local port.
    port: u16,
}

impl SessionInfo {
    pub(crate) fn of(session: &crate::Session) -> Self {
        Self {
            id: session.id().to_owned(),
            namespace: session.namespace().to_owned(),
            context: session.context().map(str::to_owned),
        }
    }
}

impl ExchangeInfo {
    pub(crate) fn of(exchange: &crate::Exchange) -> Self {
        let port = |port: &crate::ExchangedPort| Port {
            service_port: port.service_port,
            local: port.local.to_string(),
        };
        Self {
            handle: exchange.id().number(),
            service: exchange.service().to_owned(),
            ports: exchange.ports().iter().map(port).collect(),
            passed_through: exchange.passed_through().to_vec(),
        }
    }
}

impl ForwardInfo {
    pub(crate) fn of(forward: &crate::Forward) -> Self {
        let address = forward.address();
        Self {
            handle: forward.id().number(),
            destination: forward.destination().to_string(),
            address: address.to_string(),
            host: address.ip().to_string(),
            port: address.port(),
        }
    }
}
