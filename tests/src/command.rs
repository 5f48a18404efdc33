//! The built command as a process, told by JSON.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout};

use crate::cluster::root;
use crate::scenario::Scenario;
use crate::wait::LONG;

static BUILT: OnceLock<PathBuf> = OnceLock::new();

/// A running `kubetether`; killed when dropped.
#[derive(Debug)]
pub struct Command {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    errors: ChildStderr,
    /// What was told so far.
    told: Vec<Value>,
}

/// How it ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; `None` after a signal.
    pub code: Option<i32>,
    /// All it told.
    pub told: Vec<Value>,
    /// Its standard error.
    pub errors: String,
}

impl Command {
    /// Builds it with what is built already, which may take its time: call this before a scenario's own
    /// time begins.
    ///
    /// # Panics
    /// When it cannot be built.
    pub fn prepare() {
        BUILT.get_or_init(build);
    }

    /// Starts it with `--output json` in the scenario's namespace.
    ///
    /// # Panics
    /// When it cannot be built or started.
    pub fn start(at: &Scenario, args: &[&str]) -> Self {
        let mut all = vec!["--namespace", at.namespace().name()];
        all.extend(args);
        Self::start_with(at.cluster().kubeconfig(), &all)
    }

    /// Starts it with `--output json` and a kubeconfig.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn start_with(kubeconfig: impl AsRef<Path>, args: &[&str]) -> Self {
        Self::start_under(&[], kubeconfig, args)
    }

    /// As [`start_with`](Self::start_with), by another command that becomes it, as in `prlimit --nofile=64`.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn start_under(by: &[&str], kubeconfig: impl AsRef<Path>, args: &[&str]) -> Self {
        let program = BUILT.get_or_init(build);
        let mut words = by.iter().map(OsStr::new).chain([program.as_os_str()]);
        let mut command = tokio::process::Command::new(words.next().unwrap_or_default());
        command.args(words);
        command.args(["--output", "json", "--kubeconfig"]).arg(kubeconfig.as_ref()).args(args);
        let piped =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = piped.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let errors = child.stderr.take().expect("it is piped");
        Self { child, lines, errors, told: Vec::new() }
    }

    /// The next thing told of a type; what is told before it is passed over.
    ///
    /// # Panics
    /// When it ends before, or takes too long.
    pub async fn told(&mut self, kind: &str) -> Value {
        self.told_one_of(&[kind], LONG).await
    }

    /// As [`told`](Self::told), of some types, for one that may take long.
    ///
    /// # Panics
    /// As [`told`](Self::told).
    pub async fn told_one_of(&mut self, kinds: &[&str], limit: Duration) -> Value {
        let found = async {
            loop {
                let line = self.lines.next_line().await.unwrap_or_else(|error| panic!("its output: {error}"));
                let Some(line) = line else { panic!("it ended before {kinds:?}: {:#?}", self.told) };
                let value: Value =
                    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
                self.told.push(value.clone());
                if value["type"].as_str().is_some_and(|kind| kinds.contains(&kind)) {
                    return value;
                }
            }
        };
        let found = tokio::time::timeout(limit, found).await;
        found.unwrap_or_else(|_| panic!("not told within {limit:?}: {kinds:?}"))
    }

    /// The last thing of a type that was told so far.
    #[must_use]
    pub fn heard(&self, kind: &str) -> Option<Value> {
        self.told.iter().rev().find(|told| told["type"] == kind).cloned()
    }

    /// Its process's number.
    ///
    /// # Panics
    /// When it is over.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id().unwrap_or_else(|| panic!("it is over"))
    }

    /// Sends it a signal by name, as in `INT`.
    ///
    /// # Panics
    /// When it is over.
    pub async fn signal(&self, name: &str) {
        let id = self.id().to_string();
        let sent = tokio::process::Command::new("kill").args(["-s", name, &id]).status().await;
        assert!(sent.is_ok_and(|status| status.success()), "signal {name} was not sent");
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When that does not come.
    pub async fn ended(mut self) -> Ended {
        self.end().await
    }

    /// As [`ended`](Self::ended), for one who may have to turn to something else meanwhile.
    ///
    /// # Panics
    /// As [`ended`](Self::ended).
    pub async fn end(&mut self) -> Ended {
        let mut errors = String::new();
        let whole = async {
            let read = async {
                while let Ok(Some(line)) = self.lines.next_line().await {
                    let value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
                    self.told.push(value);
                }
            };
            let (_, _, status) =
                tokio::join!(read, self.errors.read_to_string(&mut errors), self.child.wait());
            status
        };
        let status = tokio::time::timeout(LONG, whole).await;
        let status = status.unwrap_or_else(|_| panic!("it does not end; {:#?}\n{errors}", self.told));
        let code = status.as_ref().ok().and_then(ExitStatus::code);
        Ended { code, told: self.told.clone(), errors }
    }
}

/// The command beside this program, built where this is a test's program; a bench's is built with it.
fn build() -> PathBuf {
    if cfg!(debug_assertions) {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = std::process::Command::new(cargo);
        // The whole workspace, as everywhere: alone it would be given other features of shared dependencies.
        command
            .args(["build", "--quiet", "--locked", "--workspace", "--bin", "kubetether"])
            .current_dir(root());
        let output = command.output().unwrap_or_else(|error| panic!("cargo: {error}"));
        assert!(
            output.status.success(),
            "the command is not built: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let here = std::env::current_exe().unwrap_or_else(|error| panic!("this program's place: {error}"));
    let found =
        here.ancestors().skip(1).take(2).map(|folder| folder.join("kubetether")).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("no kubetether beside {}", here.display()))
}
