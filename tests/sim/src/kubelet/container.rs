//! One container: started, asked how it is, started again.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use super::environment;
use super::log::Log;
use super::pod::Run;
use super::probe::{self, Pace};
use super::process::Running;
use super::status::{Ended, Phase, State};
use crate::object::{now, text};

/// After the first restart; doubled by each further one.
const BACK_OFF: Duration = Duration::from_secs(10);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(300);
/// A container that ran this long is forgiven its past.
const FORGIVEN: Duration = Duration::from_secs(600);
/// Between two tries of an image that is not there. Kubernetes takes longer.
const PULL_AGAIN: Duration = Duration::from_millis(500);
/// Until a container was ready once it is asked more often than it says, so that nobody waits a second for nothing.
const EAGER: Duration = Duration::from_millis(50);
/// What ends a container that does not answer its probe.
const UNHEALTHY_GRACE: Duration = Duration::from_secs(30);

/// One of a pod's containers.
#[derive(Debug)]
pub(crate) struct Container {
    pub(super) spec: Value,
    /// Runs to its end before the others begin.
    pub(super) init: bool,
    state: Mutex<State>,
}

/// A container has to leave: within this time from the moment it was told.
pub(super) type Leave = watch::Receiver<Option<Duration>>;

impl Container {
    pub(super) fn new(spec: Value, init: bool) -> Arc<Self> {
        Arc::new(Self { spec, init, state: Mutex::default() })
    }

    pub(crate) fn name(&self) -> &str {
        text(&self.spec, "/name")
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The output of this run, or of the one before.
    pub(crate) fn log(&self, previous: bool) -> Option<Arc<Log>> {
        let state = self.lock();
        if previous { state.previous.clone() } else { state.log.clone() }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.lock().is_running()
    }

    /// Sends its processes a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let group = self.lock().group.clone();
        if let Some(group) = group {
            group.signal(signal);
        }
    }

    /// Runs it, as often as the pod's policy says, until it is done or has to leave.
    pub(super) async fn run(self: Arc<Self>, run: Arc<Run>, mut leave: Leave) {
        let mut back_off = Duration::ZERO;
        while leave.borrow().is_none() {
            let begun = Instant::now();
            match self.start(&run).await {
                Ok(running) => self.attend(&run, running, &mut leave).await,
                Err(Refused::Waits { reason, message }) => {
                    self.wait(&run, reason, &message);
                    rest(PULL_AGAIN, &mut leave).await;
                    continue;
                }
                Err(Refused::Failed(why)) => {
                    run.tell(true, "Failed", &format!("Error: {why}"));
                    self.lock().phase = Phase::Ended(Ended::not_started(why));
                }
            }
            if !self.goes_on(&run) || leave.borrow().is_some() {
                break;
            }
            run.publish();
            if begun.elapsed() > FORGIVEN {
                back_off = Duration::ZERO;
            }
            if !back_off.is_zero() {
                let message =
                    format!("back-off {}s restarting failed container={}", back_off.as_secs(), self.name());
                run.tell(true, "BackOff", &message);
                self.next_run(Phase::Waiting { reason: "CrashLoopBackOff".into(), message });
                run.publish();
                rest(back_off, &mut leave).await;
            } else {
                self.next_run(Phase::Waiting { reason: "ContainerCreating".into(), message: String::new() });
            }
            back_off = (back_off * 2).clamp(BACK_OFF, LONGEST_BACK_OFF);
        }
        self.lock().done = true;
        run.publish();
    }

    /// What ended becomes the last state.
    fn next_run(&self, phase: Phase) {
        let mut state = self.lock();
        state.last = state.ended().cloned();
        state.restarts += 1;
        state.phase = phase;
    }

    fn goes_on(&self, run: &Run) -> bool {
        let failed = self.lock().ended().is_none_or(|ended| ended.code != 0);
        match run.restart_policy() {
            "Never" => false,
            "OnFailure" => failed,
            _ => !self.init || failed,
        }
    }

    fn wait(&self, run: &Run, reason: &str, message: &str) {
        {
            let mut state = self.lock();
            let again = matches!(&state.phase, Phase::Waiting { message: known, .. } if known == message);
            // As the kubelet tells the second and every further try of a pull.
            let reason = if again && reason == "ErrImagePull" { "ImagePullBackOff" } else { reason };
            if again && matches!(&state.phase, Phase::Waiting { reason: known, .. } if known == reason) {
                return;
            }
            state.phase = Phase::Waiting { reason: reason.to_owned(), message: message.to_owned() };
        }
        run.tell(true, "Failed", message);
        run.publish();
    }

    async fn start(&self, run: &Run) -> Result<Running, Refused> {
        let reference = text(&self.spec, "/image");
        let image = run.images().find(reference).map_err(|message| {
            let never = text(&self.spec, "/imagePullPolicy") == "Never";
            Refused::Waits { reason: if never { "ErrImageNeverPull" } else { "ErrImagePull" }, message }
        })?;
        let pod = run.pod();
        let command = environment::command(run.store(), &pod, &self.spec, &image, run.around(), None);
        let command =
            command.map_err(|message| Refused::Waits { reason: "CreateContainerConfigError", message })?;
        let program = command.as_std().get_program().to_string_lossy().into_owned();
        let started = run.spawner().start(command).await;
        let mut running = started.map_err(|error| Refused::Failed(format!("exec: {program:?}: {error}")))?;
        let log = Log::new();
        let (out, err) = (running.child.stdout.take(), running.child.stderr.take());
        let of = log.clone();
        run.tasks().spawn(async move {
            let out = async {
                if let Some(out) = out {
                    of.clone().record(out).await
                }
            };
            let err = async {
                if let Some(err) = err {
                    of.clone().record(err).await
                }
            };
            tokio::join!(out, err);
            of.end();
        });
        {
            let mut state = self.lock();
            state.phase = Phase::Running { since: now() };
            state.started = self.spec.get("startupProbe").is_none();
            state.ready = state.started && self.spec.get("readinessProbe").is_none() && !self.init;
            state.group = Some(running.group());
            state.previous = state.log.replace(log);
        }
        run.tell(false, "Started", &format!("Started container {}", self.name()));
        run.publish();
        Ok(running)
    }

    /// Stays with a process to its end.
    async fn attend(&self, run: &Run, mut running: Running, leave: &mut Leave) {
        let since = match &self.lock().phase {
            Phase::Running { since } => since.clone(),
            Phase::Waiting { .. } | Phase::Ended(_) => now(),
        };
        let group = running.group();
        let mut health = pin!(self.health(run));
        let (mut unhealthy, mut told) = (false, false);
        let mut kill_at: Option<Instant> = None;
        let status = loop {
            let asked = *leave.borrow_and_update();
            if let Some(grace) = asked {
                if !told {
                    told = true;
                    group.signal(Signal::TERM);
                }
                let until = Instant::now() + grace;
                kill_at = Some(kill_at.map_or(until, |at| at.min(until)));
            }
            tokio::select! {
                status = running.wait() => break status,
                why = &mut health, if !unhealthy => {
                    unhealthy = true;
                    run.tell(true, "Killing", &format!("Container {} failed {why}, will be restarted", self.name()));
                    group.signal(Signal::TERM);
                    kill_at = Some(Instant::now() + UNHEALTHY_GRACE);
                }
                changed = leave.changed() => if changed.is_err() { group.signal(Signal::KILL) },
                () = until(kill_at) => {
                    group.signal(Signal::KILL);
                    kill_at = None;
                }
            }
        };
        let mut state = self.lock();
        let ended = Ended::new(status, since);
        state.phase = Phase::Ended(ended);
        (state.ready, state.started, state.group) = (false, false, None);
        // An init container that did its work counts as ready.
        state.ready = self.init && state.ended().is_some_and(|ended| ended.code == 0);
    }

    /// Asks as the probes say; ends when the container has to be ended, with the reason.
    async fn health(&self, run: &Run) -> String {
        if let Some(probe) = self.spec.get("startupProbe") {
            let mut failed = 0;
            let pace = Pace::of(probe);
            tokio::time::sleep(pace.delay).await;
            let mut next = Instant::now();
            while let Err(why) = self.ask(run, probe).await {
                // Asked eagerly, counted at its pace.
                if Instant::now() >= next {
                    failed += 1;
                    next += pace.period;
                }
                if failed >= pace.failures {
                    run.tell(true, "Unhealthy", &format!("Startup probe failed: {why}"));
                    return "startup probe".to_owned();
                }
                tokio::time::sleep(EAGER).await;
            }
            let mut state = self.lock();
            state.started = true;
            state.ready = self.spec.get("readinessProbe").is_none() && !self.init;
            drop(state);
            run.publish();
        }
        tokio::select! {
            () = self.readiness(run) => String::new(),
            why = self.liveness(run) => why,
        }
    }

    async fn readiness(&self, run: &Run) {
        let Some(probe) = self.spec.get("readinessProbe") else { return std::future::pending().await };
        let pace = Pace::of(probe);
        tokio::time::sleep(pace.delay).await;
        let (mut good, mut bad, mut was_ready) = (0, 0, false);
        loop {
            match self.ask(run, probe).await {
                Ok(()) => (good, bad) = (good + 1, 0),
                Err(why) => {
                    (good, bad) = (0, bad + 1);
                    if was_ready {
                        run.tell(true, "Unhealthy", &format!("Readiness probe failed: {why}"));
                    }
                }
            }
            let before = self.lock().ready;
            let now = if before { bad < pace.failures } else { good >= pace.successes };
            if now != before {
                was_ready |= now;
                self.lock().ready = now;
                run.publish();
            }
            tokio::time::sleep(if was_ready { pace.period } else { EAGER }).await;
        }
    }

    async fn liveness(&self, run: &Run) -> String {
        let Some(probe) = self.spec.get("livenessProbe") else { return std::future::pending().await };
        let pace = Pace::of(probe);
        tokio::time::sleep(pace.delay).await;
        let mut bad = 0;
        loop {
            match self.ask(run, probe).await {
                Ok(()) => bad = 0,
                Err(why) => {
                    bad += 1;
                    run.tell(true, "Unhealthy", &format!("Liveness probe failed: {why}"));
                }
            }
            if bad >= pace.failures {
                return "liveness probe".to_owned();
            }
            tokio::time::sleep(pace.period).await;
        }
    }

    async fn ask(&self, run: &Run, probe: &Value) -> Result<(), String> {
        let Some(exec) = probe.get("exec") else {
            return probe::ask(probe, &self.spec, run.around().address.into()).await;
        };
        let words: Vec<String> = crate::object::list(exec, "/command")
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        let mut running = run.exec(self, &words).await?;
        let limit = Pace::of(probe).period;
        match tokio::time::timeout(limit, running.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(status.to_string()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no end".to_owned()),
        }
    }
}

/// Why a container does not run.
enum Refused {
    /// What it needs may come.
    Waits {
        reason: &'static str,
        message: String,
    },
    Failed(String),
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Waits, unless the container has to leave.
async fn rest(time: Duration, leave: &mut Leave) {
    let left = async { leave.wait_for(Option::is_some).await.map(drop) };
    let _ = tokio::time::timeout(time, left).await;
}
