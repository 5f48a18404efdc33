//! Everything the command tells: one shape per thing told, printed for people or as JSON.

use std::error::Error as StdError;

use kubetether::{ErrorClass, Event, HandleInfo, HandleState, SessionState};
use serde::Serialize;

/// One thing told. With `--output json` each is one object on one line of standard output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Line {
    /// The session's state.
    Session(State),
    /// A handle's state.
    Handle {
        handle: u64,
        mode: &'static str,
        target: String,
        #[serde(flatten)]
        state: State,
    },
    /// What was disturbed works again, after so many milliseconds; `handle` is absent when it is the session.
    Resumed {
        #[serde(skip_serializing_if = "Option::is_none")]
        handle: Option<u64>,
        gap_ms: u64,
    },
    /// A start or close goes on; `handle` is absent when it is the session's own.
    Progress {
        #[serde(skip_serializing_if = "Option::is_none")]
        handle: Option<u64>,
        step: u32,
        of: u32,
        what: String,
    },
    /// Something worth knowing.
    Notice {
        #[serde(skip_serializing_if = "Option::is_none")]
        handle: Option<u64>,
        text: String,
    },
    /// How an exchange would come through the death of this process, or of its interceptor.
    Safety { handle: u64, client: &'static str, interceptor: &'static str, text: String },
    /// Events that were not told because they came too fast.
    Dropped { count: u64 },
    /// Result: the Service's traffic arrives here.
    Exchange {
        handle: u64,
        target: String,
        namespace: String,
        ports: Vec<Port>,
        /// The Service's other ports.
        passed_through: Vec<u16>,
    },
    /// Result: the destination is reachable at `address`.
    Forward { handle: u64, destination: String, address: String },
    /// Result: who is there and what they hold.
    Status(crate::status::Told),
    /// Result: what of dead sessions was put back and taken away.
    Clean(crate::clean::Told),
    /// Result: a Service was put back by hand.
    Recover(crate::recover::Told),
    /// The end begins.
    Closing { because: Because },
    /// The end: everything in the cluster is as it was.
    Restored,
    /// The end: given up before everything was put back.
    Abandoned { namespace: String, left: Vec<String> },
    /// What failed; the command's exit code follows from `class`.
    Error {
        code: &'static str,
        number: u32,
        class: &'static str,
        message: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        object: Option<String>,
        causes: Vec<String>,
        evidence: Vec<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
        /// The same for people, over several lines.
        #[serde(skip)]
        report: String,
    },
}

/// A state, with the reason where there is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct State {
    pub(crate) state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

/// Where one port of a Service leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Port {
    pub(crate) service_port: u16,
    pub(crate) local: String,
}

/// Why the end begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Because {
    /// Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// SIGHUP: the terminal is gone.
    Hangup,
    /// Nobody reads standard output any more.
    ReaderGone,
    /// Nothing that was started is left.
    Lost,
    /// The start failed.
    Failed,
}

/// The shapes, for `--help`; a test keeps it complete.
pub(crate) const HELP: &str = "\
How to tell what happens.

text: for people; results on standard output, all else on standard error.

json: for programs; one JSON object per line on standard output, logs (-v) on standard error. \
New types and fields may be added at any time. By `type`:
  session   {state, reason?}  connecting ready degraded closing closed
  handle    {handle, mode, target, state, reason?}  starting active pass_through degraded closing closed lost
  resumed   {handle?, gap_ms}  works again after so many milliseconds
  progress  {handle?, step, of, what}
  notice    {handle?, text}
  safety    {handle, client, interceptor, text}  what holds callers should one of them die; client: restored \
passes_through; interceptor: fallback_slice two_interceptors replaced
  dropped   {count}  this many of the above were not told
  exchange  {handle, target, namespace, ports: [{service_port, local}], passed_through: [port]}  result: traffic arrives here
  forward   {handle, destination, address}  result: reachable at this local address
  status    {services: [{namespace, service, mode, ports, lease, who, since, life, condition, reason?}], \
sessions: [{namespace, lease, who, started, life}], leftovers: [text], unseen: [{what, why}]}
            life: unknown lives dead; condition: active pass_through broken unknown
  clean     {dry_run, restored: [{namespace, object, leases}], deleted: [{namespace, object}], \
left: [{namespace, object, why, failed}], unseen}
  recover   {namespace, service, changed, held_by: [who], untold: [{what, why}]}
  closing   {because}  interrupt terminate hangup reader_gone lost failed
  restored  {}  the cluster is as it was
  abandoned {namespace, left}  given up before that
  error     {code, number, class, message, object?, causes, evidence, hint?}";

impl Line {
    /// What an event tells. A snapshot tells several things.
    pub(crate) fn of_event(event: Event) -> Vec<Self> {
        match event {
            Event::Snapshot { session, handles, .. } => {
                let mut lines = vec![Self::Session(State::of_session(session))];
                lines.extend(handles.into_iter().map(Self::of_handle));
                lines
            }
            Event::Session(state) => vec![Self::Session(State::of_session(state))],
            Event::Handle(info) => vec![Self::of_handle(info)],
            Event::Resumed { id, gap } => {
                let gap_ms = u64::try_from(gap.as_millis()).unwrap_or(u64::MAX);
                vec![Self::Resumed { handle: id.map(kubetether::HandleId::number), gap_ms }]
            }
            Event::Progress { id, step, of, what } => {
                vec![Self::Progress { handle: id.map(kubetether::HandleId::number), step, of, what }]
            }
            Event::Notice { id, text } => {
                vec![Self::Notice { handle: id.map(kubetether::HandleId::number), text }]
            }
            Event::Safety { id, safety } => vec![Self::Safety {
                handle: id.number(),
                client: safety.client.as_str(),
                interceptor: safety.interceptor.as_str(),
                text: safety.to_string(),
            }],
            Event::Dropped(count) => vec![Self::Dropped { count }],
            Event::Closed(reason) => {
                vec![Self::Session(State { state: "closed", reason: Some(reason) })]
            }
            // A newer engine's events have no shape here yet.
            _ => Vec::new(),
        }
    }

    fn of_handle(info: HandleInfo) -> Self {
        Self::Handle {
            handle: info.id.number(),
            mode: info.mode,
            target: info.target,
            state: State::of_handle(info.state),
        }
    }

    /// What an error tells.
    pub(crate) fn of_error(error: &kubetether::Error) -> Self {
        let mut causes = Vec::new();
        let mut cause = error.source();
        while let Some(error) = cause {
            causes.push(error.to_string());
            cause = error.source();
        }
        Self::Error {
            code: error.code().as_str(),
            number: error.code().number(),
            class: class(error.code().class()),
            message: error.to_string(),
            object: error.object().map(str::to_owned),
            causes,
            evidence: error.evidence().to_vec(),
            hint: error.hint().map(str::to_owned),
            report: error.report(),
        }
    }
}

impl State {
    fn of_session(state: SessionState) -> Self {
        let (state, reason) = match state {
            SessionState::Connecting => ("connecting", None),
            SessionState::Ready => ("ready", None),
            SessionState::Degraded(reason) => ("degraded", Some(reason)),
            SessionState::Closing => ("closing", None),
            SessionState::Closed(reason) => ("closed", Some(reason)),
            other => ("unknown", Some(other.to_string())),
        };
        Self { state, reason }
    }

    fn of_handle(state: HandleState) -> Self {
        let (state, reason) = match state {
            HandleState::Starting => ("starting", None),
            HandleState::Active => ("active", None),
            HandleState::PassThrough(reason) => ("pass_through", Some(reason)),
            HandleState::Closing => ("closing", None),
            HandleState::Closed => ("closed", None),
            HandleState::Lost(reason) => ("lost", Some(reason)),
            HandleState::Degraded(reason) => ("degraded", Some(reason)),
            other => ("unknown", Some(other.to_string())),
        };
        Self { state, reason }
    }
}

fn class(class: ErrorClass) -> &'static str {
    match class {
        ErrorClass::Usage => "usage",
        ErrorClass::Cluster => "cluster",
        ErrorClass::Target => "target",
        ErrorClass::Agent => "agent",
        ErrorClass::Ended => "ended",
        ErrorClass::Internal | _ => "internal",
    }
}

#[cfg(test)]
mod tests;
