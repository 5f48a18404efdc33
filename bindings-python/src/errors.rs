//! The engine's errors as Python's.

use kubetether::Error;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

/// The exception: an object of a class of `kubetether.errors`, which is Python's own.
pub(crate) fn raise(py: Python<'_>, error: &Error) -> PyErr {
    let made = py
        .import("kubetether.errors")
        .and_then(|module| {
            module.call_method1("from_json", (serde_json::to_string(error).unwrap_or_default(),))
        })
        .map(PyErr::from_value);
    made.unwrap_or_else(|problem| {
        let fallback = PyRuntimeError::new_err(error.report());
        fallback.set_cause(py, Some(problem));
        fallback
    })
}
