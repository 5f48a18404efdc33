//! What processes hold: memory, descriptors, threads.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::ListParams;
use kubetether_workload::process::cpu_ms;

use crate::exec;
use crate::namespace::Namespace;

/// What one process holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Whose it is.
    pub who: String,
    /// Resident memory, KiB.
    pub rss_kib: u64,
    /// The most it was since the process started (or [`forget_peak`]), KiB.
    pub peak_kib: u64,
    /// User and system time of all threads, in milliseconds; a hundredth of a second is the least that is seen.
    pub cpu_ms: u64,
    /// Open descriptors.
    pub descriptors: u64,
    /// Threads.
    pub threads: u64,
}

/// What this process holds.
///
/// # Panics
/// Without /proc.
#[must_use]
pub fn of_this_process() -> Held {
    let mut held = of_process(std::process::id());
    // One of them is the listing's own.
    held.descriptors -= 1;
    held
}

/// What a process of this machine and user holds.
///
/// # Panics
/// When there is none of that number.
#[must_use]
pub fn of_process(id: u32) -> Held {
    let folder = format!("/proc/{id}");
    let status = std::fs::read_to_string(format!("{folder}/status"));
    let status = status.unwrap_or_else(|error| panic!("{folder}: {error}"));
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_whitespace().next()).and_then(|word| word.parse().ok());
        number.unwrap_or_else(|| panic!("no {name} in {folder}/status"))
    };
    let listed =
        std::fs::read_dir(format!("{folder}/fd")).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let stat = std::fs::read_to_string(format!("{folder}/stat"));
    let stat = stat.unwrap_or_else(|error| panic!("{folder}: {error}"));
    Held {
        who: format!("process {id}"),
        rss_kib: field("VmRSS:"),
        peak_kib: field("VmHWM:"),
        cpu_ms: cpu_ms(&stat),
        descriptors: listed.count() as u64,
        threads: field("Threads:"),
    }
}

/// From now on a process's peak is counted anew.
///
/// # Panics
/// When there is none of that number and user.
pub fn forget_peak(id: u32) {
    // 5: the peak resident set size, proc(5).
    let file = format!("/proc/{id}/clear_refs");
    std::fs::write(&file, "5").unwrap_or_else(|error| panic!("{file}: {error}"));
}

/// What each running agent of the namespace holds. Their pods run on the application's image, so the
/// workload's program is in them to look.
///
/// # Panics
/// When the cluster does not answer or the program cannot look.
pub async fn of_agents(namespace: &Namespace) -> Vec<Held> {
    let pods = namespace.api::<Pod>();
    let ours = ListParams::default().labels("app.kubernetes.io/managed-by=kubetether");
    let list = pods.list(&ours).await.unwrap_or_else(|error| panic!("agent pods: {error}"));
    let mut all = Vec::new();
    for pod in list {
        let running = pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Running"));
        if !running || pod.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let name = pod.name_any();
        let output =
            exec::run(&pods, &name, &["process", "1"]).await.unwrap_or_else(|error| panic!("{error}"));
        assert!(output.ok, "agent {name}: {}", output.err);
        let field = |key: &str| {
            let word = output.out.split_whitespace().find_map(|word| word.strip_prefix(key));
            word.and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("no {key} in {:?}", output.out))
        };
        all.push(Held {
            rss_kib: field("rss_kib="),
            peak_kib: field("peak_kib="),
            cpu_ms: field("cpu_ms="),
            descriptors: field("fds="),
            threads: field("threads="),
            who: name.clone(),
        });
    }
    all
}
