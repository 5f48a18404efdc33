//! Exchange: all traffic of a Service comes here.

mod changes;
mod companion;
pub(crate) mod fallback;
mod guard;
mod inbound;
pub(crate) mod interceptor;
mod kept;
mod nets;
pub(crate) mod note;
mod patience;
mod plan;
mod policies;
mod prove;
pub(crate) mod put_back;
mod removal;
mod safe;
mod service;
mod start;
mod stop;
mod wait;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

pub(crate) use self::kept::Kept;
pub(crate) use self::removal::{Useless, in_background};
use self::safe::Safe;
pub(crate) use self::wait::start_when_free;
use crate::flow::Counters;
use crate::life::Life;
use crate::stats::Stats;
use crate::to::Local;
use crate::{Deadline, HandleId, HandleState, Result, Safety};

/// A dropped handle's Service is put back within this time.
const AFTER_DROP: Duration = Duration::from_secs(30);

/// Settings of one exchange.
#[derive(Clone, Debug, Default)]
pub struct ExchangeOptions {
    pub(crate) deadline: Option<Duration>,
    pub(crate) wait: Duration,
}

impl ExchangeOptions {
    /// The settings that suit most users.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How long the start may take. Default: the session's
    /// [`start_deadline`](crate::Config::start_deadline).
    #[must_use]
    pub fn deadline(mut self, duration: Duration) -> Self {
        self.deadline = Some(duration);
        self
    }

    /// How long to wait for a Service that somebody else holds to become free, instead of being refused at once. That does
    /// not count against the deadline. Default: not at all.
    #[must_use]
    pub fn wait(mut self, duration: Duration) -> Self {
        self.wait = duration.min(crate::deadline::YEAR);
        self
    }
}

/// A port of a Service and where it goes on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExchangedPort {
    /// The Service's port.
    pub service_port: u16,
    /// Where its connections go.
    pub local: Local,
}

/// An exchange in force. Dropping it ends it in the background; [`close`](Self::close) waits for that.
///
/// "All traffic" means all new connections: those that were open at the start stay with the original
/// pods until they end. The start has proven, from inside the cluster, that connections to the Service
/// arrive here; the proof holds for the interceptor's node, others follow at kube-proxy's own pace.
#[derive(Debug)]
pub struct Exchange {
    pub(crate) life: Arc<Life>,
    pub(crate) service: String,
    pub(crate) ports: Vec<ExchangedPort>,
    pub(crate) passed: Vec<u16>,
    pub(crate) counters: Counters,
    safe: Safe,
}

impl Exchange {
    /// Tells the handles of a session apart.
    #[must_use]
    pub fn id(&self) -> HandleId {
        self.life.id()
    }

    /// The Service's name.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.service
    }

    /// The ports that come here.
    #[must_use]
    pub fn ports(&self) -> &[ExchangedPort] {
        &self.ports
    }

    /// The Service's other ports, which go on to the original pods.
    #[must_use]
    pub fn passed_through(&self) -> &[u16] {
        &self.passed
    }

    /// How the cluster would come through the death of this process or of the interceptor, as things are now.
    /// [`Event::Safety`](crate::Event::Safety) tells when it changes.
    #[must_use]
    pub fn safety(&self) -> Safety {
        self.safe.now()
    }

    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> HandleState {
        self.life.state()
    }

    /// Where it stands, now and from now on.
    #[must_use]
    pub fn states(&self) -> watch::Receiver<HandleState> {
        self.life.states()
    }

    /// What has come here so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.counters.read()
    }

    /// Puts the Service back and returns when an original has answered. Idempotent.
    ///
    /// Connections that are still open go on for as long as the session's
    /// [`drain`](crate::Config::drain) and the deadline allow; then they end. Cancel-safe: it goes on
    /// in the background.
    ///
    /// # Errors
    /// [`NotRestored`](crate::ErrorCode::NotRestored) with the reason when the Service could not be put back;
    /// [`Deadline`](crate::ErrorCode::Deadline) when it took too long.
    pub async fn close(&self, deadline: impl Into<Deadline>) -> Result<()> {
        self.life.close(deadline.into()).await
    }

    /// The wish alone, without the wait.
    pub(crate) fn ask_to_close(&self, deadline: Deadline) {
        self.life.ask_to_end(deadline);
    }

    /// Waits until it is over, as asked or not. Cancel-safe.
    pub async fn closed(&self) -> HandleState {
        self.life.over().await
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.life.ask_to_end(Deadline::after(AFTER_DROP));
    }
}
