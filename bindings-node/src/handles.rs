//! Handles and calls by number, and which method of the engine each name is.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kubetether::host::{Call, Canceller, Events, Exchange, Forward, Host, Session};

use crate::outcome::{self, Outcome, Value};

/// What a number stands for.
#[derive(Debug)]
pub(crate) enum Handle {
    Session(Session),
    Exchange(Exchange),
    Forward(Forward),
    Events(Events),
}

/// Handles and calls of one JavaScript thread; a cheap handle itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    handles: HashMap<u32, Arc<Handle>>,
    calls: HashMap<u32, Canceller>,
    last: u32,
}

impl Table {
    pub(crate) fn next_call(&self) -> u32 {
        self.lock().next()
    }

    pub(crate) fn under_way(&self, call: u32, canceller: Canceller) {
        self.lock().calls.insert(call, canceller);
    }

    pub(crate) fn cancel(&self, call: u32) {
        let canceller = self.lock().calls.remove(&call);
        if let Some(canceller) = canceller {
            canceller.cancel();
        }
    }

    /// What JavaScript is told; a handle that nobody waits for any more is dropped.
    pub(crate) fn settle(&self, call: u32, outcome: Outcome) -> (Option<String>, Option<String>, u32) {
        if self.lock().calls.remove(&call).is_none() {
            return (None, None, 0);
        }
        match outcome {
            Ok(Value::Json(json)) => (None, Some(json), 0),
            Ok(Value::Handle(info, handle)) => (None, Some(info), self.add(handle)),
            Err(error) => (Some(outcome::json(&error)), None, 0),
        }
    }

    pub(crate) fn add(&self, handle: Handle) -> u32 {
        let mut entries = self.lock();
        let number = entries.next();
        entries.handles.insert(number, Arc::new(handle));
        number
    }

    pub(crate) fn get(&self, handle: u32) -> Option<Arc<Handle>> {
        self.lock().handles.get(&handle).cloned()
    }

    pub(crate) fn remove(&self, handle: u32) {
        // Dropped without the lock: that is work of the engine.
        let removed = self.lock().handles.remove(&handle);
        drop(removed);
    }

    pub(crate) fn clear(&self) {
        let (handles, calls) = {
            let mut entries = self.lock();
            (std::mem::take(&mut entries.handles), std::mem::take(&mut entries.calls))
        };
        calls.values().for_each(Canceller::cancel);
        drop(handles);
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    /// Never 0, and none that is in use.
    fn next(&mut self) -> u32 {
        loop {
            self.last = self.last.wrapping_add(1);
            let taken = self.handles.contains_key(&self.last) || self.calls.contains_key(&self.last);
            if self.last != 0 && !taken {
                return self.last;
            }
        }
    }
}

/// The table of methods: a line for each. `json` is what it is asked, `session` the cluster for those without a session.
/// `None` when the handle has no such method.
pub(crate) fn begin(
    host: &Host,
    handle: Option<&Handle>,
    method: &str,
    json: &str,
    session: &str,
    tell: impl FnOnce(Outcome) + Send + 'static,
) -> Option<Canceller> {
    use Handle as H;
    Some(match (method, handle) {
        ("connect", _) => gives(host.start(session), tell, |session| (session.info(), H::Session(session))),
        ("status", _) => tells(host.status(session, json), tell),
        ("clean", _) => tells(host.clean(session, json), tell),
        ("recover", _) => tells(host.recover(session, json), tell),
        // For the helpers of test runners.
        ("create_namespace", _) => ends(host.create_namespace(session, &named(json).0), tell),
        ("delete_namespace", _) => {
            let (name, rest) = named(json);
            ends(host.delete_namespace(session, &name, &rest), tell)
        }

        ("exchange", Some(H::Session(session))) => {
            gives(session.exchange(json), tell, |exchange| (exchange.info(), H::Exchange(exchange)))
        }
        ("forward", Some(H::Session(session))) => {
            gives(session.forward(json), tell, |forward| (forward.info(), H::Forward(forward)))
        }
        ("evidence", Some(H::Session(session))) => tells(session.evidence(), tell),
        ("close", Some(H::Session(session))) => ends(session.close(json), tell),
        ("closed", Some(H::Session(session))) => {
            then(session.closed(), tell, |reason| Value::Json(serde_json::Value::String(reason).to_string()))
        }

        ("close", Some(H::Exchange(exchange))) => ends(exchange.close(json), tell),
        ("closed", Some(H::Exchange(exchange))) => tells(exchange.closed(), tell),

        ("close", Some(H::Forward(forward))) => ends(forward.close(json), tell),
        ("closed", Some(H::Forward(forward))) => tells(forward.closed(), tell),

        ("ready", Some(H::Events(events))) => {
            then(events.ready(), tell, |more| Value::Json(more.to_string()))
        }
        _ => return None,
    })
}

/// The table of questions, which are answered at once: a line for each. `after` is how much the asker knows already, where
/// that matters. `None` when the handle has no such.
pub(crate) fn ask(handle: &Handle, question: &str, after: u64) -> Option<String> {
    use Handle as H;
    Some(match (question, handle) {
        ("state", H::Session(session)) => session.state(),
        ("flows", H::Session(session)) => session.flows(after),
        ("state", H::Exchange(exchange)) => exchange.state(),
        ("stats", H::Exchange(exchange)) => exchange.stats(),
        ("safety", H::Exchange(exchange)) => exchange.safety(),
        ("state", H::Forward(forward)) => forward.state(),
        ("stats", H::Forward(forward)) => forward.stats(),
        ("take", H::Events(events)) => events.take().unwrap_or_else(|| "null".to_owned()),
        ("dropped", H::Events(events)) => events.dropped().to_string(),
        _ => return None,
    })
}

/// The `name` in what is asked, and the rest.
fn named(json: &str) -> (String, String) {
    let mut call: serde_json::Map<String, serde_json::Value> = serde_json::from_str(json).unwrap_or_default();
    let name = call.remove("name").and_then(|name| name.as_str().map(str::to_owned));
    (name.unwrap_or_default(), serde_json::Value::Object(call).to_string())
}

/// For calls that give a handle.
fn gives<T: Send + 'static>(
    call: Call<T>,
    tell: impl FnOnce(Outcome) + Send + 'static,
    handle: impl FnOnce(T) -> (String, Handle) + Send + 'static,
) -> Canceller {
    then(call, tell, |value| {
        let (info, handle) = handle(value);
        Value::Handle(info, handle)
    })
}

/// For calls that give JSON.
fn tells(call: Call<String>, tell: impl FnOnce(Outcome) + Send + 'static) -> Canceller {
    then(call, tell, Value::Json)
}

/// For calls that give nothing.
fn ends(call: Call<()>, tell: impl FnOnce(Outcome) + Send + 'static) -> Canceller {
    then(call, tell, |()| Value::Json("null".to_owned()))
}

fn then<T: Send + 'static>(
    call: Call<T>,
    tell: impl FnOnce(Outcome) + Send + 'static,
    value: impl FnOnce(T) -> Value + Send + 'static,
) -> Canceller {
    call.then(move |outcome| tell(outcome.map(value)))
}
