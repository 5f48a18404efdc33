//! What the agent's tests share: loopback addresses of their own, and the agent as a process.

#![allow(dead_code, unreachable_pub, reason = "every test file uses another part of it")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

pub mod cgroup;
pub mod client;
pub mod dns;
pub mod path;
pub mod scene;
pub mod server;

/// The longest that anything here may take before it counts as hanging; never waited for when all is well.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// An address of 127/8 that no other test uses, here or in another test process: every port of it is free.
pub fn address() -> IpAddr {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let process = std::process::id();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    assert!(number < 255, "more addresses than one test process may have");
    // 127.0.x.x is left to everybody else.
    Ipv4Addr::new(127, 1 + (process >> 8 & 0x7f) as u8, process as u8, number as u8).into()
}

/// Waits for a condition, asking again and again.
pub async fn until<T>(what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(value) = check().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("still not: {what}"))
}

/// The agent as a process; killed when dropped.
pub struct Agent {
    pub child: Child,
    pub address: IpAddr,
    lines: Arc<Mutex<Vec<String>>>,
}

/// How to start one.
pub struct Start {
    command: Command,
    address: IpAddr,
}

impl Start {
    /// This crate's own binary.
    pub fn agent(role: &str) -> Self {
        Self::command(Command::new(env!("CARGO_BIN_EXE_kubetether-agent")), role)
    }

    /// Another way to run it.
    pub fn command(mut command: Command, role: &str) -> Self {
        let address = address();
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("KUBETETHER_ROLE", role)
            .env("KUBETETHER_POD_IPS", address.to_string())
            .env("KUBETETHER_CONTROL", format!("{address}:47100"))
            .env("KUBETETHER_LOG", "debug")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        Self { command, address }
    }

    /// At an address that another had before.
    pub fn at(mut self, address: IpAddr) -> Self {
        self.address = address;
        self.env("KUBETETHER_POD_IPS", address).env("KUBETETHER_CONTROL", format!("{address}:47100"))
    }

    pub fn env(mut self, name: &str, value: impl ToString) -> Self {
        self.command.env(name, value.to_string());
        self
    }

    /// Starts it without waiting for anything.
    pub fn spawn(mut self) -> Agent {
        let mut child = self.command.spawn().unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let stderr = child.stderr.take().unwrap();
        tokio::spawn({
            let lines = Arc::clone(&lines);
            async move {
                let mut stderr = BufReader::new(stderr).lines();
                while let Ok(Some(line)) = stderr.next_line().await {
                    lines.lock().unwrap().push(line);
                }
            }
        });
        Agent { child, address: self.address, lines }
    }

    /// Starts it and waits until it is ready.
    pub async fn ready(self) -> Agent {
        let mut agent = self.spawn();
        agent.wait_ready().await;
        agent
    }
}

impl Agent {
    pub fn control(&self) -> SocketAddr {
        SocketAddr::new(self.address, 47100)
    }

    pub async fn wait_ready(&mut self) {
        let health = SocketAddr::new(self.address, 47101);
        until("the agent is ready", async || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the agent ended with {status}:\n{}", self.log());
            }
            (ask_health(health).await? == 200).then_some(())
        })
        .await;
    }

    pub fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// What it wrote so far.
    pub fn log(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    pub fn signal(&self, name: &str) {
        let status =
            std::process::Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status();
        assert!(status.unwrap().success());
    }

    /// Waits for its end; gives the exit code.
    pub async fn ended(&mut self) -> Option<i32> {
        timeout(PATIENCE, self.child.wait()).await.expect("the agent does not end").unwrap().code()
    }

    /// Open descriptors.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// A number of its `/proc/<pid>/status`, in the file's own unit.
    pub fn status_field(&self, name: &str) -> String {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    }
}

/// The HTTP status of the health port, if anyone answers there.
pub async fn ask_health(address: SocketAddr) -> Option<u16> {
    let mut socket = TcpStream::connect(address).await.ok()?;
    socket.write_all(b"GET / HTTP/1.1\r\nHost: agent\r\n\r\n").await.ok()?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.ok()?;
    answer.split(' ').nth(1)?.parse().ok()
}
