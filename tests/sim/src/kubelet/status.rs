//! What a pod's status tells of its containers.

use std::process::ExitStatus;
use std::sync::Arc;

use serde_json::{Value, json};

use super::log::Log;
use super::process::Group;
use crate::object::{condition, is_set, list, new_condition, now, text};

/// One container, as it is now.
#[derive(Debug)]
pub(super) struct State {
    pub(super) phase: Phase,
    pub(super) last: Option<Ended>,
    pub(super) restarts: u32,
    pub(super) ready: bool,
    pub(super) started: bool,
    pub(super) group: Option<Group>,
    pub(super) log: Option<Arc<Log>>,
    pub(super) previous: Option<Arc<Log>>,
    /// Nothing will start it again.
    pub(super) done: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Phase {
    Waiting { reason: String, message: String },
    Running { since: String },
    Ended(Ended),
}

/// How a run of a container ended.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    pub(super) code: i32,
    pub(super) signal: Option<i32>,
    pub(super) reason: &'static str,
    pub(super) message: String,
    started: String,
    finished: String,
}

impl Ended {
    pub(super) fn new(status: std::io::Result<ExitStatus>, started: String) -> Self {
        use std::os::unix::process::ExitStatusExt;
        let (code, signal) = match &status {
            Ok(status) => match status.signal() {
                Some(signal) => (128 + signal, Some(signal)),
                None => (status.code().unwrap_or(255), None),
            },
            Err(_) => (255, None),
        };
        let reason = if code == 0 { "Completed" } else { "Error" };
        let message = status.err().map(|error| error.to_string()).unwrap_or_default();
        Self { code, signal, reason, message, started, finished: now() }
    }

    /// It could not even be started.
    pub(super) fn not_started(why: String) -> Self {
        Self { code: 128, signal: None, reason: "StartError", message: why, started: now(), finished: now() }
    }

    fn object(&self) -> Value {
        let mut value = json!({ "terminated": {
            "exitCode": self.code, "reason": self.reason, "startedAt": self.started, "finishedAt": self.finished,
        } });
        if let Some(signal) = self.signal {
            value["terminated"]["signal"] = signal.into();
        }
        if !self.message.is_empty() {
            value["terminated"]["message"] = self.message.clone().into();
        }
        value
    }
}

impl Default for State {
    fn default() -> Self {
        Self {
            phase: Phase::Waiting { reason: "ContainerCreating".into(), message: String::new() },
            last: None,
            restarts: 0,
            ready: false,
            started: false,
            group: None,
            log: None,
            previous: None,
            done: false,
        }
    }
}

impl State {
    pub(super) fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running { .. })
    }

    pub(super) fn ended(&self) -> Option<&Ended> {
        if let Phase::Ended(ended) = &self.phase { Some(ended) } else { None }
    }

    pub(super) fn object(&self, container: &Value, pod: &str) -> Value {
        let state = match &self.phase {
            Phase::Waiting { reason, message } if message.is_empty() => {
                json!({ "waiting": { "reason": reason } })
            }
            Phase::Waiting { reason, message } => {
                json!({ "waiting": { "reason": reason, "message": message } })
            }
            Phase::Running { since } => json!({ "running": { "startedAt": since } }),
            Phase::Ended(ended) => ended.object(),
        };
        let called = text(container, "/name");
        json!({
            "name": called, "image": container["image"], "imageID": container["image"], "ready": self.ready,
            "started": self.started, "restartCount": self.restarts, "state": state,
            "lastState": self.last.as_ref().map_or_else(|| json!({}), Ended::object),
            "containerID": format!("sim://{pod}/{called}/{}", self.restarts),
        })
    }
}

/// What became of a pod as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Whole {
    pub(super) initialized: bool,
    pub(super) any_ran: bool,
    pub(super) all_done: bool,
    pub(super) all_good: bool,
    pub(super) all_ready: bool,
}

impl Whole {
    fn phase(self) -> &'static str {
        match self {
            Self { all_done: true, all_good: true, .. } => "Succeeded",
            Self { all_done: true, .. } => "Failed",
            Self { any_ran: true, initialized: true, .. } => "Running",
            Self { .. } => "Pending",
        }
    }
}

/// The new status of a pod, from the one it has.
pub(super) fn compose(
    pod: &Value,
    whole: Whole,
    containers: Vec<Value>,
    inits: Vec<Value>,
    address: &str,
    host: &str,
) -> Value {
    let mut status = pod["status"].clone();
    let phase = whole.phase();
    let reason =
        if phase == "Succeeded" || phase == "Failed" { "PodCompleted" } else { "ContainersNotReady" };
    let gates = list(pod, "/spec/readinessGates").iter();
    let gates =
        gates.map(|gate| text(gate, "/conditionType")).all(|gate| crate::object::has_condition(pod, gate));
    let mut conditions: Vec<Value> = Vec::new();
    for (kind, holds) in [
        ("PodReadyToStartContainers", !address.is_empty()),
        ("Initialized", whole.initialized),
        ("Ready", whole.all_ready && gates),
        ("ContainersReady", whole.all_ready),
        ("PodScheduled", true),
    ] {
        let why = if holds || !kind.contains("Ready") { "" } else { reason };
        conditions.push(new_condition(condition(pod, kind), kind, holds, why));
    }
    let known: Vec<String> = conditions.iter().map(|one| text(one, "/type").to_owned()).collect();
    let others = list(pod, "/status/conditions").iter();
    conditions.extend(others.filter(|one| !known.iter().any(|kind| kind == text(one, "/type"))).cloned());
    status["phase"] = phase.into();
    status["conditions"] = conditions.into();
    status["containerStatuses"] = containers.into();
    if !inits.is_empty() {
        status["initContainerStatuses"] = inits.into();
    }
    status["hostIP"] = host.into();
    status["hostIPs"] = json!([{ "ip": host }]);
    status["podIP"] = address.into();
    status["podIPs"] = json!([{ "ip": address }]);
    if !is_set(&status, "/startTime") && text(&status, "/startTime").is_empty() {
        status["startTime"] = now().into();
    }
    status
}
