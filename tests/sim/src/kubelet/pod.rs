//! One pod, from its first container to its last.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

use super::container::Container;
use super::environment::{self, Surroundings};
use super::images::Images;
use super::process::{Running, Spawner};
use super::status::{self, Phase, Whole};
use super::{Kubelet, volumes};
use crate::addresses::Use;
use crate::kinds;
use crate::object::{is_deleting, list, name, namespace, text, uid};
use crate::store::{Object, Store, tell};

/// Between two looks at a volume's source that is not there.
const MOUNT_AGAIN: Duration = Duration::from_millis(100);
/// How long an evicted pod's processes have to end.
const EVICTED: Duration = Duration::from_secs(1);

/// A pod that this kubelet runs.
#[derive(Debug)]
pub(crate) struct Run {
    kubelet: Arc<Kubelet>,
    first: Object,
    around: Surroundings,
    containers: Vec<Arc<Container>>,
    // manager -> containers: leave within this time
    leave: watch::Sender<Option<Duration>>,
    initialized: AtomicBool,
}

impl Run {
    pub(super) fn new(kubelet: Arc<Kubelet>, pod: Object) -> Option<Arc<Self>> {
        let known: Option<Ipv4Addr> = text(&pod, "/status/podIP").parse().ok();
        let address = known.or_else(|| kubelet.store.with(|store| store.addresses.take(Use::Pod)))?;
        let around = Surroundings {
            address,
            nameserver: kubelet.nameserver,
            api: kubelet.api,
            folder: environment::folder(&kubelet.folder, uid(&pod)),
        };
        let inits = list(&pod, "/spec/initContainers").iter().map(|spec| Container::new(spec.clone(), true));
        let others = list(&pod, "/spec/containers").iter().map(|spec| Container::new(spec.clone(), false));
        let containers = inits.chain(others).collect();
        let initialized = AtomicBool::new(list(&pod, "/spec/initContainers").is_empty());
        let leave = watch::Sender::new(None);
        Some(Arc::new(Self { kubelet, first: pod, around, containers, leave, initialized }))
    }

    pub(super) fn uid(&self) -> &str {
        uid(&self.first)
    }

    pub(super) fn node(&self) -> &str {
        text(&self.first, "/spec/nodeName")
    }

    pub(crate) fn address(&self) -> Ipv4Addr {
        self.around.address
    }

    pub(super) fn around(&self) -> &Surroundings {
        &self.around
    }

    pub(super) fn store(&self) -> &Store {
        &self.kubelet.store
    }

    pub(super) fn images(&self) -> &Images {
        &self.kubelet.images
    }

    pub(super) fn spawner(&self) -> &Spawner {
        &self.kubelet.spawner
    }

    pub(super) fn tasks(&self) -> &TaskTracker {
        &self.kubelet.tasks
    }

    pub(super) fn restart_policy(&self) -> &str {
        text(&self.first, "/spec/restartPolicy")
    }

    /// The container of this name; the first one without a name.
    pub(crate) fn container(&self, called: &str) -> Option<&Arc<Container>> {
        let mut fit = self
            .containers
            .iter()
            .filter(|one| if called.is_empty() { !one.init } else { one.name() == called });
        fit.next()
    }

    pub(crate) fn containers(&self) -> &[Arc<Container>] {
        &self.containers
    }

    /// All containers are to leave within this time.
    pub(super) fn ask_to_leave(&self, grace: Duration) {
        self.leave.send_if_modified(|asked| {
            let shorter = asked.is_none_or(|asked| grace < asked);
            if shorter {
                *asked = Some(grace);
            }
            shorter
        });
    }

    /// The pod as it is stored, with the address it has here; as it was, when it is gone.
    pub(super) fn pod(&self) -> Value {
        let found = self.store().get(kinds::of("pods"), namespace(&self.first), name(&self.first));
        let mut pod =
            (*found.filter(|pod| uid(pod) == self.uid()).unwrap_or_else(|| self.first.clone())).clone();
        let address = self.around.address.to_string();
        pod["status"]["podIP"] = address.clone().into();
        pod["status"]["podIPs"] = serde_json::json!([{ "ip": address }]);
        pod["status"]["hostIP"] = self.kubelet.host.to_string().into();
        pod
    }

    /// Tells an event of the pod.
    pub(super) fn tell(&self, warning: bool, reason: &str, message: &str) {
        self.store().with(|store| tell(store, kinds::of("pods"), &self.first, warning, reason, message));
    }

    /// Starts a further process with a container's surroundings.
    pub(crate) async fn exec(&self, container: &Container, words: &[String]) -> Result<Running, String> {
        let image = self.images().find(text(&container.spec, "/image"))?;
        let pod = self.pod();
        let mut command =
            environment::command(self.store(), &pod, &container.spec, &image, &self.around, Some(words))?;
        command.stdin(std::process::Stdio::piped());
        let first = words.first().map_or("", String::as_str);
        self.spawner().start(command).await.map_err(|error| format!("exec: {first:?}: {error}"))
    }

    /// Runs the pod to its end, and takes it away when it was to be deleted.
    pub(super) async fn run(self: Arc<Self>) {
        let mut leave = self.leave.subscribe();
        let mut all = JoinSet::new();
        let lived = async {
            self.mount().await;
            for one in self.containers.iter().filter(|one| one.init) {
                one.clone().run(self.clone(), self.leave.subscribe()).await;
                if one.lock().ended().is_none_or(|ended| ended.code != 0) {
                    return false;
                }
            }
            self.initialized.store(true, Ordering::Release);
            true
        };
        let prepared = tokio::select! {
            prepared = lived => prepared,
            // Init containers hear of it themselves.
            () = self.nothing_to_end(&mut leave) => false,
        };
        if prepared {
            for one in self.containers.iter().filter(|one| !one.init) {
                all.spawn(one.clone().run(self.clone(), self.leave.subscribe()));
            }
            while all.join_next().await.is_some() {}
        } else {
            self.containers.iter().for_each(|one| one.lock().done = true);
        }
        self.publish();
        // Over; it stays until somebody deletes it.
        if leave.wait_for(Option::is_some).await.is_ok() {
            // What is left of it goes with the cluster.
            let _ = std::fs::remove_dir_all(&self.around.folder);
            // One that was evicted stays as well.
            if is_deleting(&self.pod()) {
                self.store()
                    .with(|store| store.pod_is_over(namespace(&self.first), name(&self.first), self.uid()));
            }
        }
    }

    /// Asked to leave before anything ran.
    async fn nothing_to_end(&self, leave: &mut watch::Receiver<Option<Duration>>) {
        // An error means that nobody will ask any more.
        let _ = leave.wait_for(Option::is_some).await;
        while self.containers.iter().any(|one| one.is_running()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn mount(&self) {
        self.publish();
        let mut told = String::new();
        loop {
            let done = self.around.prepare(&self.first).map_err(|error| error.to_string());
            let done = done
                .and_then(|()| volumes::make(self.kubelet.sources(), &self.pod(), &self.around.volumes()));
            let Err(why) = done else { return };
            if why != told {
                self.tell(true, "FailedMount", &why);
                told = why;
            }
            tokio::time::sleep(MOUNT_AGAIN).await;
        }
    }

    /// Writes the pod's status.
    pub(super) fn publish(&self) {
        let (mut containers, mut inits) = (Vec::new(), Vec::new());
        let mut whole = Whole {
            initialized: self.initialized.load(Ordering::Acquire),
            any_ran: false,
            all_done: true,
            all_good: true,
            all_ready: true,
        };
        for one in &self.containers {
            let state = one.lock();
            let object = state.object(&one.spec, self.uid());
            let good = state.ended().is_some_and(|ended| ended.code == 0);
            if one.init {
                inits.push(object);
                whole.all_good &= good;
                continue;
            }
            containers.push(object);
            whole.any_ran |= state.restarts > 0 || !matches!(state.phase, Phase::Waiting { .. });
            whole.all_done &= state.done;
            whole.all_good &= good;
            whole.all_ready &= state.ready;
        }
        whole.all_ready &= whole.initialized;
        let (address, host) = (self.around.address.to_string(), self.kubelet.host.to_string());
        self.store().with(|store| {
            store.change(kinds::of("pods"), namespace(&self.first), name(&self.first), |pod| {
                if uid(pod) == self.uid() && text(pod, "/status/reason") != "Evicted" {
                    pod["status"] = status::compose(pod, whole, containers, inits, &address, &host);
                }
            });
        });
    }

    /// As the kubelet does when its node runs short: the pod fails, its processes end.
    pub(super) fn evict(&self, why: &str) {
        self.store().with(|store| {
            store.change(kinds::of("pods"), namespace(&self.first), name(&self.first), |pod| {
                pod["status"]["phase"] = "Failed".into();
                pod["status"]["reason"] = "Evicted".into();
                pod["status"]["message"] = why.into();
                for one in pod["status"]["conditions"].as_array_mut().into_iter().flatten() {
                    if matches!(text(one, "/type"), "Ready" | "ContainersReady") {
                        *one = crate::object::new_condition(None, text(one, "/type"), false, "PodFailed");
                    }
                }
            });
        });
        self.tell(true, "Evicted", why);
        // The processes end; the pod stays, as what it has become.
        self.ask_to_leave(EVICTED);
    }
}
