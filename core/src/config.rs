//! What a session is told before it starts.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::deadline::YEAR;

/// Where the agent's program comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AgentSource {
    /// Carried in a ConfigMap; the file is looked up in the [`agent_folder`](Config::agent_folder), beside the program, then
    /// in `target/agent` of a checkout around them.
    #[default]
    Carried,
    /// Carried in a ConfigMap; this file.
    File(PathBuf),
    /// Carried in a ConfigMap; these bytes.
    Bytes(Arc<[u8]>),
    /// An ordinary container image that holds the agent as its entry point.
    Image(String),
}

/// Settings of a [`Session`](crate::Session): built once, then immutable.
///
/// The default finds the cluster as `kubectl` does: `KUBECONFIG`, else `~/.kube/config`, else the
/// service account of the pod it runs in.
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) kubeconfig: Option<PathBuf>,
    pub(crate) context: Option<String>,
    pub(crate) namespace: Option<String>,
    pub(crate) agent: AgentSource,
    pub(crate) agent_folder: Option<PathBuf>,
    pub(crate) who: Option<String>,
    pub(crate) start_deadline: Duration,
    pub(crate) carriers: usize,
    pub(crate) most_carriers: usize,
    pub(crate) heartbeat: Duration,
    pub(crate) heartbeat_limit: Duration,
    pub(crate) grace: Duration,
    pub(crate) linger: Duration,
    pub(crate) drain: Duration,
    pub(crate) agent_memory: u64,
    pub(crate) memory: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            kubeconfig: None,
            context: None,
            namespace: None,
            agent: AgentSource::default(),
            agent_folder: None,
            who: None,
            start_deadline: Duration::from_secs(30),
            carriers: 2,
            most_carriers: 4,
            heartbeat: Duration::from_secs(2),
            heartbeat_limit: Duration::from_secs(5),
            grace: Duration::from_secs(60),
            linger: Duration::from_secs(2),
            drain: Duration::from_secs(5),
            agent_memory: 128 << 20,
            memory: 96 << 20,
        }
    }
}

impl Config {
    /// The settings that suit most users.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The kubeconfig file. Default: as `kubectl` finds it.
    #[must_use]
    pub fn kubeconfig(mut self, path: impl AsRef<Path>) -> Self {
        self.kubeconfig = Some(path.as_ref().to_owned());
        self
    }

    /// The context of the kubeconfig. Default: its current context.
    #[must_use]
    pub fn context(mut self, name: impl Into<String>) -> Self {
        self.context = Some(name.into());
        self
    }

    /// The namespace. Default: that of the context, else `default`.
    #[must_use]
    pub fn namespace(mut self, name: impl Into<String>) -> Self {
        self.namespace = Some(name.into());
        self
    }

    /// Where the agent's program comes from. Default: [`AgentSource::Carried`].
    #[must_use]
    pub fn agent(mut self, source: AgentSource) -> Self {
        self.agent = source;
        self
    }

    /// The folder where the carried agent's files are looked for before all others: that of the library or package that the
    /// engine is a part of, where the program is an interpreter. Default: none.
    #[must_use]
    pub fn agent_folder(mut self, folder: impl AsRef<Path>) -> Self {
        self.agent_folder = Some(folder.as_ref().to_owned());
        self
    }

    /// The name that others read when they find a Service held by this session.
    /// Default: `user@host`.
    #[must_use]
    pub fn who(mut self, name: impl Into<String>) -> Self {
        self.who = Some(name.into());
        self
    }

    /// How long a start may take when the call names no deadline of its own. Default: 30 s.
    #[must_use]
    pub fn start_deadline(mut self, duration: Duration) -> Self {
        self.start_deadline = duration.min(YEAR);
        self
    }

    /// Connections to an agent that are always kept, 1 to 8. With two, one that stalls or is lost holds nobody up.
    /// Each costs the API server a connection. Default: 2.
    #[must_use]
    pub fn carriers(mut self, count: usize) -> Self {
        self.carriers = count.clamp(1, 8);
        self.most_carriers = self.most_carriers.max(self.carriers);
        self
    }

    /// Connections to an agent that there may be while much is transferred, up to 8: more are added one by one as
    /// long as each makes the transfer faster, and given back afterwards. Default: 4; at least as many as are always
    /// [kept](Self::carriers).
    #[must_use]
    pub fn most_carriers(mut self, count: usize) -> Self {
        self.most_carriers = count.clamp(1, 8).max(self.carriers);
        self
    }

    /// How often each end of a link tells the other that it is there, and how long silence may last
    /// before a connection counts as lost. Default: 2 s and 5 s; at least 100 ms and three heartbeats.
    #[must_use]
    pub fn heartbeat(mut self, every: Duration, limit: Duration) -> Self {
        self.heartbeat = every.clamp(Duration::from_millis(100), YEAR / 4);
        self.heartbeat_limit = limit.min(YEAR).max(3 * self.heartbeat);
        self
    }

    /// How long inbound and outbound streams wait for a lost connection to an agent to come back
    /// before they are reset. Default: 60 s.
    #[must_use]
    pub fn grace(mut self, duration: Duration) -> Self {
        self.grace = duration.min(YEAR);
        self
    }

    /// How long an interceptor goes on passing connections through after its Service was restored,
    /// because the nodes of a cluster learn of a change at their own pace. Default: 2 s.
    #[must_use]
    pub fn linger(mut self, duration: Duration) -> Self {
        self.linger = duration.min(YEAR);
        self
    }

    /// How long connections that are open when an exchange is closed may go on, if the close has
    /// that much time; then they end. Default: 5 s.
    #[must_use]
    pub fn drain(mut self, duration: Duration) -> Self {
        self.drain = duration.min(YEAR);
        self
    }

    /// The memory limit of an agent's container in bytes; how many connections it takes at once, and how much it holds
    /// for them, follows from it. Default: 128 MiB; at least 32 MiB.
    #[must_use]
    pub fn agent_memory(mut self, bytes: u64) -> Self {
        self.agent_memory = bytes.max(32 << 20);
        self
    }

    /// What the links of this session may hold in this process, in bytes: data on its way, in both directions. Beyond
    /// it transfers become slower, and nothing is lost. Default: 96 MiB; at least 8 MiB. Each link has 1 MiB whatever is
    /// left, so that it can always do something. One connection gets three eighths of it, on its way: with the default
    /// 370 MB/s at a round trip of 100 ms.
    #[must_use]
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = bytes.max(8 << 20);
        self
    }
}
