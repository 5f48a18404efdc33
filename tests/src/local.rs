//! What listens on this machine, where exchanged traffic arrives.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use kubetether_workload::serve::{self, Log, Served};

/// The name by which this machine answers.
pub const LOCAL: &str = "local";

/// A server of one of the workload's habits on a free port of 127.0.0.1; dropping it stops listening.
#[derive(Debug)]
pub struct Local {
    served: Served,
    log: Arc<Log>,
}

impl Local {
    /// HTTP.
    #[must_use]
    pub fn http() -> Self {
        Self::new("http")
    }

    /// Any habit of the workload, as in `echo`.
    ///
    /// # Panics
    /// When there is no such habit or no free port.
    #[must_use]
    pub fn new(habit: &str) -> Self {
        let log = Arc::new(Log::default());
        let served = serve::start(habit, LOCAL, (Ipv4Addr::LOCALHOST, 0).into(), &log);
        Self { served: served.unwrap_or_else(|error| panic!("local {habit} server: {error}")), log }
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.served.address().port()
    }

    /// How its connections ended (see `kubetether_workload::serve::Log`).
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.log.lines()
    }
}

/// A port of 127.0.0.1 at which nothing listens.
///
/// # Panics
/// When there is no free port.
#[must_use]
pub fn closed_port() -> u16 {
    let found =
        std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    found.as_ref().map(SocketAddr::port).unwrap_or_else(|error| panic!("no free port: {error}"))
}
