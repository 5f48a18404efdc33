//! The embedded cluster as a whole: its start and its end.

use std::fs::{File, TryLockError};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::addresses::Addresses;
use crate::cluster::Shared;
use crate::connection::Connections;
use crate::dns::{self, Sockets};
use crate::error::SimError;
use crate::faults::{Fault, Faults, InForce};
use crate::kubelet::{Images, Kubelet, Running, Spawner};
use crate::object::{name, namespace, now, set_meta, text};
use crate::options::Options;
use crate::store::{Inner, Store};
use crate::tokens::Tokens;
use crate::{admin, controllers, kinds, server, services, tls};

/// What a cluster's tasks get to end.
const END: Duration = Duration::from_secs(5);

/// An embedded cluster that runs. It ends with [`stop`](Self::stop); dropped, it ends as soon as its runtime comes to
/// it. Its pods' processes end with it in any case, also when this process is killed.
#[derive(Debug)]
pub struct Sim {
    shared: Arc<Shared>,
    folder: PathBuf,
    kubeconfig: PathBuf,
    // Removed, or free for others, when dropped.
    _hold: Hold,
}

/// What makes a folder this cluster's alone.
#[derive(Debug)]
enum Hold {
    /// It is its own.
    Temporary(#[expect(dead_code, reason = "removed when dropped")] TempDir),
    /// It is locked.
    Locked(File),
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Self::Locked(folder) = self {
            // Closing it is not enough: a process that is just being made may still have it.
            let _ = folder.unlock();
        }
    }
}

impl Sim {
    /// Starts a cluster: when this returns, its API answers and its node is ready.
    ///
    /// Needs a Tokio runtime, which has to live as long as the cluster. Not cancel-safe: files may stay behind.
    ///
    /// # Errors
    /// [`SimError`] when files, addresses or certificates cannot be had.
    pub async fn start(options: Options) -> Result<Self, SimError> {
        let (folder, hold) = folder(&options)?;
        let addresses = Addresses::claim().map_err(SimError::address("a part of 127/8"))?;
        let (host, nameserver) = (addresses.own(1), addresses.own(10));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await;
        let listener =
            listener.map_err(SimError::address(format!("the API at 127.0.0.1:{}", options.port)))?;
        let address = listener.local_addr().map_err(SimError::address("the API's address"))?;
        let (sockets, nameserver) = Sockets::bind(nameserver)
            .await
            .map_err(SimError::address(format!("the name server at {nameserver}")))?;
        let (acceptor, authority) = tls::make(&[IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V4(host)])?;
        let tokens = Arc::new(Tokens::new());
        let store = Arc::new(Store::new(addresses));
        store.with(|store| populate(store, &options, host));
        store.with(controllers::settle);

        let tasks = TaskTracker::new();
        let stop = CancellationToken::new();
        let spawner = Spawner::new().map_err(SimError::file("a thread that starts processes"))?;
        let kubelet = Arc::new(Kubelet {
            store: store.clone(),
            images: Images::new(options.images.clone()),
            spawner,
            tokens: tokens.clone(),
            authority: authority.clone(),
            host,
            nameserver,
            api: address,
            folder: folder.clone(),
            tasks: tasks.clone(),
            running: Running::default(),
        });
        let kubeconfig = folder.join("kubeconfig");
        write_kubeconfig(&kubeconfig, address, &authority, tokens.admin())?;
        let shared = Arc::new(Shared {
            store: store.clone(),
            kubelet: kubelet.clone(),
            faults: Faults::default(),
            tokens,
            connections: Connections::default(),
            address,
            spdy: options.spdy,
            tasks: tasks.clone(),
            stop: stop.clone(),
        });
        tasks.spawn(controllers::run(store.clone(), stop.clone()));
        tasks.spawn(kubelet.run(stop.clone()));
        tasks.spawn(services::run(store.clone(), tasks.clone(), stop.clone()));
        tasks.spawn(dns::run(store, sockets, tasks.clone(), stop));
        tasks.spawn(server::run(shared.clone(), listener, acceptor));
        Ok(Self { shared, folder, kubeconfig, _hold: hold })
    }

    /// The file by which clients find the cluster; it is gone with the cluster.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Where the API is served, by https.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// Makes the objects of manifests (YAML, several parted by `---`, or JSON), in `default` where they name no
    /// namespace; what is there already is changed to them.
    ///
    /// # Errors
    /// [`SimError::Manifest`] for the first that cannot be made; those before it are.
    pub fn apply(&self, manifests: &str) -> Result<(), SimError> {
        let wrong = |why: String| SimError::Manifest(why);
        let all: Vec<Value> =
            serde_saphyr::from_multiple(manifests).map_err(|error| wrong(error.to_string()))?;
        for mut object in all {
            let (version, kind) =
                (text(&object, "/apiVersion").to_owned(), text(&object, "/kind").to_owned());
            let kind = kinds::named(&version, &kind)
                .ok_or_else(|| wrong(format!("{version} {kind} is not known")))?;
            if kind.namespaced && namespace(&object).is_empty() {
                set_meta(&mut object, "namespace", "default");
            }
            let applied = self.shared.store.with(|store| store.apply(kind, object));
            applied.map_err(|failure| wrong(failure.message().to_owned()))?;
        }
        Ok(())
    }

    /// An object as it is stored: by its plural (as in `pods`), namespace (any for those that have none) and name.
    #[must_use]
    pub fn object(&self, plural: &str, namespace: &str, name: &str) -> Option<Value> {
        let kind = kinds::all().iter().find(|kind| kind.plural == plural)?;
        self.shared.store.get(kind, namespace, name).map(|object| (*object).clone())
    }

    /// All objects of a kind; of all namespaces for an empty one.
    #[must_use]
    pub fn objects(&self, plural: &str, namespace: &str) -> Vec<Value> {
        let kind = kinds::all().iter().find(|kind| kind.plural == plural);
        let found = kind.map(|kind| self.shared.store.list(kind, namespace)).unwrap_or_default();
        found.iter().map(|object| (**object).clone()).collect()
    }

    /// Waits until an object is as it should be. Cancel-safe; without a deadline of its own.
    pub async fn wait_for(
        &self,
        plural: &str,
        namespace: &str,
        name: &str,
        right: impl Fn(Option<&Value>) -> bool,
    ) {
        let mut changed = self.shared.store.subscribe();
        while !right(self.object(plural, namespace, name).as_ref()) {
            // The store lives as long as this.
            let _ = changed.changed().await;
        }
    }

    /// Runs a command in a pod's first container; its exit code, output and error output. Dropped before its end, it
    /// is killed.
    ///
    /// # Errors
    /// [`SimError::Missing`] when the pod does not run, or the command cannot be started.
    pub async fn exec(&self, namespace: &str, pod: &str, command: &[&str]) -> Result<Ended, SimError> {
        let missing = || SimError::Missing(format!("pod {namespace}/{pod} that runs"));
        let run = self.shared.kubelet.find(namespace, pod).ok_or_else(missing)?;
        let container = run.container("").ok_or_else(missing)?;
        let words: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
        let mut running = run.exec(container, &words).await.map_err(SimError::Missing)?;
        running.child.stdin.take();
        let (out, err) = (running.child.stdout.take(), running.child.stderr.take());
        let (out, err) = tokio::join!(read(out), read(err));
        let status =
            running.wait().await.map_err(SimError::file(command.first().copied().unwrap_or_default()))?;
        Ok(Ended { code: status.code(), out, err })
    }

    /// Orders misbehaviour; gives the number by which it is taken back.
    pub fn fault(&self, fault: Fault) -> u64 {
        self.shared.faults.add(fault)
    }

    /// Takes an order back.
    ///
    /// # Errors
    /// [`SimError::Missing`] when there is none of this number.
    pub fn mend(&self, id: u64) -> Result<(), SimError> {
        found(self.shared.faults.remove(id), || format!("fault {id}"))
    }

    /// Takes all orders back.
    pub fn mend_all(&self) {
        self.shared.faults.clear();
    }

    /// All orders in force, and what they did so far.
    #[must_use]
    pub fn faults(&self) -> Vec<InForce> {
        self.shared.faults.list()
    }

    /// Resets the clients' connections whose last request was about this resource, as in `pods/portforward`; all of
    /// them without one. Tells how many.
    pub fn cut(&self, resource: Option<&str>) -> usize {
        self.shared.connections.cut(resource)
    }

    /// Forgets all changes so far: a watch that wants to go on from an older version is told 410.
    pub fn compact(&self) {
        self.shared.store.with(Inner::compact);
    }

    /// From now on an image cannot be pulled, for this reason; with `None` it can again.
    pub fn break_image(&self, reference: &str, why: Option<&str>) {
        self.shared.kubelet.images.set_broken(reference, why.map(str::to_owned));
    }

    /// Sends a signal (`KILL`, `TERM`, `STOP`, `CONT`...) to all processes of a pod.
    ///
    /// # Errors
    /// [`SimError::Missing`] when there is no such pod or signal.
    pub fn signal_pod(&self, namespace: &str, pod: &str, signal: &str) -> Result<(), SimError> {
        let done = admin::signal_pod(&self.shared, namespace, pod, None, signal);
        done.map(drop).map_err(|failure| SimError::Missing(failure.message().to_owned()))
    }

    /// Lets a pod fail as one is evicted from a node that runs short.
    ///
    /// # Errors
    /// [`SimError::Missing`] when there is no such pod.
    pub fn evict_pod(&self, namespace: &str, pod: &str) -> Result<(), SimError> {
        let done = self.shared.kubelet.evict(namespace, pod, "The node was low on resource: memory.");
        found(done, || format!("pod {namespace}/{pod} that runs"))
    }

    /// Stops a node at once, with all that runs there.
    ///
    /// # Errors
    /// [`SimError::Missing`] when there is no such node.
    pub fn stop_node(&self, node: &str) -> Result<(), SimError> {
        found(self.shared.kubelet.stop_node(node), || format!("node {node}"))
    }

    /// Starts a node again.
    ///
    /// # Errors
    /// [`SimError::Missing`] when there is no such node.
    pub fn start_node(&self, node: &str) -> Result<(), SimError> {
        found(self.shared.kubelet.start_node(node), || format!("node {node}"))
    }

    /// Ends the cluster: all connections, all pods' processes; its files are removed.
    pub async fn stop(self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        // What does not end is killed when it is dropped with the runtime.
        if tokio::time::timeout(END, self.shared.tasks.wait()).await.is_err() {
            tracing::warn!("the embedded cluster's tasks do not end");
        }
        // Removed once more by the next start otherwise.
        clear(&self.folder);
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        clear(&self.folder);
    }
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code; none after a signal.
    pub code: Option<i32>,
    /// What it wrote.
    pub out: String,
    /// What it wrote about what went wrong.
    pub err: String,
}

async fn read(from: Option<impl AsyncRead + Unpin>) -> String {
    let mut text = Vec::new();
    if let Some(mut from) = from {
        // What came until then is told.
        let _ = from.read_to_end(&mut text).await;
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn found(found: bool, what: impl FnOnce() -> String) -> Result<(), SimError> {
    if found { Ok(()) } else { Err(SimError::Missing(what())) }
}

fn folder(options: &Options) -> Result<(PathBuf, Hold), SimError> {
    let Some(wanted) = &options.folder else {
        let made = tempfile::Builder::new().prefix("kubetether-sim-").tempdir();
        let made = made.map_err(SimError::file(std::env::temp_dir()))?;
        return Ok((made.path().to_owned(), Hold::Temporary(made)));
    };
    std::fs::create_dir_all(wanted).map_err(SimError::file(wanted))?;
    let whole = std::fs::canonicalize(wanted).map_err(SimError::file(wanted))?;
    let lock = File::open(&whole).map_err(SimError::file(&whole))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(SimError::InUse(whole)),
        Err(TryLockError::Error(error)) => return Err(SimError::file(whole)(error)),
    }
    clear(&whole);
    Ok((whole, Hold::Locked(lock)))
}

/// Removes what a cluster writes.
fn clear(folder: &Path) {
    let _ = std::fs::remove_file(folder.join("kubeconfig"));
    let _ = std::fs::remove_dir_all(folder.join("pods"));
}

fn write_kubeconfig(path: &Path, address: SocketAddr, authority: &str, token: &str) -> Result<(), SimError> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt;

    use base64::Engine as _;
    let authority = base64::engine::general_purpose::STANDARD.encode(authority);
    // JSON is YAML, too.
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "sim",
        "clusters": [{ "name": "sim", "cluster": { "server": format!("https://{address}"), "certificate-authority-data": authority } }],
        "users": [{ "name": "sim", "user": { "token": token } }],
        "contexts": [{ "name": "sim", "context": { "cluster": "sim", "user": "sim", "namespace": "default" } }],
    });
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| writeln!(file, "{config:#}"));
    written.map_err(SimError::file(path))
}

/// What is there from the start.
fn populate(store: &mut Inner, options: &Options, host: Ipv4Addr) {
    let namespaces = kinds::of("namespaces");
    let own = ["default", "kube-system", "kube-public"].into_iter().map(str::to_owned);
    for called in own.chain(options.namespaces.clone()) {
        put(store, namespaces, json!({ "metadata": { "name": called } }));
    }
    for number in 1..=options.nodes {
        let called = format!("sim-{number}");
        let node = json!({
            "metadata": { "name": called, "labels": {
                "kubernetes.io/hostname": called, "kubernetes.io/os": "linux", "kubernetes.io/arch": arch(),
            } },
            "spec": {},
            "status": {
                "conditions": [{ "type": controllers::NODE_READY, "status": "True", "reason": "KubeletReady", "lastTransitionTime": now() }],
                "addresses": [{ "type": "InternalIP", "address": host.to_string() }, { "type": "Hostname", "address": called }],
                "nodeInfo": { "architecture": arch(), "operatingSystem": "linux", "kubeletVersion": "v1.34.0+sim", "containerRuntimeVersion": "sim://1" },
                "capacity": { "cpu": "64", "memory": "64Gi", "pods": "1000" },
                "allocatable": { "cpu": "64", "memory": "64Gi", "pods": "1000" },
            },
        });
        put(store, kinds::of("nodes"), node);
    }
    // Not Services of `default`: nothing answers there, and programs find the API by their environment.
}

fn put(store: &mut Inner, kind: &kinds::Kind, object: Value) {
    if let Err(failure) = store.create(kind, object.clone()) {
        tracing::warn!(object = name(&object), "not made at the start: {}", failure.message());
    }
}

/// As nodes tell it.
fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
