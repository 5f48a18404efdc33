//! What happens to requests: counted, answered in the server's stead, stopped.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{Method, Response, StatusCode, header};
use http_body_util::Full;

use super::asked::Asked;
use super::connections::Connections;
use super::hooks::{Hooked, Hooks, Moment, Pause, Predicate};

/// Resources that are counted apart: a client that makes up paths shall not fill the memory.
const MOST_RESOURCES: usize = 4096;

/// Where the others are counted.
const OTHERS: &str = "others";

/// An answer in the API server's stead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// 400.
    BadRequest,
    /// 429, with a `Retry-After` of so many seconds.
    TooManyRequests(u32),
    /// 500.
    Internal,
    /// 503.
    Unavailable,
}

/// Requests since some time. Each is counted when it arrives, whatever comes of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// By method and resource.
    pub by_resource: BTreeMap<(String, String), u64>,
    /// Those that can change the cluster; see [`Asked::is_mutating`].
    pub mutating: u64,
    /// Those answered by a [`Fault`].
    pub faults: u64,
}

/// Counts requests and meddles with them, at any time. Clones are of the same proxy.
#[derive(Clone, Debug)]
pub struct Requests {
    state: Arc<Mutex<State>>,
    pub(super) hooks: Arc<Hooks>,
    connections: Arc<Connections>,
}

#[derive(Default)]
struct State {
    counts: Counts,
    rules: Vec<Rule>,
}

struct Rule {
    fault: Fault,
    every: u64,
    seen: u64,
    matches: Predicate,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("counts", &self.counts).finish_non_exhaustive()
    }
}

impl Requests {
    pub(super) fn new(connections: Arc<Connections>) -> Self {
        Self { state: Arc::default(), hooks: Arc::default(), connections }
    }

    /// What was counted since the start.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.state().counts.clone()
    }

    /// From now on, answers every `every`-th matching request itself, the `every`-th of them first; 1 is each. The
    /// API server never sees those. Of several such rules the first that wants a request gets it.
    pub fn fault(&self, fault: Fault, every: u64, matches: impl Fn(&Asked) -> bool + Send + Sync + 'static) {
        self.state().rules.push(Rule { fault, every: every.max(1), seen: 0, matches: Arc::new(matches) });
    }

    /// Forgets all faults.
    pub fn no_faults(&self) {
        self.state().rules.clear();
    }

    /// Stops the world before or after the `nth` matching request from now, the first being 1.
    ///
    /// As long as it is set, matching requests go to the API server one at a time, and while it is stopped none goes:
    /// before the n-th, exactly n-1 have happened. Other requests pass, and so do those that were under way already.
    pub fn pause(
        &self,
        moment: Moment,
        nth: u64,
        matches: impl Fn(&Asked) -> bool + Send + Sync + 'static,
    ) -> Pause {
        self.hooks.pause(moment, nth, Arc::new(matches), self.connections.clone())
    }

    /// Calls `action` before or after the `nth` matching request from now; the request waits for it. It must not
    /// block. Requests go as under [`pause`](Self::pause).
    pub fn call(
        &self,
        moment: Moment,
        nth: u64,
        matches: impl Fn(&Asked) -> bool + Send + Sync + 'static,
        action: impl FnOnce(&Asked) + Send + 'static,
    ) -> Hooked {
        self.hooks.call(moment, nth, Arc::new(matches), Box::new(action))
    }

    /// Counts a request; the fault to answer with, if any.
    pub(super) fn arrived(&self, asked: &Asked) -> Option<Fault> {
        let mut state = self.state();
        let State { counts, rules } = &mut *state;
        counts.note(asked);
        let fault = rules.iter_mut().find_map(|rule| rule.take(asked))?;
        counts.faults += 1;
        Some(fault)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rule {
    fn take(&mut self, asked: &Asked) -> Option<Fault> {
        if !(self.matches)(asked) {
            return None;
        }
        self.seen += 1;
        self.seen.is_multiple_of(self.every).then_some(self.fault)
    }
}

impl Counts {
    /// All requests.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_resource.values().sum()
    }

    /// Requests of this method.
    #[must_use]
    pub fn of_method(&self, method: &str) -> u64 {
        let these = self.by_resource.iter().filter(|((of, _), _)| of == method);
        these.map(|(_, count)| count).sum()
    }

    /// Requests of this method for this resource, named as [`Asked::resource`] does.
    #[must_use]
    pub fn of(&self, method: &str, resource: &str) -> u64 {
        self.by_resource.get(&(method.to_owned(), resource.to_owned())).copied().unwrap_or(0)
    }

    /// What came since an earlier count of the same proxy.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let by_resource = self.by_resource.iter().map(|(key, count)| {
            (key.clone(), count.saturating_sub(earlier.by_resource.get(key).copied().unwrap_or(0)))
        });
        Self {
            by_resource: by_resource.filter(|(_, count)| *count > 0).collect(),
            mutating: self.mutating.saturating_sub(earlier.mutating),
            faults: self.faults.saturating_sub(earlier.faults),
        }
    }

    fn note(&mut self, asked: &Asked) {
        let key = (asked.method().to_string(), asked.resource().to_owned());
        let room = self.by_resource.len() < MOST_RESOURCES || self.by_resource.contains_key(&key);
        let key = if room { key } else { (OTHERS.to_owned(), OTHERS.to_owned()) };
        *self.by_resource.entry(key).or_default() += 1;
        self.mutating += u64::from(asked.is_mutating());
    }
}

impl Fault {
    fn status(self) -> (StatusCode, &'static str, Option<u32>) {
        match self {
            Self::TooManyRequests(seconds) => {
                (StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", Some(seconds))
            }
            Self::BadRequest => (StatusCode::BAD_REQUEST, "BadRequest", None),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "InternalError", None),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", None),
        }
    }

    /// As the API server words it.
    pub(super) fn answer(self, asked: &Asked) -> Response<Full<Bytes>> {
        let (code, reason, retry) = self.status();
        let mut status = serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": format!("a fault that the test asked for: {} {}", asked.method(), asked.path()),
            "reason": reason, "code": code.as_u16(),
        });
        if let Some(seconds) = retry {
            status["details"] = serde_json::json!({ "retryAfterSeconds": seconds });
        }
        let mut response = Response::new(Full::from(status.to_string()));
        *response.status_mut() = code;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
        if let Some(seconds) = retry {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// What [`Requests::pause`] usually looks for.
#[must_use]
pub fn mutating(asked: &Asked) -> bool {
    asked.is_mutating()
}

/// A predicate for a method and a resource, named as [`Asked::resource`] does.
pub fn of(method: Method, resource: impl Into<String>) -> impl Fn(&Asked) -> bool + Send + Sync + 'static {
    let resource = resource.into();
    move |asked| *asked.method() == method && asked.resource() == resource
}
