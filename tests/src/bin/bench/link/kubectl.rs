//! `kubectl port-forward`, the tool that everybody has.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// A port-forward of one pod's port; killed when dropped.
#[derive(Debug)]
pub(super) struct Kubectl {
    child: Child,
    // It tells of each connection; a full pipe would stop it.
    _reader: tokio::task::JoinHandle<()>,
    address: SocketAddr,
}

impl Kubectl {
    pub(super) async fn start(kubeconfig: &Path, namespace: &str, pod: &str, port: u16) -> Self {
        // Beside the kubeconfig where the cluster is ours.
        let ours = kubeconfig.with_file_name("bin").join("kubectl");
        let program = if ours.is_file() { ours } else { "kubectl".into() };
        let mut child = Command::new(&program)
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .args(["-n", namespace, "port-forward", "--address", "127.0.0.1"])
            .args([format!("pod/{pod}"), format!(":{port}")])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let line = lines.next_line().await.ok().flatten().unwrap_or_default();
        let address = line.split_whitespace().find_map(|word| word.parse().ok());
        let address = address.unwrap_or_else(|| panic!("kubectl port-forward tells {line:?}"));
        Self { child, _reader: tokio::spawn(read(lines)), address }
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id().unwrap_or_else(|| panic!("kubectl has ended"))
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn read(mut lines: Lines<BufReader<ChildStdout>>) {
    while let Ok(Some(_)) = lines.next_line().await {}
}
