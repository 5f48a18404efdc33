//! The settings of every call as data: one schema for all languages.
//!
//! Each type is a JSON object of the published [`SCHEMA`]; keys it does not know are refused, and what is absent has the
//! default of the engine's own settings, into which it converts. Durations are seconds, as a number.

mod seconds;
#[cfg(test)]
mod tests;
mod to;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use self::seconds::Seconds;
pub use self::to::{Endpoint, ToOption};
use crate::{
    AgentSource, CleanOptions, Config, Deadline, Destination, Error, ErrorCode, ExchangeOptions,
    ForwardOptions, RecoverOptions, Result, StatusOptions, Target, To,
};

/// The JSON Schema (draft 2020-12) of all of this, and of what the calls answer; each type stands below `$defs`.
pub const SCHEMA: &str = include_str!("../schema/kubetether.schema.json");

/// How long a close may take that names no deadline.
const CLOSE: Duration = Duration::from_secs(20);

/// An object of the schema, read from JSON; nothing at all counts as `{}`.
///
/// # Errors
/// [`Config`](ErrorCode::Config) with the place and the keys there are.
pub fn read<T: Options>(json: &str) -> Result<T> {
    let json = if json.trim().is_empty() { "{}" } else { json };
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let read =
        serde_path_to_error::deserialize(&mut deserializer).map_err(|error| match error.path().to_string() {
            whole if whole == "." => error.inner().to_string(),
            key => format!("`{key}`: {}", error.inner()),
        });
    // Behind the object there may be nothing.
    let read = read.and_then(|read| deserializer.end().map(|()| read).map_err(|error| error.to_string()));
    read.map_err(|problem| {
        Error::new(ErrorCode::Config, format!("the options of {}: {problem}", T::NAME))
            .try_this("see the schema for the keys there are; durations are seconds, as a number")
    })
}

/// One object of the schema.
pub trait Options: DeserializeOwned + Serialize {
    /// Its name below `$defs`.
    const NAME: &'static str;
}

macro_rules! options {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[cfg_attr(test, derive(schemars::JsonSchema))]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl Options for $name {
            const NAME: &'static str = stringify!($name);
        }
    )*};
}

options! {
    /// How a cluster is reached and a session behaves.
    #[derive(Default)]
    SessionOptions {
        /// The kubeconfig file. Default: as kubectl finds it.
        kubeconfig: Option<PathBuf>,
        /// The context of the kubeconfig. Default: its current context.
        context: Option<String>,
        /// The namespace. Default: that of the context, else `default`.
        namespace: Option<String>,
        /// The agent's file. Default: looked up beside the program or library, then in `target/agent` of a checkout.
        agent: Option<PathBuf>,
        /// A container image with the agent as its entry point, instead of the file.
        agent_image: Option<String>,
        /// The name that others read when they find a Service held by this session. Default: `user@host`.
        who: Option<String>,
        /// Seconds that a start may take when it names no deadline of its own. Default: 30.
        start_deadline: Option<Seconds>,
        /// Connections to an agent that are always kept, 1 to 8. Default: 2.
        carriers: Option<usize>,
        /// Connections to an agent that there may be while much is transferred, up to 8. Default: 4.
        most_carriers: Option<usize>,
        /// Seconds between two heartbeats of a link. Default: 2; at least 0.1.
        heartbeat: Option<Seconds>,
        /// Seconds of silence after which a connection counts as lost. Default: 5; at least three heartbeats.
        heartbeat_limit: Option<Seconds>,
        /// Seconds that open connections wait for a lost way to the cluster. Default: 60.
        grace: Option<Seconds>,
        /// Seconds that an interceptor goes on after its Service was put back. Default: 2.
        linger: Option<Seconds>,
        /// Seconds that open connections may go on when their exchange is closed. Default: 5.
        drain: Option<Seconds>,
        /// The memory limit of an agent's container, in bytes. Default: 128 MiB; at least 32 MiB.
        agent_memory: Option<u64>,
        /// What the links of the session may hold in this process, in bytes. Default: 96 MiB; at least 8 MiB.
        memory: Option<u64>,
    }

    /// One exchange.
    ExchangeCall {
        /// The Service: `orders` or `svc/orders`.
        target: String,
        /// Where its traffic goes on this machine.
        to: ToOption,
        /// Seconds that the start may take. Default: the session's `start_deadline`.
        deadline: Option<Seconds>,
        /// Seconds to wait for a Service that somebody else holds, before and beside the deadline. Default: 0.
        wait: Option<Seconds>,
    }

    /// One forward.
    ForwardCall {
        /// `db:5432`, `pod/db-0:5432`, `10.0.0.7:80`, `kube-dns.kube-system:53/udp`.
        destination: String,
        /// The local address. Default: `127.0.0.1`.
        bind: Option<IpAddr>,
        /// The local port. Default: 0, a free one.
        port: Option<u16>,
        /// Connections that may be open at once. Default: 4096.
        connections: Option<usize>,
        /// Seconds that the start may take. Default: the session's `start_deadline`.
        deadline: Option<Seconds>,
    }

    /// The end of a handle or a session.
    #[derive(Default)]
    CloseCall {
        /// Seconds that it may take. Default: 20.
        deadline: Option<Seconds>,
    }

    /// Who is there and what they hold.
    #[derive(Default)]
    StatusCall {
        /// All namespaces instead of one. Default: false.
        #[serde(default)]
        all_namespaces: bool,
        /// Seconds to watch whether sessions live. Default: 35.
        patience: Option<Seconds>,
    }

    /// What dead sessions left is taken away.
    #[derive(Default)]
    CleanCall {
        /// Only tells what would be done. Default: false.
        #[serde(default)]
        dry_run: bool,
        /// Also what belongs to sessions that live. Default: false.
        #[serde(default)]
        all: bool,
        /// All namespaces instead of one. Default: false.
        #[serde(default)]
        all_namespaces: bool,
        /// Seconds that it may take. Default: 120.
        deadline: Option<Seconds>,
    }

    /// One Service is put back.
    RecoverCall {
        /// The Service: `orders` or `svc/orders`.
        service: String,
        /// Seconds that it may take. Default: the session's `start_deadline`.
        deadline: Option<Seconds>,
    }
}

impl TryFrom<SessionOptions> for Config {
    type Error = Error;

    fn try_from(options: SessionOptions) -> Result<Self> {
        let mut config = Self::new();
        let heartbeat = (config.heartbeat, config.heartbeat_limit);
        config.kubeconfig = options.kubeconfig;
        config.context = options.context;
        config.namespace = options.namespace;
        config.who = options.who;
        config.agent = match (options.agent, options.agent_image) {
            (None, None) => AgentSource::Carried,
            (Some(path), None) => AgentSource::File(path),
            (None, Some(image)) => AgentSource::Image(image),
            (Some(_), Some(_)) => {
                return Err(Error::new(ErrorCode::Config, "`agent` and `agent_image` are two agents")
                    .try_this("give one of them"));
            }
        };
        if options.heartbeat.is_some() || options.heartbeat_limit.is_some() {
            let every = options.heartbeat.map_or(heartbeat.0, Duration::from);
            config = config.heartbeat(every, options.heartbeat_limit.map_or(heartbeat.1, Duration::from));
        }
        /// The setter, for each that is there.
        macro_rules! set {
            ($($field:ident),*) => {
                $(if let Some(value) = options.$field { config = config.$field(value.into()); })*
            };
        }
        set!(start_deadline, carriers, most_carriers, grace, linger, drain, agent_memory, memory);
        Ok(config)
    }
}

impl TryFrom<ExchangeCall> for (Target, To, ExchangeOptions) {
    type Error = Error;

    fn try_from(call: ExchangeCall) -> Result<Self> {
        let mut options = ExchangeOptions::new();
        if let Some(deadline) = call.deadline {
            options = options.deadline(deadline.into());
        }
        if let Some(wait) = call.wait {
            options = options.wait(wait.into());
        }
        Ok((call.target.parse()?, call.to.try_into()?, options))
    }
}

impl TryFrom<ForwardCall> for (Destination, ForwardOptions) {
    type Error = Error;

    fn try_from(call: ForwardCall) -> Result<Self> {
        let mut options = ForwardOptions::new();
        if let Some(address) = call.bind {
            options = options.bind(address);
        }
        if let Some(port) = call.port {
            options = options.port(port);
        }
        if let Some(most) = call.connections {
            options = options.connections(most);
        }
        if let Some(deadline) = call.deadline {
            options = options.deadline(deadline.into());
        }
        Ok((call.destination.parse()?, options))
    }
}

impl From<CloseCall> for Deadline {
    fn from(call: CloseCall) -> Self {
        Self::after(call.deadline.map_or(CLOSE, Duration::from))
    }
}

impl From<StatusCall> for StatusOptions {
    fn from(call: StatusCall) -> Self {
        let options = Self::new().all_namespaces(call.all_namespaces);
        match call.patience {
            Some(patience) => options.patience(patience.into()),
            None => options,
        }
    }
}

impl From<CleanCall> for CleanOptions {
    fn from(call: CleanCall) -> Self {
        let options = Self::new().dry_run(call.dry_run).all(call.all).all_namespaces(call.all_namespaces);
        match call.deadline {
            Some(deadline) => options.deadline(deadline.into()),
            None => options,
        }
    }
}

impl TryFrom<RecoverCall> for (Target, RecoverOptions) {
    type Error = Error;

    fn try_from(call: RecoverCall) -> Result<Self> {
        let options = RecoverOptions::new();
        let options = match call.deadline {
            Some(deadline) => options.deadline(deadline.into()),
            None => options,
        };
        Ok((call.service.parse()?, options))
    }
}
