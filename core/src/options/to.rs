//! Where inbound traffic goes, as data.

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorCode, Result, To};

/// One endpoint, or several for several ports of a Service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged, expecting = "`to` is a port, \"host:port\", the path of a unix socket, or a list of such")]
pub enum ToOption {
    /// One.
    One(Endpoint),
    /// Several, each with the Service's port behind it: `["127.0.0.1:8080:http", "/run/app.sock:grpc"]`.
    Several(Vec<Endpoint>),
}

/// A place on this machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged, expecting = "an endpoint is a port, \"host:port\", or the path of a unix socket")]
pub enum Endpoint {
    /// A port of 127.0.0.1.
    Port(u16),
    /// `host:port`, or the path of a unix socket; behind a further colon the port of the Service, by number or name.
    Text(String),
}

impl TryFrom<ToOption> for To {
    type Error = Error;

    fn try_from(to: ToOption) -> Result<Self> {
        let endpoints = match to {
            ToOption::One(endpoint) => vec![endpoint],
            ToOption::Several(endpoints) => endpoints,
        };
        let parsed = endpoints.into_iter().map(Self::try_from).reduce(|all, next| Ok(all?.and(next?)));
        parsed.unwrap_or_else(|| {
            Err(Error::new(ErrorCode::Config, "`to` names no endpoint of this machine")
                .try_this("give a port, \"host:port\" or the path of a unix socket"))
        })
    }
}

impl TryFrom<Endpoint> for To {
    type Error = Error;

    fn try_from(endpoint: Endpoint) -> Result<Self> {
        match endpoint {
            Endpoint::Port(port) => port.to_string().parse(),
            Endpoint::Text(text) => text.parse(),
        }
    }
}
