//! What this process may hold: as much as its descriptors and its memory limit bear. Beyond that callers wait in the
//! kernel and clients are refused, rather than everything being lost to the OOM killer.
//!
//! One budget is for all: each open connection is charged what it costs, and what is left is for the bytes that links
//! have on their way. So one client with few connections gets wide windows, and 10,000 connections fit into 64 MiB.

use std::path::Path;

use kubetether_link::LinkConfig;
use kubetether_wire::Budget;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

/// What an open connection costs in bytes, measured with 10,000 of a gateway: ours (1.4 KiB: task, stream, registration,
/// tables), and the kernel's 4 KiB for each of its sockets (socket, inode, file, epoll entry, local port), which counts for
/// the container. What it has on its way is the links'.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cost(pub(crate) u64);

impl Cost {
    /// A stream and a socket.
    pub(crate) const JOINED: Self = Self(5800);
    /// A caller's socket and the original's.
    pub(crate) const PASSED_THROUGH: Self = Self(10_000);
}

/// What this process may hold.
#[derive(Debug)]
pub(crate) struct Limits {
    /// Connections by descriptors.
    pub(crate) connections: usize,
    /// Memory of connections and links.
    pub(crate) budget: Budget,
    /// Clients at once.
    pub(crate) links: usize,
}

/// Descriptors kept for listeners, carriers, the health port, name look-ups and the runtime.
const RESERVED_DESCRIPTORS: u64 = 128;
/// Memory kept for the process itself: 3 MiB at rest, and what its tables and the allocator's gaps take at work.
const RESERVED_BYTES: u64 = 5 << 20;
/// More connections than these nobody needs of one agent.
const MOST: u64 = 16_384;
/// Below this nothing useful can be done; rather fail on the way than refuse at the start.
const LEAST_CONNECTIONS: u64 = 16;
const LEAST_BYTES: u64 = 4 << 20;
/// For the links of an agent without a limit; a link alone gets no more than this helps.
const LINKS: u64 = 96 << 20;
/// Of the budget, what is left to connections, or a quarter: some 2,800 of them.
const KEPT: u64 = 16 << 20;
/// The memory limit of a container, as it sees it itself: control groups version 2, and 1.
const MEMORY_LIMITS: [(&str, &str); 2] =
    [("sys/fs/cgroup", "memory.max"), ("sys/fs/cgroup/memory", "memory.limit_in_bytes")];

impl Limits {
    /// Raises the limit of open descriptors as far as this process may, and derives the others. `sockets` are those of a
    /// connection, `links` the most clients there may be.
    pub(crate) fn new(sockets: u64, links: usize) -> Self {
        let now = getrlimit(Resource::Nofile);
        let wanted = MOST * sockets + RESERVED_DESCRIPTORS;
        let target = now.maximum.map_or(wanted, |maximum| maximum.min(wanted));
        let current = now.current.unwrap_or(u64::MAX);
        if current < target
            && let Err(error) =
                setrlimit(Resource::Nofile, Rlimit { current: Some(target), maximum: now.maximum })
        {
            tracing::warn!(%error, current, target, "cannot raise the limit of open descriptors");
        }
        let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let memory = memory_limit(Path::new("/"));
        let limits = Self::of(descriptors / sockets, memory, links);
        tracing::debug!(connections = limits.connections, descriptors, memory, budget = ?limits.budget, "limits");
        limits
    }

    fn of(connections: u64, memory: u64, links: usize) -> Self {
        let connections =
            connections.saturating_sub(RESERVED_DESCRIPTORS).clamp(LEAST_CONNECTIONS, MOST) as usize;
        let most = LINKS + MOST * Cost::PASSED_THROUGH.0;
        let total = memory.saturating_sub(RESERVED_BYTES + memory / 32).clamp(LEAST_BYTES, most);
        // Each link has 1 MiB of the budget whatever is left.
        let affordable = usize::try_from(total >> 21).unwrap_or(links).max(4);
        // Connections are to find room whatever links have promised to their peers.
        let budget = Budget::with_kept(total, (total / 4).min(KEPT));
        Self { connections, budget, links: links.min(affordable) }
    }

    /// How much of the budget one link may have at most, by kind.
    pub(crate) fn apply(&self, config: LinkConfig) -> LinkConfig {
        let third = self.budget.total() / 3;
        // What is on its way to the agent is seldom in its memory.
        config
            .link_window((self.budget.total() / 5 * 2).min(48 << 20))
            .unacknowledged(third.min(40 << 20))
            .queued(usize::try_from(third / 4).unwrap_or(usize::MAX).min(8 << 20))
            .budget(self.budget.clone())
    }
}

/// The container's memory limit in bytes; the greatest number where there is none, or none to be seen.
fn memory_limit(root: &Path) -> u64 {
    let groups = std::fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    MEMORY_LIMITS
        .into_iter()
        .flat_map(|(mount, file)| {
            // The container's own group is the root of what is mounted there, or the path that the kernel names. A limit
            // further up holds as well.
            let own = groups.lines().filter_map(|line| line.splitn(3, ':').nth(2));
            let own = own.flat_map(|path| Path::new(path.trim_start_matches('/')).ancestors());
            let files = own.map(|path| root.join(mount).join(path).join(file)).collect::<Vec<_>>();
            files.into_iter().chain([root.join(mount).join(file)])
        })
        .filter_map(|file| std::fs::read_to_string(file).ok()?.trim().parse().ok())
        .min()
        .unwrap_or(u64::MAX)
}

/// Resident memory of this process in bytes; 0 where there is no /proc.
pub(crate) fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
    pages.map_or(0, |pages| pages * rustix::param::page_size() as u64)
}

/// The most memory that was ever resident, in bytes; 0 where there is no /proc.
pub(crate) fn peak() -> u64 {
    let kib = std::fs::read_to_string("/proc/self/status").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    });
    kib.map_or(0, |kib| kib << 10)
}

/// CPU time of this process so far, of user and kernel, in microseconds.
pub(crate) fn cpu_us() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    u64::try_from(time.tv_sec * 1_000_000 + time.tv_nsec / 1_000).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_follow_descriptors_and_memory() {
        let of = |descriptors, memory| Limits::of(descriptors, memory, 256);
        assert_eq!(of(1024, u64::MAX).connections, 1024 - 128);
        assert_eq!(of(0, 0).connections, 16);
        assert_eq!(of(u64::MAX, u64::MAX).connections, 16_384);
        assert_eq!((of(0, u64::MAX).links, of(0, 64 << 20).links, of(0, 0).links), (126, 28, 4));
        assert_eq!(of(0, 64 << 20).budget.total(), 57 << 20);
        assert_eq!(of(0, 0).budget.total(), LEAST_BYTES);
    }

    #[test]
    fn the_lowest_memory_limit_holds() {
        let root = std::env::temp_dir().join(format!("kubetether-limits-{}", std::process::id()));
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        assert_eq!(memory_limit(&root), u64::MAX);
        write("sys/fs/cgroup/memory/memory.limit_in_bytes", "67108864\n");
        assert_eq!(memory_limit(&root), 64 << 20);
        write("sys/fs/cgroup/memory.max", "max\n");
        assert_eq!(memory_limit(&root), 64 << 20);
        // By the path that the kernel names, and by one above it.
        write("proc/self/cgroup", "9:cpu:/\n4:memory:/pods/one\n0::/\n");
        write("sys/fs/cgroup/memory/pods/one/memory.limit_in_bytes", "41943040\n");
        assert_eq!(memory_limit(&root), 40 << 20);
        write("sys/fs/cgroup/memory/pods/memory.limit_in_bytes", "20971520\n");
        assert_eq!(memory_limit(&root), 20 << 20);
        write("sys/fs/cgroup/memory.max", "10485760\n");
        assert_eq!(memory_limit(&root), 10 << 20);
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn this_process_has_memory() {
        assert!(resident() > 100_000);
        assert!(peak() >= resident() / 2);
        assert!(cpu_us() > 0);
    }
}
