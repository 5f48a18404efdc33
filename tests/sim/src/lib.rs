//! The embedded cluster: a test double of Kubernetes for this machine alone.
//!
//! It answers the Kubernetes API on loopback and runs pods as processes of this machine, each with an address of its
//! own in 127/8; Services and DNS included. It starts in well under a second without root and leaves nothing behind.
//! It can be told to misbehave. What it emulates, and what it does not, is listed in its `README.md`.
//!
//! ```no_run
//! # async fn example() -> Result<(), kubetether_sim::SimError> {
//! use kubetether_sim::{Fault, Options, Sim};
//!
//! let sim = Sim::start(Options::new().image("web:1", "/usr/bin/web")).await?;
//! sim.fault(Fault::refuse(409).on("patch", "services").times(1));
//! println!("KUBECONFIG={}", sim.kubeconfig().display());
//! sim.stop().await;
//! # Ok(())
//! # }
//! ```

mod addresses;
mod admin;
mod admission;
mod cluster;
mod connection;
mod controllers;
mod dns;
mod error;
mod exec;
mod failure;
mod faults;
mod gc;
mod kinds;
mod kubelet;
mod object;
mod options;
mod patch;
mod port_forward;
mod rest;
mod select;
mod server;
mod services;
mod sim;
mod spdy;
mod store;
mod tls;
mod tokens;

pub use crate::error::SimError;
pub use crate::faults::{Effect, Fault, InForce};
pub use crate::options::Options;
pub use crate::sim::{Ended, Sim};
