//! The same engine for callers without a runtime: every call blocks its thread.
//!
//! The calls run on one runtime that belongs to this module. It is built when the first session
//! starts and ends when the last session is over and its last handle gone. Not for use inside async code, where blocking calls
//! panic as those of any runtime do.

mod care;
pub(crate) mod runtime;

use std::net::SocketAddr;
use std::time::Duration;

pub use self::care::{clean, recover, status};
use self::runtime::Runtime;
use crate::{
    Config, Deadline, Destination, Error, Event, ExchangeOptions, ExchangedPort, Flows, ForwardOptions,
    HandleId, HandleState, Result, SessionState, Stats, Target, To,
};

/// A [`Session`](crate::Session) whose calls block.
#[derive(Clone, Debug)]
pub struct Session {
    inner: crate::Session,
    runtime: Runtime,
}

/// An [`Exchange`](crate::Exchange) whose calls block.
#[derive(Debug)]
pub struct Exchange {
    inner: crate::Exchange,
    runtime: Runtime,
}

/// A [`Forward`](crate::Forward) whose calls block.
#[derive(Debug)]
pub struct Forward {
    inner: crate::Forward,
    runtime: Runtime,
}

/// A subscription to what happens in a session, pulled with a limit of time.
#[derive(Debug)]
pub struct Events {
    inner: crate::Events,
    runtime: Runtime,
}

impl Session {
    /// See [`Session::start`](crate::Session::start).
    ///
    /// # Errors
    /// As there; [`Internal`](crate::ErrorCode::Internal) when no thread can be made, [`Forked`](crate::ErrorCode::Forked) in a
    /// process that was forked from one with sessions.
    pub fn start(config: Config) -> Result<Self> {
        let runtime = Runtime::shared()?;
        // A dropped session is closed in the background, for which it needs the runtime.
        let inner = runtime.block_on(crate::Session::start_holding(config, runtime.clone()))?;
        Ok(Self { inner, runtime })
    }

    /// See [`Session::exchange_with`](crate::Session::exchange_with).
    ///
    /// # Errors
    /// As there.
    pub fn exchange<T>(&self, target: T, to: To, options: ExchangeOptions) -> Result<Exchange>
    where
        T: TryInto<Target>,
        Error: From<T::Error>,
    {
        let inner = self.runtime.block_on(self.inner.exchange_with(target, to, options))?;
        Ok(Exchange { inner, runtime: self.runtime.clone() })
    }

    /// See [`Session::forward_with`](crate::Session::forward_with).
    ///
    /// # Errors
    /// As there.
    pub fn forward<D>(&self, destination: D, options: ForwardOptions) -> Result<Forward>
    where
        D: TryInto<Destination>,
        Error: From<D::Error>,
    {
        let inner = self.runtime.block_on(self.inner.forward_with(destination, options))?;
        Ok(Forward { inner, runtime: self.runtime.clone() })
    }

    /// See [`Session::events`](crate::Session::events).
    #[must_use]
    pub fn events(&self) -> Events {
        Events { inner: self.inner.events(), runtime: self.runtime.clone() }
    }

    /// See [`Session::flows`](crate::Session::flows).
    #[must_use]
    pub fn flows(&self, after: u64) -> Flows {
        self.inner.flows(after)
    }

    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> SessionState {
        self.inner.state()
    }

    /// The session's random name; its Lease is `kubetether-<id>`.
    #[must_use]
    pub fn id(&self) -> &str {
        self.inner.id()
    }

    /// Waits until it is over, as asked or not; returns the reason.
    ///
    /// # Errors
    /// [`Deadline`](crate::ErrorCode::Deadline) when it is not over within `limit`.
    pub fn closed(&self, limit: Duration) -> Result<String> {
        let waiting = async { tokio::time::timeout(limit, self.inner.closed()).await };
        self.runtime.block_on(waiting).map_err(|_| Error::deadline("waiting for the end of the session"))
    }

    /// The session itself, for what does not block.
    #[must_use]
    pub fn inner(&self) -> &crate::Session {
        &self.inner
    }

    /// See [`Session::close`](crate::Session::close).
    ///
    /// # Errors
    /// As there.
    pub fn close(&self, deadline: impl Into<Deadline>) -> Result<()> {
        self.runtime.block_on(self.inner.close(deadline))
    }
}

impl Exchange {
    /// The Service's name.
    #[must_use]
    pub fn service(&self) -> &str {
        self.inner.service()
    }

    /// The ports that come here.
    #[must_use]
    pub fn ports(&self) -> &[ExchangedPort] {
        self.inner.ports()
    }

    /// What has come here so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.inner.stats()
    }
}

impl Forward {
    /// The local address and port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.inner.address()
    }

    /// What has gone through it so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.inner.stats()
    }
}

/// What all handles have.
macro_rules! handle {
    ($name:ident) => {
        impl $name {
            /// Tells the handles of a session apart.
            #[must_use]
            pub fn id(&self) -> HandleId {
                self.inner.id()
            }

            /// Where it stands.
            #[must_use]
            pub fn state(&self) -> HandleState {
                self.inner.state()
            }

            /// Waits until its state is one that `wanted` accepts, or it is over; returns the state it has then.
            ///
            /// # Errors
            /// [`Deadline`](crate::ErrorCode::Deadline) when that is not so within `limit`.
            pub fn wait_for(
                &self,
                limit: Duration,
                mut wanted: impl FnMut(&HandleState) -> bool,
            ) -> Result<HandleState> {
                let mut states = self.inner.states();
                let waiting = async {
                    let state = states.wait_for(|state| state.is_over() || wanted(state)).await;
                    state.map_or(HandleState::Closed, |state| state.clone())
                };
                let waiting = async { tokio::time::timeout(limit, waiting).await };
                self.runtime.block_on(waiting).map_err(|_| Error::deadline("waiting for a state"))
            }

            /// Waits until it is over, as asked or not; returns the state it has then.
            ///
            /// # Errors
            /// [`Deadline`](crate::ErrorCode::Deadline) when it is not over within `limit`.
            pub fn closed(&self, limit: Duration) -> Result<HandleState> {
                self.wait_for(limit, |_| false)
            }

            /// See the `close` of the handle that does not block.
            ///
            /// # Errors
            /// As there.
            pub fn close(&self, deadline: impl Into<Deadline>) -> Result<()> {
                self.runtime.block_on(self.inner.close(deadline))
            }
        }
    };
}

handle!(Exchange);
handle!(Forward);

impl Events {
    /// The next happening. `Ok(None)` at the end.
    ///
    /// # Errors
    /// [`Deadline`](crate::ErrorCode::Deadline) when nothing happened within `limit`.
    pub fn next(&mut self, limit: Duration) -> Result<Option<Event>> {
        let waiting = async { tokio::time::timeout(limit, self.inner.next()).await };
        self.runtime.block_on(waiting).map_err(|_| Error::deadline("waiting for an event"))
    }
}
