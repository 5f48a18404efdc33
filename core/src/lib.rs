//! Connects a developer's machine and a Kubernetes cluster, both ways, as a library.
//!
//! A [`Session`] is one developer's attachment to one cluster and namespace. It lives in the process
//! that starts it; there is no daemon and nothing to install in the cluster beforehand.
//!
//! ```no_run
//! # async fn example() -> kubetether::Result<()> {
//! use kubetether::{Config, Deadline, Session, To};
//!
//! let session = Session::start(Config::new().namespace("shop")).await?;
//! // All traffic of the Service `orders` now comes to port 8080 of this machine.
//! let exchange = session.exchange("orders", To::port(8080)).await?;
//! // And the cluster's database is reachable here.
//! let db = session.forward("db:5432").await?;
//! println!("db at {}, exchange {}", db.address(), exchange.state());
//! session.close(Deadline::secs(20)).await?; // the Service is as it was
//! # Ok(())
//! # }
//! ```
//!
//! The library installs no logger and builds no runtime unasked (see [`blocking`] and [`host`]), changes no environment
//! and keeps no global state. It logs by [`tracing`].

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "tables of codes and enums of dependencies are non-exhaustive: a wildcard is what they ask for"
)]

mod backoff;
pub mod blocking;
mod care;
mod cluster;
mod config;
mod deadline;
mod descriptors;
mod ending;
mod error;
mod event;
mod exchange;
mod flow;
mod forward;
mod gateway;
pub mod host;
mod json;
mod life;
mod local;
mod namespace;
pub mod options;
mod plain;
mod safety;
mod session;
mod state;
mod stats;
mod target;
mod tasks;
mod to;

pub use crate::care::{
    CleanOptions, Cleaned, Condition, Left, Life, RecoverOptions, Recovered, Removal, ServiceStatus,
    SessionStatus, Status, StatusOptions, StatusWatch, Unseen, clean, recover, status, watch_status,
};
pub use crate::config::{AgentSource, Config};
pub use crate::deadline::Deadline;
pub use crate::error::{Error, ErrorClass, ErrorCode, Result};
pub use crate::event::{Event, Events, HandleId, HandleInfo};
pub use crate::exchange::{Exchange, ExchangeOptions, ExchangedPort};
pub use crate::flow::{Flow, FlowEnd, Flows};
pub use crate::forward::{Forward, ForwardOptions};
pub use crate::namespace::{create_namespace, delete_namespace};
pub use crate::safety::{ClientDeath, InterceptorDeath, Safety};
pub use crate::session::Session;
pub use crate::state::{HandleState, SessionState};
pub use crate::stats::Stats;
pub use crate::target::{Destination, Protocol, Target, TargetKind};
pub use crate::to::{Local, To};

/// The README's examples, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
