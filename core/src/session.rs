//! The session: one developer's attachment to one cluster and namespace.

mod keeper;
mod parts;
mod pulse;
mod shared;
mod tenure;
mod who;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

pub(crate) use self::parts::Part;
pub(crate) use self::shared::{Reservation, Shared};
pub(crate) use self::who::who;
use crate::cluster::evidence;
use crate::cluster::names::{KUBETETHER, MANAGED_BY};
use crate::event::Events;
use crate::exchange::{self, Exchange, ExchangeOptions};
use crate::flow::Flows;
use crate::forward::{self, Forward, ForwardOptions};
use crate::life::Life;
use crate::{Config, Deadline, Destination, Error, ErrorCode, Result, SessionState, Target, To};

/// One developer's attachment to one cluster and namespace; a cheap handle.
///
/// A call that returns means: usable. Every start can be cancelled by dropping its future, and leaves
/// nothing then. When the last handle is dropped everything is closed in the background, as far as
/// the runtime lives on; [`close`](Self::close) waits for it.
#[derive(Clone, Debug)]
pub struct Session {
    shared: Arc<Shared>,
    /// Dropped with the last handle.
    _last: Arc<LastHandle>,
}

#[derive(Debug)]
struct LastHandle(Arc<Shared>);

impl Drop for LastHandle {
    fn drop(&mut self) {
        self.0.ending.ask(Deadline::after(AFTER_DROP));
    }
}

/// A dropped session is closed within this time.
const AFTER_DROP: Duration = Duration::from_secs(60);

impl Session {
    /// Reaches the cluster and announces the session there (a Lease). Must be called within a tokio
    /// runtime, on which the session's tasks run from then on.
    ///
    /// Cancel-safe: a cancelled start is undone in the background.
    ///
    /// # Errors
    /// [`Kubeconfig`](crate::ErrorCode::Kubeconfig) and [`NoSuchContext`](crate::ErrorCode::NoSuchContext)
    /// before the cluster is asked; then [`Unreachable`](crate::ErrorCode::Unreachable),
    /// [`Unauthorized`](crate::ErrorCode::Unauthorized), [`Forbidden`](crate::ErrorCode::Forbidden),
    /// [`NoSuchNamespace`](crate::ErrorCode::NoSuchNamespace) or [`Deadline`](crate::ErrorCode::Deadline).
    pub async fn start(config: Config) -> Result<Self> {
        Self::start_holding(config, ()).await
    }

    /// Holds `guard` until the session is over, or a start that was given up is undone. Who learns that it is over finds it
    /// let go of.
    pub(crate) async fn start_holding(config: Config, guard: impl Send + 'static) -> Result<Self> {
        let deadline = Deadline::after(config.start_deadline);
        let (tell, told) = oneshot::channel();
        // A task goes on when the caller gives up, so that a Lease that was made is taken away again.
        tokio::spawn(Shared::start(config, deadline, tell, guard));
        told.await.unwrap_or_else(|_| {
            Err(Error::new(ErrorCode::Internal, "a fault of kubetether itself: the session's start panicked"))
        })
    }

    /// One whose Lease is there. From now on its end takes that away.
    fn of(shared: Shared, guard: impl Send + 'static) -> Self {
        let shared = Arc::new(shared);
        keeper::spawn(&shared, guard);
        Self { _last: Arc::new(LastHandle(shared.clone())), shared }
    }

    /// Exchanges a Service: all its traffic comes here from when this returns.
    ///
    /// # Errors
    /// See [`exchange_with`](Self::exchange_with).
    pub async fn exchange<T>(&self, target: T, to: To) -> Result<Exchange>
    where
        T: TryInto<Target>,
        Error: From<T::Error>,
    {
        self.exchange_with(target, to, ExchangeOptions::new()).await
    }

    /// [`exchange`](Self::exchange) with settings. Cancel-safe: a cancelled start is undone in the
    /// background.
    ///
    /// A Service that a dead session holds is taken over. Whether a holder is dead has to be watched, for half a minute;
    /// that does not count against the [`start_deadline`](crate::Config::start_deadline), but it does against a deadline
    /// of the exchange's own. One who lives is named by the error [`Held`](crate::ErrorCode::Held).
    ///
    /// # Errors
    /// [`NoSuchTarget`](crate::ErrorCode::NoSuchTarget), [`NoSuchPort`](crate::ErrorCode::NoSuchPort),
    /// [`Unsupported`](crate::ErrorCode::Unsupported), [`Held`](crate::ErrorCode::Held),
    /// [`Forbidden`](crate::ErrorCode::Forbidden), [`AgentMissing`](crate::ErrorCode::AgentMissing),
    /// [`AgentStart`](crate::ErrorCode::AgentStart), [`PassThrough`](crate::ErrorCode::PassThrough) while
    /// nothing has been changed; [`NotProven`](crate::ErrorCode::NotProven) and
    /// [`Deadline`](crate::ErrorCode::Deadline) after everything was put back.
    pub async fn exchange_with<T>(&self, target: T, to: To, options: ExchangeOptions) -> Result<Exchange>
    where
        T: TryInto<Target>,
        Error: From<T::Error>,
    {
        let target: Target = target.try_into()?;
        let limit = options.deadline.unwrap_or(self.shared.config.start_deadline);
        let renewable = options.deadline.is_none().then_some(self.shared.config.start_deadline);
        let name = target.to_string();
        let work = move |shared: Arc<Shared>, life: Arc<Life>| async move {
            exchange::start_when_free(&shared, &life, &target, &to, limit, renewable, options.wait).await
        };
        self.shared.begin("exchange", name, work).await
    }

    /// Opens a local port that leads to a place in the cluster.
    ///
    /// # Errors
    /// See [`forward_with`](Self::forward_with).
    pub async fn forward<D>(&self, destination: D) -> Result<Forward>
    where
        D: TryInto<Destination>,
        Error: From<D::Error>,
    {
        self.forward_with(destination, ForwardOptions::new()).await
    }

    /// [`forward`](Self::forward) with settings. Cancel-safe.
    ///
    /// # Errors
    /// [`LocalAddress`](crate::ErrorCode::LocalAddress), [`Refused`](crate::ErrorCode::Refused),
    /// [`NameNotFound`](crate::ErrorCode::NameNotFound), [`NoSuchTarget`](crate::ErrorCode::NoSuchTarget),
    /// [`AgentMissing`](crate::ErrorCode::AgentMissing), [`AgentStart`](crate::ErrorCode::AgentStart),
    /// [`Forbidden`](crate::ErrorCode::Forbidden), [`Deadline`](crate::ErrorCode::Deadline).
    pub async fn forward_with<D>(&self, destination: D, options: ForwardOptions) -> Result<Forward>
    where
        D: TryInto<Destination>,
        Error: From<D::Error>,
    {
        let destination: Destination = destination.try_into()?;
        let deadline = self.start_deadline(options.deadline);
        let name = destination.to_string();
        let work = move |shared: Arc<Shared>, life: Arc<Life>| async move {
            forward::start(&shared, &life, destination, options, deadline).await
        };
        self.shared.begin("forward", name, work).await
    }

    /// A subscription of its own to what happens from now on.
    #[must_use]
    pub fn events(&self) -> Events {
        self.shared.hub.subscribe()
    }

    /// The connections and UDP associations that go through the session's handles, one by one: those that are open, and
    /// those that ended since an earlier answer, of which `after` is [`next`](Flows::next); 0 asks for all that is
    /// remembered. The session remembers the last 1,024 that ended, also of handles that are over, and counts those that it
    /// [missed](Flows::missed) to tell. Who looks often enough is told of each of them once.
    ///
    /// Never waits, and asks nobody.
    #[must_use]
    pub fn flows(&self, after: u64) -> Flows {
        self.shared.flows.tell(after)
    }

    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> SessionState {
        self.shared.state.borrow().clone()
    }

    /// Where it stands, now and from now on.
    #[must_use]
    pub fn states(&self) -> watch::Receiver<SessionState> {
        self.shared.state.subscribe()
    }

    /// The session's random name; its Lease is `kubetether-<id>`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.shared.id
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.shared.cluster.namespace()
    }

    /// The kubeconfig's context; `None` inside a cluster.
    #[must_use]
    pub fn context(&self) -> Option<&str> {
        self.shared.context.as_deref()
    }

    /// What the cluster says of the agents in the namespace: conditions, events and last log lines of their pods, for the report
    /// of a test or of a fault. What cannot be had within five seconds is left out. Cancel-safe.
    pub async fn evidence(&self) -> Vec<String> {
        let selector = format!("{MANAGED_BY}={KUBETETHER}");
        evidence::of_instance(&self.shared.cluster, &selector, Deadline::secs(5)).await
    }

    /// Closes all handles in reverse order of their start, and returns when no object of this session
    /// is left in the cluster. Idempotent. Cancel-safe: it goes on in the background.
    ///
    /// # Errors
    /// The first thing that could not be put back or taken away, after everything was tried.
    pub async fn close(&self, deadline: impl Into<Deadline>) -> Result<()> {
        self.shared.ending.wait("session", deadline.into()).await
    }

    /// The wish alone, without the wait.
    pub(crate) fn ask_to_close(&self, deadline: Deadline) {
        self.shared.ending.ask(deadline);
    }

    /// Waits until it is over, as asked or not; returns the reason. Cancel-safe.
    pub async fn closed(&self) -> String {
        let mut state = self.states();
        match state.wait_for(SessionState::is_over).await.as_deref() {
            Ok(SessionState::Closed(reason)) => reason.clone(),
            Ok(_) | Err(_) => String::new(),
        }
    }

    fn start_deadline(&self, own: Option<Duration>) -> Deadline {
        Deadline::after(own.unwrap_or(self.shared.config.start_deadline))
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::coordination::v1::Lease;
    use serde_json::json;

    use super::*;
    use crate::cluster::api::fake::Fake;
    use crate::cluster::names;

    #[tokio::test(start_paused = true)]
    async fn a_session_that_nobody_takes_takes_its_lease_away() {
        let fake = Fake::default();
        let shared = Shared::over(Config::new(), fake.cluster(), None);
        let lease = names::lease(&shared.id);
        fake.put::<Lease>(json!({ "metadata": { "name": lease } }));
        let session = Session::of(shared, ());
        let mut states = session.states();
        let (tell, told) = oneshot::channel();
        assert!(tell.send(session).is_ok());
        // Its caller gave up between the answer and the next look at it.
        drop(told);
        states.wait_for(SessionState::is_over).await.unwrap();
        assert_eq!(fake.changes(), [format!("DELETE leases/{lease}")]);
    }
}
