//! What the environment tells the agent. This page is the reference; the engine writes these variables.
//!
//! | variable | role | meaning | default |
//! |---|---|---|---|
//! | `KUBETETHER_ROLE` | | `interceptor` or `gateway` | must be set |
//! | `KUBETETHER_POD_IPS` | interceptor | the pod's addresses, comma separated (downward API `status.podIPs`) | must be set |
//! | `KUBETETHER_PORTS` | interceptor | the Service's ports, see below | must be set |
//! | `KUBETETHER_CONTROL` | both | where clients come: address:port | `127.0.0.1:47100` |
//! | `KUBETETHER_HEALTH` | both | where readiness is asked: address:port | first pod address, port 47101 |
//! | `KUBETETHER_IDLE` | gateway | ends after this long without a client | `30s` |
//! | `KUBETETHER_DRAIN` | both | at most this long after SIGTERM for open connections to end | `20s` |
//! | `KUBETETHER_LINGER` | interceptor | at least this long after SIGTERM new connections are still passed through | `3s` |
//! | `KUBETETHER_FALLBACK` | interceptor | `slice`: the nodes lead callers to the originals when it is not ready, so it is unready from SIGTERM on | |
//! | `KUBETETHER_RESTORE` | interceptor | the program that puts the Service back when no client comes any more, see `core/agent/src/restore` | |
//! | `KUBETETHER_HEARTBEAT` | both | how often each carrier is pinged | `2s` |
//! | `KUBETETHER_SILENCE` | both | a carrier without a byte for this long is dead | `5s` |
//! | `KUBETETHER_GRACE` | both | how long a link outlives its last carrier | `60s` |
//! | `KUBETETHER_RESOLV_CONF` | both | name servers, search domains, options | `/etc/resolv.conf` |
//! | `KUBETETHER_NAMESERVER` | both | asks this address:port instead of the name servers of that file | |
//! | `KUBETETHER_LOG` | both | `off`, `error`, `warn`, `info`, `debug`, `trace` | `info` |
//!
//! Lengths of time are a whole number and `ms` or `s`; a bare number is seconds. (`KUBETETHER_UNPACK` belongs to
//! the loader: see there.)
//!
//! `KUBETETHER_PORTS` is a comma separated list, one entry per port of the Service:
//!
//! ```text
//! <Service port>/<TCP|UDP>=<listen port>><original>[|<original>...]
//! 80/TCP=47200>10.96.3.4:80,443/TCP=47201>10.96.3.4:443|[fd00::34]:443,53/UDP=47202>kt-orders.shop.svc:53
//! ```
//!
//! The agent listens on `<listen port>` of every pod address. An original is where traffic that is not for a
//! client goes: `address:port`, `[v6 address]:port` or `name:port`. Of several, those of the caller's family are
//! tried first. A name stands for all of its addresses, and each caller's address always gets the same of them
//! (as long as it is there): that is how a Service's `sessionAffinity` is kept.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::log::Level;

mod ports;

pub use ports::{Original, Port, Protocol, Target};

/// Everything the agent is told at its start. Nothing is bound or resolved yet.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// What it is to do.
    pub job: Job,
    /// Where clients come.
    pub control: SocketAddr,
    /// Where readiness is asked.
    pub health: SocketAddr,
    /// At most this long after SIGTERM for open connections to end.
    pub drain: Duration,
    /// How often each carrier is pinged.
    pub heartbeat: Duration,
    /// A carrier without a byte for this long is dead.
    pub silence: Duration,
    /// How long a link outlives its last carrier.
    pub grace: Duration,
    /// Name servers, search domains, options.
    pub resolv_conf: PathBuf,
    /// Asked instead of the name servers of that file.
    pub nameserver: Option<SocketAddr>,
    /// What is logged.
    pub log: Level,
}

/// What the agent is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Job {
    /// Receive the traffic of one Service.
    Interceptor {
        /// The pod's addresses; at least one.
        addresses: Vec<IpAddr>,
        /// The Service's ports; at least one.
        ports: Vec<Port>,
        /// At least this long after SIGTERM new connections are still passed through.
        linger: Duration,
        /// Whether the nodes lead callers to the originals when it is not ready.
        fallback: bool,
        /// What puts the Service back when no client comes any more.
        restore: Option<PathBuf>,
    },
    /// Dial out into the cluster.
    Gateway {
        /// Ends after this long without a client.
        idle: Duration,
    },
}

/// A variable that is missing or cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable} {problem}")]
pub struct ConfigError {
    /// The variable's name.
    pub variable: &'static str,
    /// What is wrong with it, and how it should look.
    pub problem: String,
}

const HEALTH_PORT: u16 = 47101;
/// A day: longer is a mistake in the unit.
const LONGEST: Duration = Duration::from_secs(86_400);

impl Config {
    /// Reads the variables through `lookup`.
    ///
    /// # Errors
    /// [`ConfigError`] for the first variable that is missing or wrong.
    pub fn from_env(lookup: impl Fn(&'static str) -> Option<OsString>) -> Result<Self, ConfigError> {
        let env = Env { lookup };
        let addresses = env.addresses("KUBETETHER_POD_IPS")?;
        let job = match env.required("KUBETETHER_ROLE")?.as_str() {
            "interceptor" => Job::Interceptor {
                ports: ports::parse(&env.required("KUBETETHER_PORTS")?)
                    .map_err(|problem| wrong("KUBETETHER_PORTS", problem))?,
                linger: env.duration("KUBETETHER_LINGER", Duration::from_secs(3))?,
                fallback: match env.text("KUBETETHER_FALLBACK")?.as_deref() {
                    None => false,
                    Some("slice") => true,
                    Some(other) => {
                        return Err(wrong("KUBETETHER_FALLBACK", format!("is {other:?}, not slice")));
                    }
                },
                restore: env.text("KUBETETHER_RESTORE")?.map(PathBuf::from),
                addresses: match addresses.as_slice() {
                    [] => return Err(missing("KUBETETHER_POD_IPS")),
                    addresses => addresses.to_vec(),
                },
            },
            "gateway" => Job::Gateway { idle: env.duration("KUBETETHER_IDLE", Duration::from_secs(30))? },
            other => {
                return Err(wrong("KUBETETHER_ROLE", format!("is {other:?}, not interceptor or gateway")));
            }
        };
        let health = match (env.parsed("KUBETETHER_HEALTH", "address:port")?, addresses.first()) {
            (Some(health), _) => health,
            (None, Some(address)) => SocketAddr::new(*address, HEALTH_PORT),
            (None, None) => {
                return Err(wrong("KUBETETHER_HEALTH", "and KUBETETHER_POD_IPS are not set: set one"));
            }
        };
        Ok(Self {
            job,
            control: env
                .parsed("KUBETETHER_CONTROL", "address:port")?
                .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 47100))),
            health,
            drain: env.duration("KUBETETHER_DRAIN", Duration::from_secs(20))?,
            heartbeat: env.duration("KUBETETHER_HEARTBEAT", Duration::from_secs(2))?,
            silence: env.duration("KUBETETHER_SILENCE", Duration::from_secs(5))?,
            grace: env.duration("KUBETETHER_GRACE", Duration::from_secs(60))?,
            resolv_conf: (env.lookup)("KUBETETHER_RESOLV_CONF")
                .filter(|path| !path.is_empty())
                .map_or_else(|| PathBuf::from("/etc/resolv.conf"), PathBuf::from),
            nameserver: env.parsed("KUBETETHER_NAMESERVER", "address:port")?,
            log: match env.text("KUBETETHER_LOG")? {
                Some(text) => text.parse().map_err(|problem| wrong("KUBETETHER_LOG", problem))?,
                None => Level::default(),
            },
        })
    }
}

struct Env<F> {
    lookup: F,
}

impl<F: Fn(&'static str) -> Option<OsString>> Env<F> {
    /// The value; one that is empty counts as not set, since a manifest cannot leave a variable out easily.
    fn text(&self, variable: &'static str) -> Result<Option<String>, ConfigError> {
        match (self.lookup)(variable).map(OsString::into_string) {
            None => Ok(None),
            Some(Ok(text)) if text.trim().is_empty() => Ok(None),
            Some(Ok(text)) => Ok(Some(text.trim().to_owned())),
            Some(Err(_)) => Err(wrong(variable, "is not UTF-8")),
        }
    }

    fn required(&self, variable: &'static str) -> Result<String, ConfigError> {
        self.text(variable)?.ok_or_else(|| missing(variable))
    }

    fn parsed<T: std::str::FromStr>(
        &self,
        variable: &'static str,
        shape: &str,
    ) -> Result<Option<T>, ConfigError> {
        self.text(variable)?
            .map(|text| text.parse().map_err(|_| wrong(variable, format!("is {text:?}, not {shape}"))))
            .transpose()
    }

    fn addresses(&self, variable: &'static str) -> Result<Vec<IpAddr>, ConfigError> {
        let Some(text) = self.text(variable)? else { return Ok(Vec::new()) };
        text.split(',')
            .map(|address| {
                address
                    .trim()
                    .parse()
                    .map_err(|_| wrong(variable, format!("has {address:?}, not an IP address")))
            })
            .collect()
    }

    fn duration(&self, variable: &'static str, default: Duration) -> Result<Duration, ConfigError> {
        let Some(text) = self.text(variable)? else { return Ok(default) };
        let (number, unit) = match text.strip_suffix("ms") {
            Some(number) => (number, Duration::from_millis(1)),
            None => (text.strip_suffix('s').unwrap_or(&text), Duration::from_secs(1)),
        };
        number
            .parse::<u32>()
            .ok()
            .and_then(|number| unit.checked_mul(number))
            .filter(|duration| *duration <= LONGEST)
            .ok_or_else(|| {
                wrong(variable, format!("is {text:?}, not a length of time like 30s or 500ms, at most a day"))
            })
    }
}

fn wrong(variable: &'static str, problem: impl Into<String>) -> ConfigError {
    ConfigError { variable, problem: problem.into() }
}

fn missing(variable: &'static str) -> ConfigError {
    wrong(variable, "is not set")
}

#[cfg(test)]
mod tests;
