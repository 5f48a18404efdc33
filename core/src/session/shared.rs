//! What all handles and tasks of a session share.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot, watch};
use tokio_util::task::TaskTracker;

use super::Session;
use super::parts::{Part, Parts};
use super::tenure::Tenure;
use super::who::who;
use crate::cluster::agent_file::{Agent, Restorer};
use crate::cluster::agent_link::{Health, Links};
use crate::cluster::{Cluster, api, lease, names};
use crate::ending::Ending;
use crate::event::Hub;
use crate::exchange::{self, Kept, Useless};
use crate::flow::Ledger;
use crate::gateway::GatewaySlot;
use crate::life::Life;
use crate::tasks::Tasks;
use crate::{Config, Deadline, Error, ErrorCode, HandleState, Result, SessionState};

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) id: String,
    pub(crate) who: String,
    pub(crate) config: Config,
    pub(crate) cluster: Cluster,
    pub(crate) context: Option<String>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) state: watch::Sender<SessionState>,
    pub(crate) tasks: Tasks,
    /// Tasks that the session's end waits for.
    chores: TaskTracker,
    pub(crate) links: Links,
    pub(crate) flows: Ledger,
    pub(crate) ending: Ending,
    pub(crate) gateway: GatewaySlot,
    /// Under which Lease it stands.
    pub(crate) tenure: Tenure,
    /// How many interceptors were replaced by ones of other names.
    generation: AtomicU32,
    /// Asks the session's keeper to see at once whether the API server answers.
    pub(crate) look: Notify,
    parts: Mutex<Parts>,
    agent: OnceLock<Agent>,
    restorer: OnceLock<Option<Restorer>>,
    /// Handles that are not over, in the order of their start.
    lives: Mutex<Vec<Arc<Life>>>,
    /// Interceptors that no exchange uses at the moment, by the uid of their Service.
    kept: Mutex<HashMap<String, Kept>>,
    /// Interceptors that had to stay when they were to go.
    left: Mutex<Vec<Useless>>,
    /// Services that an exchange of this session works on.
    reserved: Arc<Mutex<HashSet<String>>>,
}

/// A Lease of a start that failed is taken away within this time.
const UNDO: Duration = Duration::from_secs(10);

/// The right of one exchange to work on a Service, until dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    service: String,
    reserved: Arc<Mutex<HashSet<String>>>,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        lock(&self.reserved).remove(&self.service);
    }
}

impl Shared {
    /// Reads the kubeconfig, reaches the cluster and announces the session; undoes that when nobody waits for it
    /// any more, or the time is over. The session that comes of it holds `guard` to its end.
    pub(crate) async fn start(
        config: Config,
        deadline: Deadline,
        mut tell: oneshot::Sender<Result<Session>>,
        guard: impl Send + 'static,
    ) {
        let late = || Error::deadline("the start of the session");
        let connecting = tokio::time::timeout_at(deadline.instant(), Self::connect(config, deadline));
        let connected = tokio::select! {
            connected = connecting => connected.unwrap_or_else(|_| Err(late())),
            () = tell.closed() => return,
        };
        let shared = match connected {
            Ok(shared) => shared,
            Err(error) => {
                let _ = tell.send(Err(error));
                return;
            }
        };
        let creating = lease::create(&shared.cluster, &shared.id, &shared.who, deadline);
        let announced = tokio::time::timeout_at(deadline.instant(), creating).await;
        let (cluster, id) = (shared.cluster.clone(), shared.id.clone());
        let unclear = match announced.unwrap_or_else(|_| Err(late())) {
            Ok(uid) => {
                shared.tenure.stands(&uid);
                shared.hub.session(SessionState::Ready);
                // One that nobody takes any more is dropped, on whichever way, and ends by that.
                let _ = tell.send(Ok(Session::of(shared, guard)));
                return;
            }
            Err(error) => {
                // One that was not answered may have been made all the same.
                let unclear = api::is_passing(&error);
                let _ = tell.send(Err(error));
                unclear
            }
        };
        if unclear && let Err(error) = lease::delete(&cluster, &id, Deadline::after(UNDO)).await {
            tracing::debug!(error = error.report(), "the Lease of a start that failed was not taken away");
        }
    }

    async fn connect(config: Config, deadline: Deadline) -> Result<Self> {
        let (cluster, context) = Cluster::connect(&config, deadline).await?;
        Ok(Self::over(config, cluster, context))
    }

    /// Without a Lease yet.
    pub(crate) fn over(config: Config, cluster: Cluster, context: Option<String>) -> Self {
        let id = format!("{:08x}", rand::random::<u32>());
        let who = config.who.clone().unwrap_or_else(who);
        let tasks = Tasks::new();
        let links = Links::new(&config, &who, &tasks);
        Self {
            id,
            who,
            config,
            cluster,
            context,
            hub: Arc::new(Hub::new()),
            state: watch::Sender::new(SessionState::Ready),
            tasks,
            chores: TaskTracker::new(),
            links,
            flows: Ledger::default(),
            ending: Ending::new(),
            gateway: GatewaySlot::default(),
            tenure: Tenure::default(),
            generation: AtomicU32::new(0),
            look: Notify::new(),
            parts: Mutex::default(),
            agent: OnceLock::new(),
            restorer: OnceLock::new(),
            lives: Mutex::default(),
            kept: Mutex::default(),
            left: Mutex::default(),
            reserved: Arc::default(),
        }
    }

    /// The agent's program, read once.
    pub(crate) fn agent(&self) -> Result<&Agent> {
        if let Some(agent) = self.agent.get() {
            return Ok(agent);
        }
        let agent = Agent::load(&self.config.agent, self.config.agent_folder.as_deref())?;
        Ok(self.agent.get_or_init(|| agent))
    }

    /// The program that puts a Service back from inside the cluster, read once; `None` where there is none.
    pub(crate) fn restorer(&self) -> Option<&Restorer> {
        self.restorer
            .get_or_init(|| Restorer::beside(&self.config.agent, self.config.agent_folder.as_deref()))
            .as_ref()
    }

    /// The name of an interceptor that is made now. Once others took this session for dead, what it makes anew bears
    /// other names than what they take away.
    pub(crate) fn interceptor_name(&self, service: &str, service_uid: &str) -> String {
        let generation = self.tenure.now().deaths + self.generation.load(Ordering::Relaxed);
        let key = names::session_key(&self.id, generation);
        names::interceptor(service, service_uid, &key)
    }

    /// Interceptors that are made from now on bear other names than those before.
    pub(crate) fn next_generation(&self) {
        self.generation.fetch_add(1, Ordering::Relaxed);
    }

    /// The session begins to end, or has ended.
    pub(crate) fn set_state(&self, new: SessionState) {
        self.state.send_modify(|state| {
            self.hub.session(new.clone());
            *state = new;
        });
    }

    /// How a part of the session stands from now on.
    pub(crate) fn part(&self, part: Part, health: Health) {
        if part != Part::Api && health != Health::Up {
            self.look.notify_one();
        }
        self.parts(|parts| parts.set(part, health));
    }

    /// Nothing rests on this part any more.
    pub(crate) fn part_gone(&self, part: Part) {
        self.parts(|parts| parts.remove(part));
    }

    /// Whether bytes flow on some link.
    pub(crate) fn any_link_up(&self) -> bool {
        lock(&self.parts).any_link_up()
    }

    fn parts(&self, change: impl FnOnce(&mut Parts)) {
        // Held until the state is set, so that no older one overtakes a newer.
        let mut parts = lock(&self.parts);
        change(&mut parts);
        let new = parts.state();
        self.state.send_if_modified(|state| {
            let lives = matches!(state, SessionState::Ready | SessionState::Degraded(_));
            let changes = lives && *state != new;
            if changes {
                self.hub.session(new.clone());
                *state = new;
            }
            changes
        });
    }

    /// Runs the start of a handle as a task of the session, so that it can undo what it began even
    /// when the caller drops this future.
    pub(crate) async fn begin<H, F>(
        self: &Arc<Self>,
        mode: &'static str,
        target: String,
        work: impl FnOnce(Arc<Self>, Arc<Life>) -> F,
    ) -> Result<H>
    where
        H: Send + 'static,
        F: Future<Output = Result<H>> + Send + 'static,
    {
        let life = {
            // Under the lock: a session that is ending sees every handle that it has to end.
            let mut lives = self.lives();
            if self.ending.is_asked() {
                return Err(Error::closed("the session"));
            }
            let life = Life::new(&self.hub, mode, &target);
            lives.push(life.clone());
            life
        };
        let (tell, told) = oneshot::channel();
        let (shared, work) = (self.clone(), work(self.clone(), life.clone()));
        let cancel = CancelOnDrop(Some(life.clone()));
        self.tasks.spawn("start of a handle", async move {
            let _guard = life.guard();
            let result = work.await;
            if let Err(error) = &result {
                let state = match error.code() {
                    ErrorCode::Closed => HandleState::Closed,
                    _ => HandleState::Lost(error.to_string()),
                };
                life.end(state, Ok(()));
            }
            shared.forget_ended();
            // A handle that nobody takes any more is dropped here, which ends it.
            let _ = tell.send(result);
        });
        let result = told.await.unwrap_or_else(|_| Err(Error::closed("the session")));
        cancel.done();
        result
    }

    /// Handles that are not over, in the order of their start.
    pub(crate) fn living(&self) -> Vec<Arc<Life>> {
        self.forget_ended();
        self.lives().clone()
    }

    fn forget_ended(&self) {
        self.lives().retain(|life| !life.state().is_over());
    }

    fn lives(&self) -> MutexGuard<'_, Vec<Arc<Life>>> {
        lock(&self.lives)
    }

    /// Keeps an interceptor for the next exchange of its Service. Others that were kept for it, or for a Service of that name
    /// which is another one now, are taken away.
    pub(crate) fn keep(self: &Arc<Self>, kept: Kept) {
        let stale: Vec<Kept> = {
            let mut all = lock(&self.kept);
            let stale = all.extract_if(|_, other| other.service() == kept.service());
            let stale = stale.map(|(_, other)| other).filter(|other| other.name() != kept.name()).collect();
            all.insert(kept.service_uid().to_owned(), kept);
            stale
        };
        for other in stale {
            exchange::in_background(self, Useless::Kept(Box::new(other)));
        }
    }

    /// Remembers an interceptor that has to stay for now, until the session's end.
    pub(crate) fn leave(&self, useless: Useless) {
        lock(&self.left).push(useless);
    }

    /// The one of that name, whose place is needed.
    pub(crate) fn take_left(&self, name: &str) -> Option<Useless> {
        let mut left = lock(&self.left);
        let at = left.iter().position(|useless| useless.name() == name)?;
        Some(left.swap_remove(at))
    }

    pub(crate) fn take_all_left(&self) -> Vec<Useless> {
        std::mem::take(&mut *lock(&self.left))
    }

    pub(crate) fn take_kept(&self, service_uid: &str) -> Option<Kept> {
        lock(&self.kept).remove(service_uid)
    }

    pub(crate) fn take_all_kept(&self) -> Vec<Kept> {
        lock(&self.kept).drain().map(|(_, kept)| kept).collect()
    }

    /// Work in the background that takes something away; the session's end waits for it.
    pub(crate) fn chore(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let unfinished = self.chores.token();
        self.tasks.spawn(name, async move {
            work.await;
            drop(unfinished);
        });
    }

    /// Waits until nothing of that is left to do, or the time is over.
    pub(crate) async fn chores_done(&self, deadline: Deadline) {
        self.chores.close();
        if tokio::time::timeout_at(deadline.instant(), self.chores.wait()).await.is_err() {
            tracing::debug!("not all that was to be taken away is gone");
        }
    }

    /// Makes sure that no two exchanges of this session work on one Service.
    pub(crate) fn reserve(&self, service: &str) -> Result<Reservation> {
        if !lock(&self.reserved).insert(service.to_owned()) {
            return Err(Error::new(
                ErrorCode::Held,
                format!(
                    "services/{service} is exchanged by this session already ({}, leases/kubetether-{})",
                    self.who, self.id
                ),
            )
            .on(format!("services/{service}"))
            .try_this(
                "close that exchange first; where its start was given up it is being undone, and `wait` waits for that",
            ));
        }
        Ok(Reservation { service: service.to_owned(), reserved: self.reserved.clone() })
    }
}

/// Ends a handle whose start is no longer waited for.
struct CancelOnDrop(Option<Arc<Life>>);

impl CancelOnDrop {
    fn done(mut self) {
        self.0 = None;
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let Some(life) = self.0.take() {
            life.ask_to_end(Deadline::secs(30));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
