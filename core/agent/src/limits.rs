//! How much this process may hold, found at the start.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors kept for listeners, carriers, the health port, name look-ups and the runtime.
const RESERVED: u64 = 128;
/// A connection that is passed through has two sockets.
const PER_CONNECTION: u64 = 2;
/// Above this the pod's memory limit, not its descriptors, is what ends first: 16,384 connections take some
/// 64 MiB of task and kernel memory.
const MOST: u64 = 16_384;
/// Below this nothing useful can be done; rather fail on the way than refuse at the start.
const LEAST: u64 = 16;

/// Raises the limit of open descriptors as far as this process may, and tells how many connections fit.
pub(crate) fn connections() -> usize {
    let now = getrlimit(Resource::Nofile);
    let wanted = MOST * PER_CONNECTION + RESERVED;
    let target = now.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    let current = now.current.unwrap_or(u64::MAX);
    if current < target
        && let Err(error) =
            setrlimit(Resource::Nofile, Rlimit { current: Some(target), maximum: now.maximum })
    {
        tracing::warn!(%error, current, target, "cannot raise the limit of open descriptors");
    }
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(fitting(descriptors)).unwrap_or(usize::MAX)
}

fn fitting(descriptors: u64) -> u64 {
    (descriptors.saturating_sub(RESERVED) / PER_CONNECTION).clamp(LEAST, MOST)
}

/// Resident memory of this process in bytes; 0 where there is no /proc.
pub(crate) fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
    pages.map_or(0, |pages| pages * rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_follow_descriptors() {
        assert_eq!(fitting(1024), (1024 - 128) / 2);
        assert_eq!(fitting(0), LEAST);
        assert_eq!(fitting(u64::MAX), MOST);
    }

    #[test]
    fn this_process_has_memory() {
        assert!(resident() > 100_000);
    }
}
