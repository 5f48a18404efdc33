//! The engine's handles as classes.

use kubetether::host;
use pyo3::prelude::*;

use crate::errors;
use crate::task::Task;

/// A session. Dropping the last handle closes it in the background.
#[pyclass(frozen, module = "kubetether._native")]
pub(crate) struct Session(pub(crate) host::Session);

#[pymethods]
impl Session {
    /// Takes `ExchangeCall`, gives an `Exchange`.
    fn exchange(&self, call: &str) -> Task {
        Task::of(self.0.exchange(call))
    }

    /// Takes `ForwardCall`, gives a `Forward`.
    fn forward(&self, call: &str) -> Task {
        Task::of(self.0.forward(call))
    }

    /// Takes `CloseCall`.
    fn close(&self, call: &str) -> Task {
        Task::of(self.0.close(call))
    }

    /// Gives the reason, when it is over.
    fn closed(&self) -> Task {
        Task::of(self.0.closed())
    }

    /// Gives a list of texts: what the cluster says of the agents.
    fn evidence(&self) -> Task {
        Task::of(self.0.evidence())
    }

    /// A subscription of its own.
    fn events(&self, py: Python<'_>) -> PyResult<Events> {
        known(py, self.0.check(), || Events(self.0.events()))
    }

    /// `SessionInfo`.
    fn info(&self, py: Python<'_>) -> PyResult<String> {
        known(py, self.0.check(), || self.0.info())
    }

    /// `State`.
    fn state(&self, py: Python<'_>) -> PyResult<String> {
        known(py, self.0.check(), || self.0.state())
    }

    /// `Flows`.
    fn flows(&self, py: Python<'_>, after: u64) -> PyResult<String> {
        known(py, self.0.check(), || self.0.flows(after))
    }
}

/// A subscription.
#[pyclass(frozen, module = "kubetether._native")]
pub(crate) struct Events(host::Events);

#[pymethods]
impl Events {
    /// Gives whether there is an event to be taken; `False` at the end.
    fn ready(&self) -> Task {
        Task::of(self.0.ready())
    }

    /// `Event`, if there is one already.
    fn take(&self, py: Python<'_>) -> PyResult<Option<String>> {
        known(py, self.0.check(), || self.0.take())
    }

    /// How many were lost because they were not taken.
    fn dropped(&self, py: Python<'_>) -> PyResult<u64> {
        known(py, self.0.check(), || self.0.dropped())
    }
}

/// An exchange. Dropping it ends it in the background.
#[pyclass(frozen, module = "kubetether._native")]
pub(crate) struct Exchange(pub(crate) host::Exchange);

/// A forward. Dropping it ends it.
#[pyclass(frozen, module = "kubetether._native")]
pub(crate) struct Forward(pub(crate) host::Forward);

/// What both have, and what each has besides.
macro_rules! handle {
    ($name:ident { $($own:item)* }) => {
        #[pymethods]
        impl $name {
            /// What it is.
            fn info(&self, py: Python<'_>) -> PyResult<String> {
                known(py, self.0.check(), || self.0.info())
            }

            /// `State`.
            fn state(&self, py: Python<'_>) -> PyResult<String> {
                known(py, self.0.check(), || self.0.state())
            }

            /// `Stats`.
            fn stats(&self, py: Python<'_>) -> PyResult<String> {
                known(py, self.0.check(), || self.0.stats())
            }

            /// Takes `CloseCall`.
            fn close(&self, call: &str) -> Task {
                Task::of(self.0.close(call))
            }

            /// Gives its last `State`, when it is over.
            fn closed(&self) -> Task {
                Task::of(self.0.closed())
            }

            $($own)*
        }
    };
}

handle!(Exchange {
    /// `Safety`.
    fn safety(&self, py: Python<'_>) -> PyResult<String> {
        known(py, self.0.check(), || self.0.safety())
    }
});

handle!(Forward {});

/// What is known of a handle, for the process that has it: in one that was forked, what is asked for may be locked for ever.
fn known<T>(py: Python<'_>, checked: kubetether::Result<()>, what: impl FnOnce() -> T) -> PyResult<T> {
    checked.map_err(|error| errors::raise(py, &error))?;
    Ok(what())
}
