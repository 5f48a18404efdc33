//! The cluster as the engine sees it: its API, the objects kubetether makes there, the way to its agents.

pub(crate) mod agent_config_map;
pub(crate) mod agent_file;
pub(crate) mod agent_link;
pub(crate) mod agent_pod;
pub(crate) mod api;
pub(crate) mod calls;
pub(crate) mod carriers;
pub(crate) mod client;
pub(crate) mod evidence;
pub(crate) mod exec;
pub(crate) mod fields;
pub(crate) mod gone;
pub(crate) mod kubeconfig;
pub(crate) mod lease;
pub(crate) mod names;
mod near;
pub(crate) mod observed;
pub(crate) mod pod_wait;
pub(crate) mod quota;
pub(crate) mod tls;
pub(crate) mod transport;
pub(crate) mod watch;

pub(crate) use self::api::Cluster;
