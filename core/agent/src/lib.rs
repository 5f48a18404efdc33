//! kubetether's process in the cluster.
//!
//! One binary, two jobs so far, chosen by the environment (see [`Config`]):
//!
//! - the **interceptor** receives the traffic of one Service. What the armed client exposed goes to the
//!   client over its link; all else, and everything while no client is there, goes to the original pods;
//! - the **gateway** dials out into the cluster and resolves names for the clients of a namespace.
//!
//! Clients come over the control listener, which is bound to the pod's loopback and reached through the
//! API server's port-forward only. The health listener answers 200 or 503 and nothing else.
//!
//! Connections of callers, to the originals and into the cluster are asked by TCP keepalive whether their peer still
//! lives: after two minutes without a byte, three times in the next minute; then they are reset.
//!
//! ```text
//! run ─ control ─ one task per link ─ one task per stream    (Job: Interceptor | Gateway)
//!     ├ listener × (pod address × TCP port) ─ one task per connection ─ inbound | pass-through
//!     ├ udp      × (pod address × UDP port) ─ one task per caller
//!     ├ health
//!     └ drain: SIGTERM, idleness and the Drain call decide when the process ends
//! ```

mod config;
mod control;
mod dial;
mod drain;
mod flows;
mod gateway;
mod health;
mod interceptor;
mod limits;
mod log;
mod resolve;
pub mod restore;
mod restoring;
mod serve;
mod splice;
mod step;

pub use config::{Config, ConfigError, Job, Original, Port, Protocol, Target};
pub use log::{Level, Log};
pub use serve::{RunError, run};
