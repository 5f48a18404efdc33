//! The native part of the npm package: the engine's calls for one JavaScript thread, as JSON. The package's `lib/` makes
//! promises, iterators and errors of it.

#![allow(unsafe_code, reason = "what napi's macros make of the exports calls Node's C interface")]

mod handles;
mod log;
mod outcome;

use std::path::PathBuf;

use kubetether::host::Host;
use kubetether::{ErrorCode, options};
use napi::bindgen_prelude::{FnArgs, Function};
use napi::threadsafe_function::{ThreadsafeFunctionCallMode, UnknownReturnValue};
use napi_derive::napi;

use self::handles::{Handle, Table};
use self::outcome::Outcome;

/// Number of the call, its error or its result as JSON, and the handle that it gives, or 0.
type Settled = FnArgs<(u32, Option<String>, Option<String>, u32)>;
type Teller = napi::threadsafe_function::ThreadsafeFunction<
    (u32, Outcome),
    UnknownReturnValue,
    Settled,
    napi::Status,
    false,
    true,
>;

/// The engine for one JavaScript thread. When that ends, also in the middle of calls, those are cancelled and its handles
/// dropped: what they hold in the cluster is put back in the background.
#[napi]
pub struct Engine {
    host: Host,
    table: Table,
    teller: std::sync::Arc<Teller>,
}

#[napi]
impl Engine {
    /// `settle` is called in this thread, once for each call that was not cancelled; `folder` has the agent's files.
    ///
    /// # Errors
    /// Node's own.
    #[napi(constructor)]
    pub fn new(folder: String, settle: Function<'_, Settled, UnknownReturnValue>) -> napi::Result<Self> {
        let table = Table::default();
        let settled = table.clone();
        let teller = settle
            .build_threadsafe_function::<(u32, Outcome)>()
            // What is under way keeps the process alive by JavaScript's own means, or does not.
            .weak::<true>()
            .build_callback(move |told| {
                let (call, outcome) = told.value;
                let (error, result, handle) = settled.settle(call, outcome);
                Ok((call, error, result, handle).into())
            })?;
        Ok(Self { host: Host::in_folder(PathBuf::from(folder)), table, teller: std::sync::Arc::new(teller) })
    }

    /// Begins a call of the engine, or of one of its handles; returns its number.
    ///
    /// # Errors
    /// There is no such method, which is a fault of the package.
    #[napi]
    pub fn call(&self, method: String, handle: u32, json: String, session: String) -> napi::Result<u32> {
        let call = self.table.next_call();
        let teller = self.teller.clone();
        let tell = move |outcome| {
            // Refused only while this thread ends: the outcome is dropped then.
            teller.call((call, outcome), ThreadsafeFunctionCallMode::NonBlocking);
        };
        let on = self.table.get(handle);
        let begun = handles::begin(&self.host, on.as_deref(), &method, &json, &session, tell);
        self.table.under_way(call, begun.ok_or_else(|| unknown(&method))?);
        Ok(call)
    }

    /// Gives a call up: it is not settled any more, and what it began is undone in the background.
    #[napi]
    pub fn cancel(&self, call: u32) {
        self.table.cancel(call);
    }

    /// What a handle answers at once, as JSON; `after` is how much the asker knows already, where that matters.
    ///
    /// # Errors
    /// There is no such question, or no such handle: a fault of the package.
    #[napi]
    pub fn ask(&self, question: String, handle: u32, after: Option<i64>) -> napi::Result<String> {
        let on = self.table.get(handle);
        let after = after.and_then(|after| u64::try_from(after).ok()).unwrap_or_default();
        on.and_then(|handle| handles::ask(&handle, &question, after)).ok_or_else(|| unknown(&question))
    }

    /// Opens a subscription to a session's events; 0 when there is no such session.
    #[napi]
    pub fn events(&self, session: u32) -> u32 {
        match self.table.get(session).as_deref() {
            Some(Handle::Session(session)) => self.table.add(Handle::Events(session.events())),
            _ => 0,
        }
    }

    /// Drops a handle; what it holds in the cluster is put back in the background.
    #[napi]
    pub fn release(&self, handle: u32) {
        self.table.remove(handle);
    }
}

/// Has `tell` called in this thread with the level, the part of the engine and the text of each line of the log up to `level`,
/// instead of whoever was told before. Returns the error as JSON, if there is one.
///
/// # Errors
/// Node's own.
#[napi]
pub fn log(level: String, tell: Function<'_, log::Line, UnknownReturnValue>) -> napi::Result<Option<String>> {
    Ok(log::to(&level, tell)?.err().map(|error| outcome::json(&error)))
}

/// Ends that.
#[napi]
pub fn log_end() {
    kubetether::host::log::clear_sink();
}

fn unknown(method: &str) -> napi::Error {
    napi::Error::from_reason(format!("a fault of kubetether itself: this handle knows no `{method}`"))
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.table.clear();
    }
}

/// Every code of an error as `{code, number}`, as JSON; for the comparison of the languages.
#[napi]
pub fn error_codes() -> String {
    let codes = ErrorCode::ALL
        .iter()
        .map(|code| serde_json::json!({ "code": code.as_str(), "number": code.number() }));
    serde_json::Value::from_iter(codes).to_string()
}

/// How this was built: figures of a debug build mean nothing.
#[napi]
pub fn profile() -> &'static str {
    if cfg!(debug_assertions) { "debug" } else { "release" }
}

/// The JSON Schema of what goes in and comes out.
#[napi]
pub fn schema() -> &'static str {
    options::SCHEMA
}
