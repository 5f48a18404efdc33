//! What calls end with.

use kubetether::host;
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;

use crate::handles::{Exchange, Forward, Session};

/// What a call ended with, before it is an object of Python's: that needs the GIL.
pub(crate) enum Outcome {
    Session(host::Session),
    Exchange(host::Exchange),
    Forward(host::Forward),
    Json(String),
    Flag(bool),
    Nothing,
}

impl Outcome {
    pub(crate) fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match self {
            Self::Session(session) => Session(session).into_py_any(py),
            Self::Exchange(exchange) => Exchange(exchange).into_py_any(py),
            Self::Forward(forward) => Forward(forward).into_py_any(py),
            Self::Json(text) => text.into_py_any(py),
            Self::Flag(flag) => flag.into_py_any(py),
            Self::Nothing => Ok(py.None()),
        }
    }
}

macro_rules! outcome {
    ($($kind:ident($from:ty),)*) => {
        $(impl From<$from> for Outcome {
            fn from(value: $from) -> Self {
                Self::$kind(value)
            }
        })*
    };
}

outcome! {
    Session(host::Session),
    Exchange(host::Exchange),
    Forward(host::Forward),
    Json(String),
    Flag(bool),
}

impl From<()> for Outcome {
    fn from((): ()) -> Self {
        Self::Nothing
    }
}
