//! How many connections this process may hold: as many as its descriptors and its memory limit bear. Beyond that
//! callers wait in the kernel and clients are refused, rather than everything being lost to the OOM killer.

use std::path::Path;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

/// What one open connection costs, measured with 9,000 idle ones: its task, and with the kernel's part for each of
/// its sockets (socket, inode, file, epoll entry; 3.7 KiB).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Footprint {
    descriptors: u64,
    bytes: u64,
}

impl Footprint {
    /// A caller's socket and the original's.
    pub(crate) const PASSED_THROUGH: Self = Self { descriptors: 2, bytes: 11 << 10 };
    /// A stream and a socket.
    pub(crate) const DIALLED: Self = Self { descriptors: 1, bytes: 7 << 10 };
}

/// Descriptors kept for listeners, carriers, the health port, name look-ups and the runtime.
const RESERVED_DESCRIPTORS: u64 = 128;
/// Memory kept for the process itself and the windows of a busy link.
const RESERVED_BYTES: u64 = 48 << 20;
/// More than these nobody needs of one agent.
const MOST: u64 = 16_384;
/// Below this nothing useful can be done; rather fail on the way than refuse at the start.
const LEAST: u64 = 16;
/// The memory limit of a container, as it sees it itself: control groups version 2, and 1.
const MEMORY_LIMITS: [&str; 2] = ["sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes"];

/// Raises the limit of open descriptors as far as this process may, and tells how many connections fit.
pub(crate) fn connections(each: Footprint) -> usize {
    let now = getrlimit(Resource::Nofile);
    let wanted = MOST * each.descriptors + RESERVED_DESCRIPTORS;
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
    let most = fitting(each, descriptors, memory);
    tracing::debug!(connections = most, descriptors, memory, "limits");
    usize::try_from(most).unwrap_or(usize::MAX)
}

fn fitting(each: Footprint, descriptors: u64, memory: u64) -> u64 {
    let by_descriptors = descriptors.saturating_sub(RESERVED_DESCRIPTORS) / each.descriptors;
    // With a low limit the windows will hardly be full: a quarter is for connections all the same.
    let by_memory = memory.saturating_sub(RESERVED_BYTES).max(memory / 4) / each.bytes;
    by_descriptors.min(by_memory).clamp(LEAST, MOST)
}

/// The container's memory limit in bytes; the greatest number where there is none, or none to be seen.
fn memory_limit(root: &Path) -> u64 {
    let read = |path| std::fs::read_to_string(root.join(path)).ok()?.trim().parse().ok();
    MEMORY_LIMITS.into_iter().find_map(read).unwrap_or(u64::MAX)
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
    fn connections_follow_descriptors_and_memory() {
        let passed = Footprint::PASSED_THROUGH;
        assert_eq!(fitting(passed, 1024, u64::MAX), (1024 - 128) / 2);
        assert_eq!(fitting(passed, u64::MAX, 128 << 20), (80 << 10) / 11);
        assert_eq!(fitting(passed, u64::MAX, 32 << 20), (8 << 10) / 11);
        assert_eq!(fitting(passed, 0, u64::MAX), LEAST);
        assert_eq!(fitting(passed, u64::MAX, 0), LEAST);
        assert_eq!(fitting(passed, u64::MAX, u64::MAX), MOST);
        assert!(fitting(Footprint::DIALLED, 20_000, 128 << 20) > 10_000);
    }

    #[test]
    fn the_memory_limit_is_read_where_it_is() {
        let root = std::env::temp_dir().join(format!("kubetether-limits-{}", std::process::id()));
        assert_eq!(memory_limit(&root), u64::MAX);
        std::fs::create_dir_all(root.join("sys/fs/cgroup/memory")).unwrap();
        std::fs::write(root.join(MEMORY_LIMITS[1]), "67108864\n").unwrap();
        assert_eq!(memory_limit(&root), 64 << 20);
        std::fs::write(root.join(MEMORY_LIMITS[0]), "max\n").unwrap();
        assert_eq!(memory_limit(&root), 64 << 20);
        std::fs::write(root.join(MEMORY_LIMITS[0]), "134217728\n").unwrap();
        assert_eq!(memory_limit(&root), 128 << 20);
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn this_process_has_memory() {
        assert!(resident() > 100_000);
        assert!(peak() >= resident() / 2);
        assert!(cpu_us() > 0);
    }
}
