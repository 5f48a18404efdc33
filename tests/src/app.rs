//! The user's application: a Deployment of the workload and the Services before it.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::client::Client;
use crate::namespace::Namespace;
use crate::wait::{LONG, eventually};

/// The image of all pods of the tests.
pub const IMAGE: &str = "kubetether.test/workload:1";

/// The name by which the application's pods answer.
pub const CLUSTER: &str = "cluster";

/// The client pod's name.
const CLIENT: &str = "client";

/// A Deployment and its Service, described.
#[derive(Clone, Debug)]
pub struct App {
    name: String,
    replicas: i32,
    // by which its pods answer
    answers: String,
    probed: bool,
    // habit of the workload, port
    habits: Vec<(String, u16)>,
    ports: Vec<Value>,
    spec: Value,
}

impl App {
    /// A Deployment and a Service of this name, answering HTTP on 8080, with no Service port yet.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            replicas: 1,
            answers: CLUSTER.to_owned(),
            probed: false,
            habits: vec![("http".to_owned(), 8080)],
            ports: Vec::new(),
            spec: json!({}),
        }
    }

    /// The usual one: `orders`, port 80 to the HTTP server's 8080.
    #[must_use]
    pub fn orders() -> Self {
        Self::new("orders").port("http", 80, 8080)
    }

    /// So many pods.
    #[must_use]
    pub fn replicas(mut self, count: i32) -> Self {
        self.replicas = count;
        self
    }

    /// Its pods answer by another name than [`CLUSTER`].
    #[must_use]
    pub fn answering(mut self, name: &str) -> Self {
        name.clone_into(&mut self.answers);
        self
    }

    /// Its pods are ready when they listen, not when they are started: a roll-out then loses nothing.
    #[must_use]
    pub fn probed(mut self) -> Self {
        self.probed = true;
        self
    }

    /// A further port of the pods, served by a habit of the workload, as in `("echo", 9000)`. Its name in
    /// the pod is `echo-9000`.
    #[must_use]
    pub fn serving(mut self, habit: &str, port: u16) -> Self {
        self.habits.push((habit.to_owned(), port));
        self
    }

    /// A TCP port of the Service; `target` is a number or a port's name in the pod.
    #[must_use]
    pub fn port(mut self, name: &str, port: u16, target: impl Into<Value>) -> Self {
        self.ports
            .push(json!({ "name": name, "port": port, "targetPort": target.into(), "protocol": "TCP" }));
        self
    }

    /// A UDP port of the Service and of the pods.
    #[must_use]
    pub fn udp(mut self, name: &str, port: u16) -> Self {
        self.habits.push(("udp".to_owned(), port));
        self.ports.push(json!({ "name": name, "port": port, "targetPort": port, "protocol": "UDP" }));
        self
    }

    /// Further fields of the Service's spec.
    #[must_use]
    pub fn service_spec(mut self, spec: Value) -> Self {
        self.spec = spec;
        self
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `NAME:PORT` of the Service's first TCP port.
    #[must_use]
    pub fn first_address(&self) -> Option<String> {
        let tcp = self.ports.iter().find(|port| port["protocol"] == "TCP")?;
        Some(format!("{}:{}", self.name, tcp["port"]))
    }

    /// Makes its objects and waits until all its pods are ready behind the Service.
    ///
    /// # Panics
    /// When the cluster refuses them or they do not become ready.
    pub async fn deploy(&self, namespace: &Namespace) {
        namespace.create_object(&self.deployment()).await;
        namespace.create_object(&self.service()).await;
        self.ready(namespace).await;
    }

    /// Waits until as many pods are ready behind the Service as the Deployment should have.
    ///
    /// # Panics
    /// When that does not come.
    pub async fn ready(&self, namespace: &Namespace) {
        let slices = namespace.api::<EndpointSlice>();
        let of_service = ListParams::default().labels(&format!("kubernetes.io/service-name={}", self.name));
        let wanted = usize::try_from(self.replicas).unwrap_or_default();
        eventually(format!("{} ready pods of {}", wanted, self.name), LONG, async || {
            let list = slices.list(&of_service).await.map_err(|error| error.to_string())?;
            let ready = |slice: &EndpointSlice| {
                let endpoints = slice.endpoints.iter();
                endpoints
                    .filter(|one| one.conditions.as_ref().is_some_and(|is| is.ready == Some(true)))
                    .count()
            };
            let found: usize = list.items.iter().map(ready).sum();
            if found == wanted { Ok(()) } else { Err(format!("{found} are ready")) }
        })
        .await;
    }

    /// Rolls out what this describes over what is there, and waits until the cluster has done so.
    ///
    /// # Panics
    /// When it is refused or does not come.
    pub async fn roll_out(&self, namespace: &Namespace) {
        let deployments = namespace.api::<Deployment>();
        let patch = Patch::Strategic(self.deployment());
        let patched = deployments.patch(&self.name, &PatchParams::default(), &patch).await;
        let generation = patched.unwrap_or_else(|error| panic!("deployment: {error}")).metadata.generation;
        self.arrived(namespace, generation).await;
    }

    /// Gives its Deployment so many pods, and waits until it has them.
    ///
    /// # Panics
    /// When it is refused or does not come.
    pub async fn scale(mut self, namespace: &Namespace, replicas: i32) {
        self.replicas = replicas;
        let patch = Patch::Merge(json!({ "spec": { "replicas": replicas } }));
        let deployments = namespace.api::<Deployment>();
        let patched = deployments.patch(&self.name, &PatchParams::default(), &patch).await;
        let generation = patched.unwrap_or_else(|error| panic!("deployment: {error}")).metadata.generation;
        self.arrived(namespace, generation).await;
    }

    /// Waits until the Deployment is as its spec of this generation wants it.
    async fn arrived(&self, namespace: &Namespace, generation: Option<i64>) {
        let deployments = namespace.api::<Deployment>();
        eventually(format!("generation {generation:?} of deployment {}", self.name), LONG, async || {
            let found = deployments.get(&self.name).await.map_err(|error| error.to_string())?;
            let status = found.status.unwrap_or_default();
            let counts = [status.updated_replicas, status.available_replicas, status.replicas];
            let done = counts.map(Option::unwrap_or_default) == [self.replicas; 3];
            if done && status.observed_generation >= generation { Ok(()) } else { Err(format!("{status:?}")) }
        })
        .await;
    }

    fn deployment(&self) -> Deployment {
        let labels = json!({ "app": self.name });
        let mut args = vec!["serve".to_owned(), "--name".to_owned(), self.answers.clone()];
        let mut ports = Vec::new();
        for (habit, port) in &self.habits {
            args.extend([format!("--{habit}"), port.to_string()]);
            let protocol = if habit == "udp" { "UDP" } else { "TCP" };
            ports.push(
                json!({ "name": format!("{habit}-{port}"), "containerPort": port, "protocol": protocol }),
            );
        }
        let mut spec = pod_spec(&self.name, &args, &ports);
        if self.probed {
            let probe = json!({ "tcpSocket": { "port": self.habits[0].1 }, "periodSeconds": 1 });
            spec["containers"][0]["readinessProbe"] = probe;
        }
        object(json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": self.name, "labels": labels },
            "spec": {
                "replicas": self.replicas,
                "selector": { "matchLabels": labels },
                "template": {
                    "metadata": { "labels": labels },
                    "spec": spec,
                },
            },
        }))
    }

    fn service(&self) -> Service {
        object(self.manifest())
    }

    /// The Service as somebody would keep it in a file.
    #[must_use]
    pub fn manifest(&self) -> Value {
        let mut spec = json!({ "selector": { "app": self.name }, "ports": self.ports });
        if let (Some(spec), Some(more)) = (spec.as_object_mut(), self.spec.as_object()) {
            spec.extend(more.clone());
        }
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": self.name, "labels": { "app": self.name } },
            "spec": spec,
        })
    }
}

/// Makes the pod that asks, and waits until commands can be run in it.
///
/// # Panics
/// When the cluster refuses it or it does not start.
pub(crate) async fn client_pod(namespace: &Namespace) -> Client {
    let pod: Pod = object(json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": CLIENT },
        "spec": pod_spec(CLIENT, &["idle".to_owned()], &[]),
    }));
    namespace.create_object(&pod).await;
    let pods = namespace.api::<Pod>();
    eventually("the client pod", LONG, async || {
        let pod = pods.get(CLIENT).await.map_err(|error| error.to_string())?;
        let status = pod.status.unwrap_or_default();
        let containers = status.container_statuses.unwrap_or_default();
        if containers.iter().any(|one| one.ready) { Ok(()) } else { Err(format!("{:?}", status.phase)) }
    })
    .await;
    Client::in_pod(pods, CLIENT)
}

/// As PodSecurity's `restricted` wants it, and small.
pub(crate) fn pod_spec(name: &str, args: &[String], ports: &[Value]) -> Value {
    json!({
        // The program leaves signals to the kernel, which spares a container's first process.
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "securityContext": {
            "runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": { "type": "RuntimeDefault" },
            "sysctls": [{ "name": "net.ipv4.ip_unprivileged_port_start", "value": "0" }],
        },
        "containers": [{
            "name": name, "image": IMAGE, "imagePullPolicy": "IfNotPresent", "args": args, "ports": ports,
            "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
            "resources": {
                "requests": { "cpu": "5m", "memory": "16Mi" }, "limits": { "cpu": "2", "memory": "256Mi" },
            },
        }],
    })
}

/// An object from its manifest.
///
/// # Panics
/// When it is none of that kind.
pub(crate) fn object<K: serde::de::DeserializeOwned>(manifest: Value) -> K {
    serde_json::from_value(manifest)
        .unwrap_or_else(|error| panic!("a manifest of the tests is wrong: {error}"))
}
