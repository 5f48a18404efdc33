//! Nothing is left behind, however it ends.

use std::path::Path;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::support::{eventually, soon};

/// The built program with one pod, whose process is told by its variable.
async fn start(folder: &Path, mark: &str) -> Child {
    let manifest = folder.join("pod.json");
    let pod = crate::support::script(
        "sits",
        &format!("export MARK={mark}; while :; do sleep 0.2 {mark}; done"),
        "Always",
    );
    std::fs::write(&manifest, pod.replace(&format!("sleep 0.2 {mark}"), "sleep 0.2")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sim"));
    command
        .args(["--image", "shell:1=/bin/sh", "--folder"])
        .arg(folder.join("state"))
        .arg("--apply")
        .arg(&manifest);
    let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = soon("its first line", lines.next_line()).await.unwrap().unwrap();
    assert!(line.starts_with("KUBECONFIG="), "{line}");
    eventually("the pod's process", async || (!marked(mark).is_empty()).then_some(())).await;
    child
}

/// The processes whose command line holds the mark.
fn marked(mark: &str) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let numbers = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers
        .filter(|id: &u32| {
            let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(mark)
        })
        .collect()
}

#[tokio::test]
async fn asked_to_end_it_takes_files_and_processes_along() {
    let folder = tempfile::tempdir().unwrap();
    let mark = format!("asked-{:08x}", rand::random::<u32>());
    let mut child = start(folder.path(), &mark).await;
    let id = Pid::from_raw(child.id().unwrap().cast_signed()).unwrap();
    kill_process(id, Signal::TERM).unwrap();
    let status = soon("its end", child.wait()).await.unwrap();
    assert!(status.success(), "{status}");
    eventually("no process", async || marked(&mark).is_empty().then_some(())).await;
    assert_eq!(std::fs::read_dir(folder.path().join("state")).unwrap().count(), 0);
}

#[tokio::test]
async fn killed_it_takes_processes_along() {
    let folder = tempfile::tempdir().unwrap();
    let mark = format!("killed-{:08x}", rand::random::<u32>());
    let mut child = start(folder.path(), &mark).await;
    child.kill().await.unwrap();
    eventually("no process", async || marked(&mark).is_empty().then_some(())).await;
}

#[tokio::test]
async fn a_folder_has_one_cluster_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let options = || kubetether_sim::Options::new().folder(folder.path());
    let first = kubetether_sim::Sim::start(options()).await.unwrap();
    let refused = kubetether_sim::Sim::start(options()).await.unwrap_err();
    assert!(matches!(refused, kubetether_sim::SimError::InUse(_)), "{refused}");
    assert!(first.kubeconfig().exists(), "it was taken away from the one that runs");
    first.stop().await;
    kubetether_sim::Sim::start(options()).await.unwrap().stop().await;
}
