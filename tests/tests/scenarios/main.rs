//! Every promise on a cluster, one file each. One program, since they share minutes of linking and can
//! wait for the cluster side by side.

#![allow(clippy::unwrap_used, reason = "a scenario fails by panicking")]

mod care;
mod clean;
mod cli;
mod client_dies;
mod exchange_again;
mod exchange_agent_killed;
mod exchange_basic;
mod exchange_foreign_edits;
mod exchange_limits;
mod exchange_open_connections;
mod exchange_refused;
mod exchange_restricted;
mod exchange_tcp;
mod exchange_workload;
mod flows;
mod forward;
mod gateway_killed;
mod harness;
mod lease;
mod recover;
mod rights;
mod safety_client;
mod safety_interceptor;
mod session;
mod slices;
mod status;
mod udp;
