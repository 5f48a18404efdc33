//! The kubelet of all nodes: pods become processes.

mod container;
mod environment;
mod fields;
mod images;
mod log;
mod pod;
mod probe;
mod process;
mod status;
mod volumes;

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use self::container::Container;
pub(crate) use self::images::Images;
pub(crate) use self::log::{Line, Log};
pub(crate) use self::pod::Run;
pub(crate) use self::process::Spawner;
use crate::kinds;
use crate::object::{is_deleting, name, namespace, new_condition, number, text, uid};
use crate::store::{Object, Store};
use crate::tokens::Tokens;

/// A pod that was deleted by force has this long to end.
const FORCED: Duration = Duration::from_secs(1);

/// Runs the pods of all nodes.
#[derive(Debug)]
pub(crate) struct Kubelet {
    pub(crate) store: Arc<Store>,
    pub(crate) images: Images,
    pub(crate) spawner: Spawner,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) authority: String,
    /// The address of the nodes.
    pub(crate) host: Ipv4Addr,
    pub(crate) nameserver: SocketAddr,
    pub(crate) api: SocketAddr,
    /// Where pods' files are.
    pub(crate) folder: PathBuf,
    pub(crate) tasks: TaskTracker,
    pub(crate) running: Running,
}

/// What runs now, and which nodes do not.
#[derive(Debug, Default)]
pub(crate) struct Running {
    pods: Mutex<HashMap<String, (Arc<Run>, CancellationToken)>>,
    stopped: Mutex<HashSet<String>>,
}

impl Kubelet {
    /// Follows the store until `stop`; then all processes are killed.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut changed = self.store.subscribe();
        loop {
            self.follow();
            tokio::select! {
                () = stop.cancelled() => break,
                // The store goes only after its kubelet.
                _ = changed.changed() => {}
            }
            changed.mark_unchanged();
        }
        for (run, given_up) in lock(&self.running.pods).values() {
            run.containers().iter().for_each(|one| one.signal(rustix::process::Signal::KILL));
            given_up.cancel();
        }
    }

    /// Starts what is new and ends what is to go.
    fn follow(self: &Arc<Self>) {
        let all = self.store.list(kinds::of("pods"), "");
        let stopped = lock(&self.running.stopped).clone();
        let mut pods = lock(&self.running.pods);
        let there: HashSet<&str> = all.iter().map(|pod| uid(pod)).collect();
        pods.retain(|id, (run, _)| {
            let is_there = there.contains(id.as_str());
            if !is_there {
                // By force: the pod is gone before its processes.
                run.ask_to_leave(FORCED);
            }
            is_there
        });
        for pod in &all {
            let node = text(pod, "/spec/nodeName");
            if node.is_empty() || stopped.contains(node) {
                continue;
            }
            if let Some((run, _)) = pods.get(uid(pod)) {
                if is_deleting(pod) {
                    let grace = number(pod, "/metadata/deletionGracePeriodSeconds").unwrap_or(0);
                    run.ask_to_leave(Duration::from_secs(grace.try_into().unwrap_or_default()));
                }
            } else if is_deleting(pod) {
                // Its node was away, or it never began.
                self.store.with(|store| store.pod_is_over(namespace(pod), name(pod), uid(pod)));
            } else if !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed") {
                self.begin(&mut pods, pod);
            }
        }
    }

    fn begin(self: &Arc<Self>, pods: &mut HashMap<String, (Arc<Run>, CancellationToken)>, pod: &Object) {
        let Some(run) = Run::new(self.clone(), pod.clone()) else {
            tracing::warn!(pod = name(pod), "no address is left for a pod");
            return;
        };
        let given_up = CancellationToken::new();
        pods.insert(uid(pod).to_owned(), (run.clone(), given_up.clone()));
        self.tasks.spawn(async move {
            tokio::select! {
                () = run.run() => {}
                // Its processes are killed as they are dropped.
                () = given_up.cancelled() => {}
            }
        });
    }

    /// The pod of this name, if it runs here.
    pub(crate) fn find(&self, of: &str, called: &str) -> Option<Arc<Run>> {
        let pod = self.store.get(kinds::of("pods"), of, called)?;
        lock(&self.running.pods).get(uid(&pod)).map(|(run, _)| run.clone())
    }

    /// A pod's node runs short of something.
    pub(crate) fn evict(&self, of: &str, called: &str, why: &str) -> bool {
        let found = self.find(of, called);
        found.inspect(|run| run.evict(why)).is_some()
    }

    /// The node is gone at once, with all that ran there, and nobody says goodbye.
    pub(crate) fn stop_node(&self, called: &str) -> bool {
        if !self.set_node(called, false) {
            return false;
        }
        lock(&self.running.stopped).insert(called.to_owned());
        lock(&self.running.pods).retain(|_, (run, given_up)| {
            let stays = run.node() != called;
            if !stays {
                run.containers().iter().for_each(|one| one.signal(rustix::process::Signal::KILL));
                given_up.cancel();
            }
            stays
        });
        true
    }

    /// The node is back; what is still meant to run there is started.
    pub(crate) fn start_node(&self, called: &str) -> bool {
        lock(&self.running.stopped).remove(called);
        self.set_node(called, true)
    }

    fn set_node(&self, called: &str, ready: bool) -> bool {
        let nodes = kinds::of("nodes");
        if self.store.get(nodes, "", called).is_none() {
            return false;
        }
        let reason = if ready { "KubeletReady" } else { "NodeStatusUnknown" };
        self.store.with(|store| {
            store.change(nodes, "", called, |node| {
                let mut condition = new_condition(None, crate::controllers::NODE_READY, ready, reason);
                if !ready {
                    condition["status"] = "Unknown".into();
                }
                node["status"]["conditions"] = serde_json::json!([condition]);
            });
        });
        true
    }

    pub(crate) fn sources(&self) -> volumes::Sources<'_> {
        volumes::Sources { store: &self.store, tokens: &self.tokens, authority: &self.authority }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
