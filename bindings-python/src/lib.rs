//! The native half of the Python package: handles, and calls that take and give JSON. What a user sees is written in Python
//! above it (`python/kubetether`), and each method of the engine is one line here.

mod errors;
mod handles;
mod log;
mod outcome;
mod task;

use kubetether::ErrorCode;
use kubetether::host::Host;
use pyo3::prelude::*;

use self::handles::{Events, Exchange, Forward, Session};
use self::task::Task;

/// `kubetether._native`
#[pymodule(gil_used = true)]
mod _native {
    #[pymodule_export]
    use super::{
        Events, Exchange, Forward, Session, Task, clean, codes, connect, create_namespace, delete_namespace,
        log_to, profile, recover, schema, status, version,
    };
}

/// Starts a session; `folder` is the package's, where the agent's files lie.
#[pyfunction]
fn connect(folder: &str, options: &str) -> Task {
    Task::of(Host::in_folder(folder).start(options))
}

/// Who holds what, as `Status`.
#[pyfunction]
fn status(folder: &str, options: &str, call: &str) -> Task {
    Task::of(Host::in_folder(folder).status(options, call))
}

/// Takes away what dead sessions left; gives `Cleaned`.
#[pyfunction]
fn clean(folder: &str, options: &str, call: &str) -> Task {
    Task::of(Host::in_folder(folder).clean(options, call))
}

/// Puts one Service back; gives `Recovered`.
#[pyfunction]
fn recover(folder: &str, options: &str, call: &str) -> Task {
    Task::of(Host::in_folder(folder).recover(options, call))
}

/// Makes a namespace for a test.
#[pyfunction]
fn create_namespace(folder: &str, options: &str, name: &str) -> Task {
    Task::of(Host::in_folder(folder).create_namespace(options, name))
}

/// Takes it away; takes `CloseCall`.
#[pyfunction]
fn delete_namespace(folder: &str, options: &str, name: &str, call: &str) -> Task {
    Task::of(Host::in_folder(folder).delete_namespace(options, name, call))
}

/// The engine's version.
#[pyfunction]
fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// How this was built, `debug` or `release`: a figure means nothing without it.
#[pyfunction]
fn profile() -> &'static str {
    if cfg!(debug_assertions) { "debug" } else { "release" }
}

/// The JSON Schema of all options and answers.
#[pyfunction]
fn schema() -> &'static str {
    kubetether::options::SCHEMA
}

/// Every error code: number, name, name of its class.
#[pyfunction]
fn codes() -> Vec<(u32, &'static str, &'static str)> {
    ErrorCode::ALL.iter().map(|code| (code.number(), code.as_str(), code.class_name())).collect()
}

/// Hands what the engine logs from `level` on to `sink(level, target, text)`, by a thread of its own; `None` ends that. Levels are
/// those of Python's `logging`.
#[pyfunction]
fn log_to(py: Python<'_>, sink: Option<Py<PyAny>>, level: u8) -> PyResult<()> {
    log::register(py, sink, level)
}
