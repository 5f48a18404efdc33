//! The cluster's own parts, where the cluster is the one of `tests/cluster`: they can be killed.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use tokio::process::Command;

use crate::cluster::{Cluster, root};

/// No script takes this long; it has a limit of its own.
const LIMIT: Duration = Duration::from_secs(240);

/// What stands between kubetether and its pods, to be killed by the signal that nobody catches.
#[derive(Debug)]
pub struct Parts {
    state: PathBuf,
}

/// Kills every process of a pod's containers by the signal that nobody catches; its network stays.
///
/// # Panics
/// When the pod has no container, its node refuses, or the cluster is neither of `make cluster` nor an embedded one.
pub(crate) async fn kill_processes(cluster: &Cluster, pod: &Pod) {
    if !cluster.is_embedded().await {
        match Parts::of(cluster).try_kill(pod).await {
            // They have gone by themselves.
            Err(why) if why.contains("not found") => {}
            done => done.unwrap_or_else(|why| panic!("{why}")),
        }
        return;
    }
    let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
    let order = http::Request::post(format!("/sim/pods/{namespace}/{name}/kill"))
        .header("content-type", "application/json")
        .body(b"{}".to_vec());
    let order = order.unwrap_or_else(|error| panic!("pod {name}: {error}"));
    match cluster.client().request_text(order).await {
        Ok(_) => {}
        // It has gone by itself.
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        Err(error) => panic!("pod {name} of the embedded cluster: {error}"),
    }
}

impl Parts {
    /// Those of a cluster that `make cluster` started.
    ///
    /// # Panics
    /// When it is another one, which nothing here may touch.
    #[must_use]
    pub fn of(cluster: &Cluster) -> Self {
        let state = cluster.kubeconfig().parent().unwrap_or_else(|| Path::new("/")).to_owned();
        // The file that only `tests/cluster/up` writes.
        assert!(state.join("settings").is_file(), "{}: not a cluster of `make cluster`", state.display());
        Self { state }
    }

    /// Kills `apiserver` or `kubelet`, starts it again after `away`, and returns when it answers.
    ///
    /// # Panics
    /// When that does not come.
    pub async fn restart(&self, part: &str, away: Duration) {
        self.must("restart", &[part, &away.as_secs_f32().to_string()]).await;
    }

    /// Stops a node as a power cut does; it does not come back.
    ///
    /// # Panics
    /// When it does not run.
    pub async fn stop(&self, node: &str) {
        self.must("stop", &[node]).await;
    }

    /// Kills every process of a pod's containers; its network stays.
    ///
    /// # Panics
    /// When the pod has no container, or its node refuses.
    pub async fn kill(&self, pod: &Pod) {
        self.try_kill(pod).await.unwrap_or_else(|why| panic!("{why}"));
    }

    async fn try_kill(&self, pod: &Pod) -> Result<(), String> {
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
        let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.clone());
        let ids = statuses.unwrap_or_default().into_iter().filter_map(|container| container.container_id);
        let ids: Vec<String> =
            ids.filter_map(|id| Some(id.strip_prefix("containerd://")?.to_owned())).collect();
        assert!(!ids.is_empty(), "pod {:?} has no container", pod.metadata.name);
        for id in ids {
            let kill = ["ctr", "-n", "k8s.io", "tasks", "kill", "-s", "SIGKILL", &id];
            self.script("on", &[&[node.as_str()], &kill[..]].concat()).await?;
        }
        Ok(())
    }

    async fn must(&self, name: &str, args: &[&str]) {
        self.script(name, args).await.unwrap_or_else(|why| panic!("{why}"));
    }

    async fn script(&self, name: &str, args: &[&str]) -> Result<(), String> {
        let script = root().join("tests/cluster").join(name);
        let mut command = Command::new(&script);
        command
            .args(args)
            .env("KUBETETHER_CLUSTER_STATE", &self.state)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let ran = tokio::time::timeout(LIMIT, command.output()).await;
        let output = ran.unwrap_or_else(|_| panic!("{name} {args:?} hangs"));
        let output = output.unwrap_or_else(|error| panic!("{}: {error}", script.display()));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            return Ok(());
        }
        Err(format!("{name} {args:?}: {}{}", text(&output.stdout), text(&output.stderr)))
    }
}
