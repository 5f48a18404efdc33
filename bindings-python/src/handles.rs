//! The engine's handles as classes.

use kubetether::host;
use pyo3::prelude::*;

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
    fn events(&self) -> Events {
        Events(self.0.events())
    }

    /// `SessionInfo`.
    fn info(&self) -> String {
        self.0.info()
    }

    /// `State`.
    fn state(&self) -> String {
        self.0.state()
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
    fn take(&self) -> Option<String> {
        self.0.take()
    }

    /// How many were lost because they were not taken.
    fn dropped(&self) -> u64 {
        self.0.dropped()
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
            fn info(&self) -> String {
                self.0.info()
            }

            /// `State`.
            fn state(&self) -> String {
                self.0.state()
            }

            /// `Stats`.
            fn stats(&self) -> String {
                self.0.stats()
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
    fn safety(&self) -> String {
        self.0.safety()
    }
});

handle!(Forward {});
