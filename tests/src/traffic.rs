//! Traffic that has to outlive what a scenario does to the link under it.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::app::{object, pod_spec};
use crate::client::Client;
use crate::local::program;
use crate::namespace::Namespace;
use crate::wait::{LONG, SHORT, eventually};

/// Where the program in the pod answers.
const CONTROL: u16 = 9099;
/// The last transfers are whole, and all connections proven, after this long at most.
const END: Duration = Duration::from_secs(170);

/// What goes on at once; see the workload's command `traffic`.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    bytes: u64,
    rate: u64,
    idle: u64,
    every_ms: u32,
    talkers: u32,
    stalled: u64,
    stalled_bytes: u64,
}

/// Connections of one program, on this machine or in a pod, that go on until [`finish`](Self::finish).
#[derive(Debug)]
pub struct Traffic {
    what: &'static str,
    plan: Plan,
    client: Client,
    control: String,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// Ends when dropped.
    Here(#[expect(dead_code, reason = "held for its end")] Child),
    Pod {
        pods: Api<Pod>,
        name: String,
    },
}

/// What a program told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// `opening`, `running` or `over`.
    pub state: String,
    /// Every `KEY VALUE`.
    pub counts: BTreeMap<String, u64>,
    /// Every fault: the milliseconds since its start, what it was about, and its word.
    pub faults: Vec<String>,
}

impl Plan {
    /// Transfers of 100 MiB each way, 200 idle connections, and a request every 20 ms. A transfer takes 20 s, so that it
    /// is under way whatever happens.
    #[must_use]
    pub fn full() -> Self {
        Self { bytes: 100 << 20, rate: 5 << 20, idle: 200, ..Self::quiet() }
    }

    /// A request every 20 ms, on four connections.
    #[must_use]
    pub fn quiet() -> Self {
        Self { bytes: 0, rate: 0, idle: 0, every_ms: 20, talkers: 4, stalled: 0, stalled_bytes: 0 }
    }

    /// Transfers of so many bytes.
    #[must_use]
    pub fn bytes(self, bytes: u64) -> Self {
        Self { bytes, ..self }
    }

    /// So many bytes per second in each transfer; 0 is as fast as it goes.
    #[must_use]
    pub fn rate(self, rate: u64) -> Self {
        Self { rate, ..self }
    }

    /// So many idle connections.
    #[must_use]
    pub fn idle(self, idle: u64) -> Self {
        Self { idle, ..self }
    }

    /// So many connections take turns to ask, one every so many milliseconds.
    #[must_use]
    pub fn talkers(self, talkers: u32, every_ms: u32) -> Self {
        Self { talkers, every_ms, ..self }
    }

    /// So many readers that ask for so many bytes each, and do not read them before the end.
    #[must_use]
    pub fn stalled(self, stalled: u64, stalled_bytes: u64) -> Self {
        Self { stalled, stalled_bytes, ..self }
    }

    fn args(&self, address: &str, control: u16) -> Vec<String> {
        let mut args = vec!["traffic".to_owned(), address.to_owned()];
        for (option, value) in [
            ("bytes", self.bytes),
            ("rate", self.rate),
            ("idle", self.idle),
            ("every-ms", self.every_ms.into()),
            ("talkers", self.talkers.into()),
            ("stalled", self.stalled),
            ("stalled-bytes", self.stalled_bytes),
            ("control", control.into()),
        ] {
            args.extend([format!("--{option}"), value.to_string()]);
        }
        args
    }
}

impl Traffic {
    /// From this machine to an address, by a process of its own.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn here(address: impl std::fmt::Display, plan: Plan) -> Self {
        let mut command = Command::new(program());
        command.args(plan.args(&address.to_string(), 0)).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child =
            command.kill_on_drop(true).spawn().unwrap_or_else(|error| panic!("workload: {error}"));
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let told = tokio::time::timeout(SHORT, lines.next_line()).await;
        let line = told.unwrap_or_else(|_| panic!("traffic tells no port")).ok().flatten();
        let port = line.as_deref().and_then(|line| line.strip_prefix("control "));
        let port = port.unwrap_or_else(|| panic!("traffic tells {line:?}"));
        let control = format!("http://127.0.0.1:{port}");
        Self { what: "from here", plan, client: Client::here(), control, place: Place::Here(child) }
    }

    /// From a pod to an address, as in `orders:80`. The pod goes with [`finish`](Self::finish).
    ///
    /// # Panics
    /// When the cluster refuses it.
    pub async fn in_pod(namespace: &Namespace, address: &str, plan: Plan) -> Self {
        let name = format!("traffic-{:04x}", rand::random::<u16>());
        let mut spec = pod_spec(&name, &plan.args(address, CONTROL), &[]);
        spec["restartPolicy"] = json!("Never");
        let pod: Pod = object(json!({ "metadata": { "name": name }, "spec": spec }));
        namespace.create_object(&pod).await;
        let pods = namespace.api::<Pod>();
        let client = Client::in_pod(pods.clone(), &name);
        let control = format!("http://127.0.0.1:{CONTROL}");
        Self { what: "from the pod", plan, client, control, place: Place::Pod { pods, name } }
    }

    /// Waits until all connections are open and have had their first answers.
    ///
    /// # Panics
    /// When that does not come.
    pub async fn running(&self) {
        self.until("all connections are open", LONG, |told| told.state == "running").await;
    }

    /// How things stand.
    ///
    /// # Panics
    /// When the program does not tell.
    pub async fn told(&self) -> Told {
        self.until("traffic tells", LONG, |_| true).await
    }

    /// Waits until a request begun after `before` is answered, and every transfer has gone on.
    ///
    /// # Panics
    /// When that does not come, or something failed.
    pub async fn moves_on(&self, before: &Told) -> Told {
        // What was asked before may be answered by what was on its way already.
        let moved = |told: &Told| {
            let grown = |key| told.get(key) > before.get(key);
            told.get("answered") > before.get("asked")
                && (self.plan.bytes == 0 || (grown("down_bytes") && grown("up_bytes")))
        };
        self.until("traffic moves on", LONG, moved).await
    }

    /// Waits until this many whole transfers went each way after `before`.
    ///
    /// # Panics
    /// When they do not, or something failed.
    pub async fn transferred(&self, before: &Told, count: u64) -> Told {
        let done = |told: &Told| ["down", "up"].iter().all(|key| told.get(key) >= before.get(key) + count);
        self.until("whole transfers", END, done).await
    }

    /// The times of answers count from now on.
    ///
    /// # Panics
    /// When the program does not take it.
    pub async fn mark(&self) {
        self.ask_until("/mark", "the mark", LONG, |_| true).await;
    }

    /// Lets everything come to its end, and demands that nothing was lost: every transfer whole, every request
    /// answered, every idle connection alive.
    ///
    /// # Panics
    /// When something was, with every fault.
    pub async fn finish(self) -> Told {
        self.ask_until("/stop", "the end is begun", LONG, |_| true).await;
        let told = self.until("traffic comes to its end", END, |told| told.state == "over").await;
        let expected =
            [("alive", self.plan.idle), ("stalled", self.plan.stalled), ("answered", told.get("asked"))];
        for (key, count) in expected {
            assert_eq!(told.get(key), count, "{}: {key}: {told}", self.what);
        }
        let least = u64::from(self.plan.bytes > 0);
        assert!(told.get("down") >= least && told.get("up") >= least, "{}: {told}", self.what);
        self.end().await;
        told
    }

    /// Waits until every connection has failed; how each did.
    ///
    /// # Panics
    /// When that does not come.
    pub async fn broken(self) -> Told {
        // The idle ones learn of it when they ask, which must not be too early.
        let busy = u64::from(self.plan.talkers) + if self.plan.bytes > 0 { 2 } else { 0 };
        let failed = |told: &Told| told.get("faults") >= busy;
        self.ask("requests and transfers fail", "/", END, &failed).await;
        self.ask("the end is begun", "/stop", LONG, &|_| true).await;
        let over = self.ask("all connections fail", "/", END, &|told: &Told| told.state == "over").await;
        self.end().await;
        over
    }

    async fn end(self) {
        let Place::Pod { pods, name } = self.place else { return };
        let deleted = pods.delete(&name, &DeleteParams::default().grace_period(0)).await;
        deleted.unwrap_or_else(|error| panic!("pod {name}: {error}"));
        eventually(format!("pod {name} is gone"), LONG, async || match pods.get_opt(&name).await {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err("it is there".to_owned()),
            Err(error) => Err(error.to_string()),
        })
        .await;
    }

    async fn until(&self, what: &str, limit: Duration, reached: impl Fn(&Told) -> bool) -> Told {
        self.ask_until("/", what, limit, reached).await
    }

    /// Asks until it is reached, or something failed.
    async fn ask_until(
        &self,
        path: &str,
        what: &str,
        limit: Duration,
        reached: impl Fn(&Told) -> bool,
    ) -> Told {
        let told = self.ask(what, path, limit, &|told: &Told| !told.faults.is_empty() || reached(told)).await;
        assert!(told.faults.is_empty(), "{}: {told}", self.what);
        told
    }

    async fn ask(&self, what: &str, path: &str, limit: Duration, reached: &dyn Fn(&Told) -> bool) -> Told {
        let url = format!("{}{path}", self.control);
        eventually(format!("{}: {what}", self.what), limit, async || {
            // The way to the pod may be gone for the moment, which says nothing about the traffic.
            let output = self.client.attempt(&["get", &url]).await?;
            let told = if output.ok { Told::parse(&output.out) } else { return Err(output.err) };
            if reached(&told) { Ok(told) } else { Err(told.to_string()) }
        })
        .await
    }
}

impl Told {
    fn parse(text: &str) -> Self {
        let mut told = Self::default();
        for (key, value) in text.lines().filter_map(|line| line.split_once(' ')) {
            match (key, value.parse()) {
                ("fault", _) => told.faults.push(value.to_owned()),
                ("state", _) => value.clone_into(&mut told.state),
                (_, Ok(count)) => drop(told.counts.insert(key.to_owned(), count)),
                (_, Err(_)) => panic!("traffic tells {key} {value}"),
            }
        }
        told
    }

    /// A count; 0 when it was not told.
    #[must_use]
    pub fn get(&self, key: &str) -> u64 {
        self.counts.get(key).copied().unwrap_or(0)
    }
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.state)?;
        for (key, count) in &self.counts {
            write!(f, " {key}={count}")?;
        }
        for fault in self.faults.iter().take(20) {
            write!(f, "\n  {fault}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_read() {
        let told = Told::parse("state over\nms 12\nalive 3\nfault 7 talker 0: request 1: reset\n");
        assert_eq!((told.state.as_str(), told.get("alive"), told.get("asked")), ("over", 3, 0));
        assert_eq!(told.faults, ["7 talker 0: request 1: reset"]);
        assert_eq!(told.to_string(), "over alive=3 ms=12\n  7 talker 0: request 1: reset");
    }
}
