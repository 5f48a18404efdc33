//! One run: started, led, interrupted, and what comes after.

use std::fmt;
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;

use super::course::{Course, Phase};
use super::row::{NONE, Row};
use super::runs::Place;
use super::{Matrix, Victim};
use crate::app::CLUSTER;
use crate::asker::{Asker, Mark};
use crate::client::Client;
use crate::command::{Command, Ended};
use crate::level::User;
use crate::local::Local;
use crate::namespace::{Namespace, Security};
use crate::parts;
use crate::proxy::{Pause, Proxy, mutating};
use crate::scenario::Scenario;

/// Dead client to original answers, without a human.
const PROMISE: Duration = Duration::from_secs(10);
/// Between two requests of the pod that asks throughout, in milliseconds.
const EVERY: u32 = 50;
/// As many answers in a row and the rest is no different.
const SETTLED: usize = 20;
/// The least that counts as a Lease's duration: nobody has to wait longer for what a dead session left.
const LEASE: u32 = 10;

/// A namespace with the application, for runs one after another.
pub(super) struct Lane {
    matrix: Matrix,
    at: Scenario,
    client: Client,
    user: User,
    local: Local,
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lane").field(&self.at).finish()
    }
}

impl Lane {
    pub(super) async fn new(matrix: Matrix) -> Self {
        let at = Scenario::create(&format!("kill-{}", matrix.name()), Security::Privileged).await;
        let client = at.shop(&Course::app()).await;
        let user = matrix.level.user(&at).await;
        Self { matrix, at, client, user, local: Local::http() }
    }

    pub(super) fn namespace(&self) -> &Namespace {
        self.at.namespace()
    }

    /// One run. Without a fault and a request it needed none of that number.
    pub(super) async fn run(&self, place: Place) -> Row {
        let proxy =
            Proxy::start(self.user.kubeconfig()).await.unwrap_or_else(|error| panic!("proxy: {error}"));
        let pause = proxy.requests().pause(place.moment(), place.nth, mutating);
        let asker = self.client.ask("http://orders/", EVERY).await;
        asker.answered_by(CLUSTER, asker.mark().await, SETTLED).await;
        let began = asker.mark().await;
        let words = self.words(&self.matrix.course.words(&self.local));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut command = Command::start_with(proxy.kubeconfig(), &words);
        let mut phase = Phase::Start;
        let met = tokio::select! {
            asked = pause.reached() => Ok(asked),
            ended = self.matrix.course.lead(&mut command, &self.client, &mut phase) => Err(ended),
        };
        let (mut row, killed, back) = match met {
            Ok(asked) => {
                let row = Row::new(place, format!("{} {}", asked.method(), asked.resource()), phase);
                match self.matrix.victim {
                    Victim::Client => self.without_client(row, pause, command, &asker).await,
                    Victim::Agents => self.without_agents(row, pause, command, &asker).await,
                }
            }
            Err(ended) => {
                drop(pause);
                let mut row = Row::new(place, NONE.to_owned(), phase);
                row.faults = self.over(&ended, true).await;
                let over = asker.mark().await;
                (row, over, over)
            }
        };
        asker.answered_by(CLUSTER, asker.mark().await, SETTLED).await;
        let whole = asker.stop().await.from(began);
        let lost = |since: Mark| whole.from(since).lost().len();
        row.lost = [lost(began) - lost(killed), lost(killed) - lost(back), lost(back)];
        row.requests = whole.answers.len();
        row.told = whole.lost().first().map(|_| whole.to_string());
        if whole.longest_gap() >= PROMISE {
            row.faults.push(format!("nobody answered for {:?}", whole.longest_gap()));
        }
        proxy.close().await;
        row
    }

    /// Kills the client and has its user clean up. With the moments of the kill and of the originals' return.
    async fn without_client(
        &self,
        mut row: Row,
        pause: Pause,
        command: Command,
        asker: &Asker,
    ) -> (Row, Mark, Mark) {
        let killed = asker.mark().await;
        command.signal("KILL").await;
        command.ended().await;
        // What was held for the dead is not done.
        pause.cut();
        let back = asker.answered_by(CLUSTER, killed, SETTLED).await;
        row.away = back.since(killed);
        if row.away >= PROMISE {
            row.faults.push(format!("the originals answered after {:?}", row.away));
        }
        let began = Instant::now();
        row.faults.extend(self.clean().await);
        row.clean = Some(began.elapsed());
        (row, killed, back)
    }

    /// Kills the agents and leads the client to its end. With the moments of the kill and of that end.
    async fn without_agents(
        &self,
        mut row: Row,
        pause: Pause,
        mut command: Command,
        asker: &Asker,
    ) -> (Row, Mark, Mark) {
        let killed = asker.mark().await;
        let count = self.kill_agents().await;
        pause.release();
        let ended = self.go_on(&mut command, row.phase).await;
        row.away = asker.report(killed).longest_gap();
        row.ended = format!("{count} killed, {}", told(&ended));
        row.faults.extend(self.over(&ended, false).await);
        (row, killed, asker.mark().await)
    }

    /// Leads a command on whose agents were killed.
    async fn go_on(&self, command: &mut Command, phase: Phase) -> Ended {
        match phase {
            Phase::Start => self.matrix.course.lead(command, &self.client, &mut Phase::Start).await,
            Phase::Life => {
                command.signal("INT").await;
                command.end().await
            }
            Phase::Close => command.end().await,
        }
    }

    /// Kills the processes of all agents that run; how many.
    async fn kill_agents(&self) -> usize {
        let ours = ListParams::default().labels("app.kubernetes.io/managed-by=kubetether");
        let pods = self.namespace().api::<Pod>().list(&ours).await;
        let pods = pods.unwrap_or_else(|error| panic!("agents: {error}"));
        let mut killed = 0;
        for pod in pods {
            let containers = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
            let runs = |one: &k8s_openapi::api::core::v1::ContainerStatus| {
                one.state.as_ref().is_some_and(|state| state.running.is_some())
            };
            if containers.into_iter().flatten().any(runs) {
                parts::kill_processes(self.at.cluster(), &pod).await;
                killed += 1;
            }
        }
        killed
    }

    /// What is not as it has to be after a client that ended by itself; `well`: it was not disturbed.
    async fn over(&self, ended: &Ended, well: bool) -> Vec<String> {
        let mut faults = Vec::new();
        let error = ended.told.iter().find(|line| line["type"] == "error");
        let reason = error.and_then(|line| line["message"].as_str()).unwrap_or_default();
        match ended.code {
            Some(0) => {}
            Some(_) if !well && !reason.is_empty() => {}
            code => faults.push(format!("the client ended with {code:?}: {reason} {}", ended.errors)),
        }
        faults.extend(self.at.left().await.err());
        faults
    }

    /// Has the dead client's user clean up after it; what is not as it was then.
    async fn clean(&self) -> Vec<String> {
        self.shorten_leases().await;
        let mut faults = Vec::new();
        let words = self.words(&["clean".to_owned()]);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let ended = Command::start_with(self.user.kubeconfig(), &words).ended().await;
        if ended.code != Some(0) {
            faults.push(format!("clean ended with {:?}: {:?} {}", ended.code, ended.told, ended.errors));
        }
        faults.extend(self.at.left().await.err());
        faults
    }

    /// Makes what the dead client left be judged as soon as anything may be.
    async fn shorten_leases(&self) {
        let leases = self.namespace().api::<Lease>();
        let patch = Patch::Merge(json!({ "spec": { "leaseDurationSeconds": LEASE } }));
        for lease in
            leases.list(&ListParams::default()).await.unwrap_or_else(|error| panic!("leases: {error}"))
        {
            let patched = leases.patch(&lease.name_any(), &PatchParams::default(), &patch).await;
            patched.unwrap_or_else(|error| panic!("lease: {error}"));
        }
    }

    fn words(&self, of: &[String]) -> Vec<String> {
        let mut all = vec!["--namespace".to_owned(), self.namespace().name().to_owned()];
        all.extend_from_slice(of);
        all
    }
}

/// How a client ended, in a word.
fn told(ended: &Ended) -> String {
    let error = ended.told.iter().find(|line| line["type"] == "error");
    match error.and_then(|line| line["message"].as_str()) {
        Some(message) => format!("failed: {message}"),
        None if ended.code == Some(0) => "well".to_owned(),
        None => format!("{:?}", ended.code),
    }
}
