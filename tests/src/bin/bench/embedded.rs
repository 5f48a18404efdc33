//! `sim.start` and `demo.seconds`: how long a newcomer without a cluster waits, after the build.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kubetether_tests::{IMAGE, root};

use crate::RUNS;
use crate::figure::Figure;

pub(crate) fn start() -> Vec<Figure> {
    let runs = (0..RUNS).map(|_| until_it_answers()).collect();
    vec![Figure::seconds("sim.start", runs, Some(0.5))]
}

pub(crate) fn demo() -> Vec<Figure> {
    let runs = (0..RUNS).map(|_| whole_demo()).collect();
    vec![Figure::seconds("demo.seconds", runs, Some(5.0))]
}

/// A program that is built with this one.
fn beside(name: &str) -> PathBuf {
    let here = std::env::current_exe().unwrap_or_else(|error| panic!("this program's place: {error}"));
    here.with_file_name(name)
}

fn workload() -> PathBuf {
    root().join("target/workload/workload")
}

/// From the call of the program until it says where its kubeconfig is, which it does once it answers.
fn until_it_answers() -> Duration {
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("a folder for a cluster: {error}"));
    let began = Instant::now();
    let child = Command::new(beside("sim"))
        .arg("--folder")
        .arg(folder.path().join("state"))
        .args(["--image", &format!("{IMAGE}={}", workload().display())])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = child.unwrap_or_else(|error| panic!("sim: {error}"));
    let mut line = String::new();
    let out = child.stdout.take().unwrap_or_else(|| panic!("it is piped"));
    let told = BufReader::new(out).read_line(&mut line);
    let took = began.elapsed();
    let ended = child.kill().and_then(|()| child.wait());
    assert!(told.is_ok() && line.starts_with("KUBECONFIG="), "sim tells {line:?}");
    ended.unwrap_or_else(|error| panic!("sim: {error}"));
    took
}

/// What `make demo` does once all is built.
fn whole_demo() -> Duration {
    let began = Instant::now();
    let mut command = Command::new(beside("demo"));
    command.arg("--kubetether").arg(beside("kubetether")).arg("--workload").arg(workload());
    command.arg("--manifest").arg(root().join("tests/demo/shop.yaml")).env_remove("KUBECONFIG");
    let output = command.output().unwrap_or_else(|error| panic!("demo: {error}"));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "demo: {text}{}", String::from_utf8_lossy(&output.stderr));
    began.elapsed()
}
