//! Harness of the scenarios: promises across the engine, the agent and the command, shown on a cluster.
//!
//! [`scenario`] runs one promise in a namespace of its own and, when it holds, proves that nothing of
//! kubetether stayed there and that the user's objects are as they were. Scenarios use nothing but the
//! Kubernetes API, so they run on any cluster that `KUBETETHER_TEST_KUBECONFIG` leads to and whose nodes
//! have the workload's image.

mod app;
mod asker;
mod client;
mod cluster;
mod command;
mod death;
mod diagnosis;
mod edits;
mod ending;
mod exec;
mod kill;
mod level;
mod limited;
mod local;
mod namespace;
mod outcome;
mod parts;
pub mod proxy;
mod scenario;
mod scene;
mod slices;
mod snapshot;
mod steady;
mod sweep;
mod traffic;
mod turn;
mod wait;
mod watch;

pub use crate::app::{App, CLUSTER, IMAGE};
pub use crate::asker::{Answer, Asker, Mark, Report};
pub use crate::client::{Client, Load, Talk};
pub use crate::cluster::{Cluster, root};
pub use crate::command::{Command, Ended};
pub use crate::death::Death;
pub use crate::edits::managers;
pub use crate::ending::States;
pub use crate::kill::{Course, Matrix, Victim, kill_matrix};
pub use crate::level::{Level, User};
pub use crate::limited::{Limited, role_of_readme};
pub use crate::local::{Apart, Closed, LOCAL, Local};
pub use crate::namespace::{Namespace, Security};
pub use crate::outcome::{CLOSE, Outcome};
pub use crate::parts::Parts;
pub use crate::scenario::{Scenario, scenario, scenario_in, scenario_within};
pub use crate::scene::{Scene, under_traffic, under_traffic_with, within_limit};
pub use crate::slices::Slices;
pub use crate::snapshot::{Snapshot, nothing_of_ours};
pub use crate::steady::{Counts, Steady, steadily};
pub use crate::sweep::sweep;
pub use crate::traffic::{Plan, Told, Traffic};
pub use crate::wait::{LONG, SHORT, eventually};
pub use crate::watch::{Held, forget_peak, of_agents, of_process, of_this_process};
