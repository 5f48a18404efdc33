//! A cluster for each test, and waiting.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kubetether_sim::{Options, Sim};
use serde_json::Value;

/// The tests' program in pods.
pub(crate) const WORKLOAD: &str = "kubetether.test/workload:1";
/// A shell in pods: a container of it runs `/sh`.
pub(crate) const SHELL: &str = "shell:1";

/// Longer than anything takes on a loaded machine.
const LIMIT: Duration = Duration::from_secs(30);

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A cluster with a shell, and the workload where it is built.
pub(crate) fn options() -> Options {
    let options = Options::new().image(SHELL, "/bin/sh");
    options.image(WORKLOAD, root().join("target/workload/workload"))
}

pub(crate) async fn sim() -> Sim {
    Sim::start(options()).await.unwrap()
}

/// For tests that serve from pods.
pub(crate) async fn sim_with_workload() -> Sim {
    let program = root().join("target/workload/workload");
    assert!(program.is_file(), "{} is missing: `make workload` builds it", program.display());
    sim().await
}

pub(crate) async fn client(sim: &Sim) -> kube::Client {
    let read = Kubeconfig::read_from(sim.kubeconfig()).unwrap();
    let config = kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await.unwrap();
    kube::Client::try_from(config).unwrap()
}

/// What comes, or a panic that tells what did not.
pub(crate) async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, work).await.unwrap_or_else(|_| panic!("not within {LIMIT:?}: {what}"))
}

/// Waits until an object of `default` is as it should be.
pub(crate) async fn until(sim: &Sim, plural: &str, name: &str, right: impl Fn(&Value) -> bool) {
    let there = |object: Option<&Value>| object.is_some_and(&right);
    soon(&format!("{plural}/{name}"), sim.wait_for(plural, "default", name, there)).await;
}

/// Waits until there is no object of this name in `default`.
pub(crate) async fn until_gone(sim: &Sim, plural: &str, name: &str) {
    soon(&format!("no {plural}/{name}"), sim.wait_for(plural, "default", name, |object| object.is_none()))
        .await;
}

/// Asks again until it is right.
pub(crate) async fn eventually<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    soon(what, async {
        loop {
            if let Some(found) = attempt().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}

pub(crate) fn is_ready(pod: &Value) -> bool {
    let all = pod["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
}

/// The first pod of these labels.
pub(crate) fn pod_of(sim: &Sim, app: &str) -> Option<Value> {
    sim.objects("pods", "default").into_iter().find(|pod| pod["metadata"]["labels"]["app"] == app)
}

pub(crate) fn name(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}

/// A pod that runs a script.
pub(crate) fn script(called: &str, script: &str, policy: &str) -> String {
    format!(
        r#"{{"apiVersion": "v1", "kind": "Pod", "metadata": {{"name": "{called}", "labels": {{"app": "{called}"}}}},
            "spec": {{"restartPolicy": "{policy}", "terminationGracePeriodSeconds": 5,
              "containers": [{{"name": "c", "image": "{SHELL}", "args": ["-c", {}]}}]}}}}"#,
        Value::from(script)
    )
}

/// A Deployment that answers HTTP on 8080 by a name, and its Service of port 8080.
pub(crate) fn app(called: &str, answer: &str, replicas: u32) -> String {
    format!(
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {called}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {called}}}}}
  template:
    metadata: {{labels: {{app: {called}}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: c
        image: {WORKLOAD}
        args: [serve, --name, {answer}, --http, "8080", --udp, "9000"]
        readinessProbe: {{tcpSocket: {{port: 8080}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: {called}}}
spec:
  selector: {{app: {called}}}
  ports:
  - {{name: http, port: 8080}}
  - {{name: udp, port: 9000, protocol: UDP}}
---
apiVersion: v1
kind: Pod
metadata: {{name: visitor-{called}}}
spec:
  containers: [{{name: c, image: "{WORKLOAD}", args: [idle]}}]
"#
    )
}

/// Makes the application and waits until it is ready.
pub(crate) async fn deploy(sim: &Sim, called: &str, answer: &str, replicas: u32) {
    sim.apply(&app(called, answer, replicas)).unwrap();
    until(sim, "deployments", called, |one| one["status"]["readyReplicas"] == replicas).await;
    until(sim, "pods", &format!("visitor-{called}"), is_ready).await;
}

/// What a pod of the cluster is answered: the body, or the fault's word.
pub(crate) async fn ask(sim: &Sim, called: &str, url: &str) -> String {
    let told = sim.exec("default", &format!("visitor-{called}"), &["/workload", "get", url]).await.unwrap();
    if told.code == Some(0) { told.out } else { told.err.trim().to_owned() }
}

/// Asks until somebody of this name answers.
pub(crate) async fn answered_by(sim: &Sim, called: &str, url: &str, who: &str) {
    let right = format!("name={who} ");
    eventually(&format!("an answer of {who}"), async || {
        ask(sim, called, url).await.starts_with(&right).then_some(())
    })
    .await;
}
