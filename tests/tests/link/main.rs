//! What the link withstands on a cluster, through a proxy that cuts, holds back and refuses.

#![allow(clippy::unwrap_used, reason = "a scenario fails by panicking")]

mod agents;
mod blackholes;
mod cuts;
mod degraded;
mod detour;
mod readers;
mod refusals;
mod slow;
mod small;
mod stopped;
