//! Services: each port of each ClusterIP leads to the endpoints behind it, chosen for every connection.
//!
//! What kube-proxy does in the kernel is done by relaying here. While nobody is behind a port nobody listens there, so
//! that callers are refused.

mod backends;
mod listening;
mod tcp;
mod udp;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::backends::Backends;
use self::listening::Table;
use crate::kinds;
use crate::object::{list, name, namespace, number, text};
use crate::store::{Inner, Store, tell};

/// A port of a Service, as callers know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Front {
    address: SocketAddr,
    udp: bool,
}

/// A port that is served.
struct Served {
    // services -> the port's task: who is behind it
    backends: watch::Sender<Arc<Backends>>,
    stop: CancellationToken,
}

/// Keeps all ports as the store says, until `stop`.
pub(crate) async fn run(store: Arc<Store>, tasks: TaskTracker, stop: CancellationToken) {
    let mut changed = store.subscribe();
    let mut served: BTreeMap<Front, Served> = BTreeMap::new();
    let all = All { store: store.clone(), tasks, stop: stop.clone(), listening: Arc::default() };
    loop {
        let wanted = store.with(wanted);
        served.retain(|front, one| {
            let stays = wanted.contains_key(front);
            if !stays {
                one.stop.cancel();
            }
            stays
        });
        for (front, backends) in wanted {
            let backends = Arc::new(backends);
            match served.get(&front) {
                Some(one) => drop(one.backends.send_if_modified(|known| {
                    let differs = **known != *backends;
                    *known = backends;
                    differs
                })),
                None => drop(served.insert(front, all.serve(front, backends))),
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            // The store goes only after its Services.
            _ = changed.changed() => {}
        }
        changed.mark_unchanged();
    }
}

/// What all ports share.
struct All {
    store: Arc<Store>,
    tasks: TaskTracker,
    stop: CancellationToken,
    listening: Arc<Table>,
}

impl All {
    fn serve(&self, front: Front, backends: Arc<Backends>) -> Served {
        let (sender, watched) = watch::channel(backends);
        let stop = self.stop.child_token();
        let (of, store, tasks, listening) =
            (stop.clone(), self.store.clone(), self.tasks.clone(), self.listening.clone());
        self.tasks.spawn(async move {
            let serving = async {
                let done = if front.udp {
                    udp::serve(front.address, watched).await
                } else {
                    tcp::Port::new(watched, listening, tasks, of.clone()).serve(front.address).await
                };
                if let Err(error) = done {
                    store.with(|store| complain(store, front, &error));
                }
            };
            tokio::select! {
                () = serving => {}
                () = of.cancelled() => {}
            }
        });
        Served { backends: sender, stop }
    }
}

/// A port that cannot be listened on, most often since ports below 1024 need rights.
fn complain(store: &mut Inner, front: Front, error: &std::io::Error) {
    let kind = kinds::of("services");
    let address = front.address.ip().to_string();
    let Some(service) = store.list(kind, "").into_iter().find(|one| text(one, "/spec/clusterIP") == address)
    else {
        return;
    };
    let denied = error.kind() == std::io::ErrorKind::PermissionDenied;
    let hint = if denied {
        "; ports below 1024 need rights: use another Service port, or set the sysctl net.ipv4.ip_unprivileged_port_start"
    } else {
        ""
    };
    let message = format!("port {} cannot be served: {error}{hint}", front.address.port());
    tracing::warn!(service = name(&service), namespace = namespace(&service), "{message}");
    tell(store, kind, &service, true, "PortNotServed", &message);
}

/// All ports that are to be served, and who is behind each.
fn wanted(store: &mut Inner) -> BTreeMap<Front, Backends> {
    let mut all = BTreeMap::new();
    let slices = store.list(kinds::of("endpointslices"), "");
    for service in store.list(kinds::of("services"), "") {
        let Ok(address) = text(&service, "/spec/clusterIP").parse() else { continue };
        let own: Vec<&Value> = slices
            .iter()
            .filter(|slice| namespace(slice) == namespace(&service))
            .filter(|slice| slice["metadata"]["labels"]["kubernetes.io/service-name"] == name(&service))
            .map(|slice| &**slice)
            .collect();
        for port in list(&service, "/spec/ports") {
            let Some(number) = number(port, "/port").and_then(|number| u16::try_from(number).ok()) else {
                continue;
            };
            let udp = text(port, "/protocol") == "UDP";
            let front = Front { address: SocketAddr::new(address, number), udp };
            all.insert(front, Backends::of(&service, port, &own));
        }
    }
    all
}
