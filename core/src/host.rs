//! The engine as other languages call it: options in and answers out as JSON, and [calls](Call) that can be waited for in
//! slices, told to a callback, or cancelled.
//!
//! C, Python and Node are thin over this: each method of theirs is one call here. What goes in and comes out is described by
//! [`options::SCHEMA`](crate::options::SCHEMA).
//!
//! ```no_run
//! use std::time::Duration;
//! # fn main() -> kubetether::Result<()> {
//! let host = kubetether::host::Host::new();
//! let call = host.start(r#"{"namespace": "shop"}"#);
//! while !call.wait(Duration::from_millis(50)) { /* look for Ctrl-C; dropping the call cancels it */ }
//! let session = call.take().expect("done")?;
//! let exchange = session.exchange(r#"{"target": "orders", "to": 8080}"#).join()?;
//! println!("{}", exchange.info());
//! session.close("{}").then(|outcome| println!("closed: {outcome:?}"));
//! # Ok(())
//! # }
//! ```

mod call;
mod events;
mod handles;
pub mod log;
mod session;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use serde::Serialize;

pub use self::call::{Call, Canceller};
pub use self::events::Events;
pub use self::handles::{Exchange, Forward};
pub use self::session::Session;
use crate::blocking::runtime::Runtime;
use crate::options::{self, CleanCall, CloseCall, RecoverCall, SessionOptions, StatusCall};
use crate::{Config, Deadline, Error, ErrorCode, RecoverOptions, Result, Target};

/// Where calls begin that have no session yet. Holds nothing but a path.
#[derive(Clone, Debug, Default)]
pub struct Host {
    folder: Option<PathBuf>,
}

impl Host {
    /// As for programs: the agent's files lie beside the running program.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The folder of the library or package, where the agent's files are looked for first.
    #[must_use]
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self { folder: Some(folder.into()) }
    }

    /// [`Session::start`](crate::Session::start); takes `SessionOptions`.
    pub fn start(&self, options: &str) -> Call<Session> {
        let config = self.config(options);
        begin(move |runtime| async move {
            Ok(Session::new(crate::Session::start_holding(config?, runtime.clone()).await?, runtime))
        })
    }

    /// [`status`](crate::status); takes `SessionOptions` and `StatusCall`, gives `Status`.
    pub fn status(&self, session: &str, call: &str) -> Call<String> {
        let (config, call) = (self.config(session), options::read::<StatusCall>(call));
        begin(|_| async move { Ok(json(&crate::status(&config?, call?.into()).await?)) })
    }

    /// [`clean`](crate::clean); takes `SessionOptions` and `CleanCall`, gives `Cleaned`. What could not be done stands in it,
    /// and is no error.
    pub fn clean(&self, session: &str, call: &str) -> Call<String> {
        let (config, call) = (self.config(session), options::read::<CleanCall>(call));
        begin(|_| async move { Ok(json(&crate::clean(&config?, call?.into()).await?)) })
    }

    /// [`recover`](crate::recover); takes `SessionOptions` and `RecoverCall`, gives `Recovered`.
    pub fn recover(&self, session: &str, call: &str) -> Call<String> {
        let (config, call) = (self.config(session), options::read::<RecoverCall>(call));
        begin(|_| async move {
            let (target, options): (Target, RecoverOptions) = call?.try_into()?;
            Ok(json(&crate::recover(&config?, target, options).await?))
        })
    }

    /// [`create_namespace`](crate::create_namespace), for tests; takes `SessionOptions` and a name.
    pub fn create_namespace(&self, session: &str, name: &str) -> Call<()> {
        let (config, name) = (self.config(session), name.to_owned());
        begin(|_| async move { crate::create_namespace(&config?, &name).await })
    }

    /// [`delete_namespace`](crate::delete_namespace); takes `SessionOptions`, a name, and `CloseCall`.
    pub fn delete_namespace(&self, session: &str, name: &str, call: &str) -> Call<()> {
        let (config, name, call) = (self.config(session), name.to_owned(), options::read::<CloseCall>(call));
        begin(|_| async move { crate::delete_namespace(&config?, &name, Deadline::from(call?)).await })
    }

    fn config(&self, json: &str) -> Result<Config> {
        let config = Config::try_from(options::read::<SessionOptions>(json)?)?;
        Ok(match &self.folder {
            Some(folder) => config.agent_folder(folder),
            None => config,
        })
    }
}

/// A call on the shared runtime, which it gets to see.
fn begin<T, F>(work: impl FnOnce(Runtime) -> F) -> Call<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    match Runtime::shared() {
        Ok(runtime) => Call::begin(Ok(runtime.clone()), Box::pin(work(runtime))),
        Err(error) => Call::ready(Err(error)),
    }
}

/// What the engine answers always has a JSON form.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned())
}

/// An error of a face's own: an argument that never reached the engine.
#[must_use]
pub fn error(code: ErrorCode, message: impl Into<String>) -> Error {
    Error::new(code, message)
}
