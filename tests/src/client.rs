//! What asks: the workload's program in a pod of the cluster, or on this machine.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, AttachedProcess};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines, ReadHalf, SimplexStream, WriteHalf};

use crate::asker::Asker;
use crate::exec::{self, Output};
use crate::local::program;

/// Runs the workload's client commands.
#[derive(Clone)]
pub struct Client(Place);

#[derive(Clone)]
enum Place {
    Pod { pods: Box<Api<Pod>>, name: String },
    Here { program: PathBuf },
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match &self.0 {
            Place::Pod { name, .. } => name,
            Place::Here { .. } => "here",
        })
    }
}

/// How many connections ended how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Answers by the name of who gave them.
    pub names: BTreeMap<String, u64>,
    /// Failures by their word.
    pub errors: BTreeMap<String, u64>,
    /// How long it took.
    pub milliseconds: u64,
}

impl Client {
    pub(crate) fn in_pod(pods: Api<Pod>, pod: &str) -> Self {
        Self(Place::Pod { pods: Box::new(pods), name: pod.to_owned() })
    }

    /// On this machine, for what a forward brings here.
    ///
    /// # Panics
    /// When the program is not built.
    #[must_use]
    pub fn here() -> Self {
        Self(Place::Here { program: program() })
    }

    /// Runs a command; its output.
    ///
    /// # Errors
    /// The workload's word for what failed, as in `refused`.
    ///
    /// # Panics
    /// When the command could not be run at all.
    pub async fn run(&self, args: &[&str]) -> Result<String, String> {
        let output = self.attempt(args).await.unwrap_or_else(|error| panic!("{error}"));
        if output.ok {
            Ok(output.out)
        } else {
            Err(output.err.trim().trim_start_matches("workload: ").to_owned())
        }
    }

    /// Runs a command; what it said, or why it could not be run at all.
    pub(crate) async fn attempt(&self, args: &[&str]) -> Result<Output, String> {
        match &self.0 {
            Place::Pod { pods, name } => exec::run(pods, name, args).await,
            Place::Here { program } => run_here(program, args).await,
        }
    }

    /// One request by a new connection: the name of who answered, or `fault: WORD`.
    pub async fn who(&self, url: &str) -> String {
        match self.get(url).await {
            Ok(body) => kubetether_workload::http::name_in(&body).to_owned(),
            Err(word) => format!("fault: {word}"),
        }
    }

    /// One request by a new connection: the answer's body.
    ///
    /// # Errors
    /// The fault's word.
    pub async fn get(&self, url: &str) -> Result<String, String> {
        self.run(&["get", url]).await
    }

    /// Sends (`up`) or fetches (`down`) so many bytes, checked at both ends.
    ///
    /// # Errors
    /// The fault's word, or `sum`.
    pub async fn bulk(&self, direction: &str, url: &str, bytes: u64) -> Result<(), String> {
        self.run(&["bulk", direction, url, &bytes.to_string()]).await.map(drop)
    }

    /// Takes a raw connection through its steps (see `kubetether_workload::talk`); what it printed.
    ///
    /// # Errors
    /// When a step is none.
    pub async fn talk(&self, address: &str, steps: &[&str]) -> Result<Vec<String>, String> {
        let mut args = vec!["talk", address];
        args.extend(steps);
        let out = self.run(&args).await?;
        Ok(out.lines().map(str::to_owned).collect())
    }

    /// So many connections that are all open at once.
    pub async fn parallel(&self, url: &str, count: u64) -> Load {
        self.load(&["load", url, "--parallel", &count.to_string()]).await
    }

    /// So many connections one after another.
    pub async fn sequential(&self, url: &str, count: u64) -> Load {
        self.load(&["load", url, "--sequential", &count.to_string()]).await
    }

    /// So many connections, by so many workers that each make one after another.
    pub async fn many(&self, url: &str, count: u64, workers: u64) -> Load {
        let (count, workers) = (count.to_string(), workers.to_string());
        self.load(&["load", url, "--sequential", &count, "--workers", &workers, "--deadline-ms", "60000"])
            .await
    }

    async fn load(&self, args: &[&str]) -> Load {
        let out = self.run(args).await.unwrap_or_else(|error| panic!("{args:?}: {error}"));
        let mut load = Load::default();
        for line in out.lines() {
            let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("not a number in {line:?}"));
            if let Some(milliseconds) = line.strip_prefix("ms=") {
                load.milliseconds = number(milliseconds);
                continue;
            }
            let (what, count) = line.split_once(" count=").unwrap_or_else(|| panic!("{line:?} is no count"));
            match what.split_once('=') {
                Some(("name", name)) => load.names.insert(name.to_owned(), number(count)),
                _ => load.errors.insert(what.trim_start_matches("error=").to_owned(), number(count)),
            };
        }
        load
    }

    /// Asks every `every` milliseconds by new connections until told to stop.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn ask(&self, url: &str, every: u32) -> Asker {
        let args = ["ask", url, "--every-ms", &every.to_string()];
        match &self.0 {
            Place::Pod { .. } => Asker::in_pod(self.start(&args).await),
            Place::Here { program } => Asker::here(start_here(program, &args)),
        }
    }

    /// A raw connection that stays open between its steps.
    ///
    /// # Panics
    /// When the command cannot be started.
    pub async fn open(&self, address: &str) -> Talk {
        let mut talk = Talk::new(self.start(&["talk", address]).await);
        talk.first = talk.next().await;
        talk
    }

    async fn start(&self, args: &[&str]) -> AttachedProcess {
        let Place::Pod { pods, name } = &self.0 else {
            panic!("only a client pod leads a process step by step")
        };
        exec::start(pods, name, args, true).await.unwrap_or_else(|error| panic!("{error}"))
    }
}

fn start_here(program: &PathBuf, args: &[&str]) -> tokio::process::Child {
    let mut command = tokio::process::Command::new(program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    command.spawn().unwrap_or_else(|error| panic!("{} {args:?}: {error}", program.display()))
}

async fn run_here(program: &PathBuf, args: &[&str]) -> Result<Output, String> {
    let ran = tokio::process::Command::new(program).args(args).kill_on_drop(true).output().await;
    let ran = ran.map_err(|error| format!("{} {args:?}: {error}", program.display()))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Output { ok: ran.status.success(), out: text(&ran.stdout), err: text(&ran.stderr) })
}

/// A raw connection of the client pod, led step by step; dropping it ends the command.
pub struct Talk {
    _process: AttachedProcess,
    steps: WriteHalf<SimplexStream>,
    lines: Lines<BufReader<ReadHalf<SimplexStream>>>,
    first: String,
}

impl std::fmt::Debug for Talk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Talk").field(&self.first).finish()
    }
}

impl Talk {
    fn new(mut process: AttachedProcess) -> Self {
        let steps = process.stdin().expect("it was asked for");
        let lines = BufReader::new(process.stdout().expect("it was asked for")).lines();
        Self { _process: process, steps, lines, first: String::new() }
    }

    /// What came of the connect: `connected`, or `fault WORD`.
    #[must_use]
    pub fn connected(&self) -> &str {
        &self.first
    }

    /// Does a step; what it printed.
    ///
    /// # Panics
    /// When the command is over.
    pub async fn step(&mut self, step: &str) -> String {
        let sent = self.steps.write_all(format!("{step}\n").as_bytes()).await;
        sent.unwrap_or_else(|error| panic!("step {step}: {error}"));
        self.next().await
    }

    async fn next(&mut self) -> String {
        let line = self.lines.next_line().await.unwrap_or_else(|error| panic!("talk: {error}"));
        line.unwrap_or_else(|| panic!("talk: the command is over"))
    }
}
