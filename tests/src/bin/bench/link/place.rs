//! Where the link's figures are measured: a pod of the workload, and the ways to its ports.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::ListParams;
use kubetether_tests::{App, Command, Held, Scenario, Security, of_agents, of_process, scenario_within};

/// No part takes this long.
const LIMIT: Duration = Duration::from_secs(600);

const BYTES: u16 = 9100;
const HOLD: u16 = 9101;
const HTTP: u16 = 8080;

/// The ports of the pod, each with a forward of its own; some are needed more than once, since a forward bears 4,096
/// connections.
pub(super) const PORTS: [u16; 5] = [BYTES, HTTP, HOLD, HOLD, HOLD];

/// A scenario with a pod.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    pub(super) at: &'a Scenario,
    pub(super) pod: String,
}

/// The link's way: the command and its gateway.
#[derive(Debug)]
pub(crate) struct Forward {
    command: Command,
    addresses: Vec<SocketAddr>,
}

/// Runs `body` beside a fresh pod.
pub(super) fn beside(name: &str, body: impl AsyncFnOnce(&Place<'_>)) {
    beside_within(LIMIT, name, body);
}

/// As [`beside`], for one that takes longer.
pub(crate) fn beside_within(limit: Duration, name: &str, body: impl AsyncFnOnce(&Place<'_>)) {
    scenario_within(limit, Security::Privileged, name, async |at| {
        let app = App::new("target").serving("bytes", BYTES).serving("hold", HOLD).port("http", 80, HTTP);
        at.shop(&app).await;
        let pods = at.namespace().api::<Pod>();
        let list = pods.list(&ListParams::default().labels("app=target")).await;
        let list = list.unwrap_or_else(|error| panic!("the pod: {error}"));
        let pod = list.items.first().unwrap_or_else(|| panic!("no pod")).name_any();
        body(&Place { at, pod }).await;
    });
}

impl Place<'_> {
    pub(super) fn namespace(&self) -> &str {
        self.at.namespace().name()
    }

    pub(crate) fn kubeconfig(&self) -> &Path {
        self.at.cluster().kubeconfig()
    }

    /// Forwards of [`PORTS`] by the command.
    pub(super) async fn forward(&self) -> Forward {
        self.forward_by(self.kubeconfig()).await
    }

    /// As [`forward`](Self::forward), by another way to the API server.
    pub(crate) async fn forward_by(&self, kubeconfig: &Path) -> Forward {
        let places = PORTS.map(|port| format!("pod/{}:{port}", self.pod));
        let mut args = vec!["--namespace", self.namespace(), "forward"];
        args.extend(places.iter().map(String::as_str));
        let mut command = Command::start_with(kubeconfig, &args);
        let mut addresses = vec![SocketAddr::from(([0, 0, 0, 0], 0)); PORTS.len()];
        for _ in PORTS {
            let told = command.told("forward").await;
            let mut free = places
                .iter()
                .zip(&addresses)
                .map(|(place, address)| told["destination"] == place.as_str() && address.port() == 0);
            let index = free.position(|free| free);
            let address = told["address"].as_str().and_then(|address| address.parse().ok());
            let (Some(index), Some(address)) = (index, address) else { panic!("{told}") };
            addresses[index] = address;
        }
        Forward { command, addresses }
    }

    /// What the gateway holds.
    pub(crate) async fn gateway(&self) -> Held {
        let mut agents = of_agents(self.at.namespace()).await;
        assert_eq!(agents.len(), 1, "{agents:?}");
        agents.remove(0)
    }
}

impl Forward {
    pub(crate) fn bytes(&self) -> SocketAddr {
        self.addresses[0]
    }

    pub(super) fn hold(&self) -> &[SocketAddr] {
        &self.addresses[2..]
    }

    pub(crate) fn http(&self) -> SocketAddr {
        self.addresses[1]
    }

    pub(super) fn id(&self) -> u32 {
        self.command.id()
    }

    /// What the command holds.
    pub(crate) fn held(&self) -> Held {
        of_process(self.id())
    }

    /// Ends the command and waits until nothing of it is left.
    pub(crate) async fn end(self) {
        self.command.signal("INT").await;
        let ended = self.command.ended().await;
        assert_eq!(ended.code, Some(0), "{}", ended.errors);
    }
}
