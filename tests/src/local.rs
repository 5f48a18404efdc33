//! What listens on this machine, where exchanged traffic arrives.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use kubetether_workload::serve::{self, Log, Served};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpSocket;
use tokio::process::{Child, Command};

use crate::cluster::root;
use crate::wait::SHORT;

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

    /// HTTP on a port that [`Closed`] has given up.
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

/// A port of 127.0.0.1 at which nothing listens, and nobody else can while this lives.
#[derive(Debug)]
pub struct Closed {
    // Bound without listening.
    socket: TcpSocket,
}

impl Closed {
    /// Takes a free one.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn new() -> Self {
        let bound = TcpSocket::new_v4().and_then(|socket| {
            socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
            Ok(socket)
        });
        Self { socket: bound.unwrap_or_else(|error| panic!("no free port: {error}")) }
    }

    /// Its number.
    ///
    /// # Panics
    /// Never: it is bound.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.socket.local_addr().unwrap_or_else(|error| panic!("a bound port: {error}")).port()
    }

    /// Gives it up for whoever listens there next.
    #[must_use]
    pub fn release(self) -> u16 {
        self.port()
    }
}

impl Default for Closed {
    fn default() -> Self {
        Self::new()
    }
}

/// A server in a process of its own, so that this one's memory and descriptors are the engine's.
#[derive(Debug)]
pub struct Apart {
    _child: Child,
    port: u16,
}

impl Apart {
    /// Starts it and waits until it listens.
    ///
    /// # Panics
    /// When that does not come.
    pub async fn http() -> Self {
        Self::new("http").await
    }

    /// Any habit of the workload that serves TCP.
    ///
    /// # Panics
    /// As [`http`](Self::http).
    pub async fn new(habit: &str) -> Self {
        let mut command = Command::new(program());
        command.args(["serve", "--name", LOCAL, &format!("--{habit}"), "0"]).kill_on_drop(true);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("workload: {error}"));
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let told = tokio::time::timeout(SHORT, lines.next_line()).await;
        let told = told.unwrap_or_else(|_| panic!("workload: it tells no port"));
        let line = told.ok().flatten().unwrap_or_default();
        let port = line.split_once(' ').and_then(|(_, port)| port.parse().ok());
        Self { _child: child, port: port.unwrap_or_else(|| panic!("workload: it tells {line:?}")) }
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// The workload's program on this machine.
pub(crate) fn program() -> PathBuf {
    let program = root().join("target/workload/workload");
    assert!(program.is_file(), "{} is missing: `make workload-image` builds it", program.display());
    program
}
