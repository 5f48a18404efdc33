//! What listens on this machine, where exchanged traffic arrives.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use kubetether_workload::serve::{self, Log, Served};

use crate::cluster::root;

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
        Self::named(habit, LOCAL)
    }

    /// One that answers by a name of its own.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    #[must_use]
    pub fn named(habit: &str, name: &str) -> Self {
        Self::start(habit, name, 0)
    }

    /// HTTP on a port that was free a moment ago.
    ///
    /// # Panics
    /// When it is not free any more.
    #[must_use]
    pub fn http_at(port: u16) -> Self {
        Self::start("http", LOCAL, port)
    }

    fn start(habit: &str, name: &str, port: u16) -> Self {
        let log = Arc::new(Log::default());
        let served = serve::start(habit, name, (Ipv4Addr::LOCALHOST, port).into(), &log);
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

/// An HTTP server in a process of its own, so that this one's memory and descriptors are the engine's.
#[derive(Debug)]
pub struct Apart {
    child: Child,
    port: u16,
}

impl Apart {
    /// Starts it and waits until it listens.
    ///
    /// # Panics
    /// When that does not come.
    pub async fn http() -> Self {
        let port = closed_port();
        let mut command = Command::new(program());
        command.args(["serve", "--name", LOCAL, "--http", &port.to_string()]);
        let child = command.stdin(Stdio::null()).spawn().unwrap_or_else(|error| panic!("workload: {error}"));
        let apart = Self { child, port };
        crate::eventually("the local server", crate::SHORT, async || {
            tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await
        })
        .await;
        apart
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        // It may be over already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The workload's program on this machine.
pub(crate) fn program() -> PathBuf {
    let program = root().join("target/workload/workload");
    assert!(program.is_file(), "{} is missing: `make workload-image` builds it", program.display());
    program
}
