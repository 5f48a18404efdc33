//! Descriptors of this process: connections leave some to carriers and requests.

/// Left to the session's own needs: carriers, requests, watches, name lookups.
#[cfg(unix)]
const RESERVE: u64 = 32;

/// Whether connections may take one more, seen from a descriptor that is open. New descriptors get the lowest number
/// that is free, so the number that one would get tells how many there are.
#[cfg(unix)]
pub(crate) fn are_left(open: &impl std::os::fd::AsFd) -> bool {
    use std::os::fd::AsRawFd as _;
    match open.as_fd().try_clone_to_owned() {
        Ok(next) => u64::try_from(next.as_raw_fd()).is_ok_and(|next| next < for_connections()),
        Err(_) => false,
    }
}

/// Sockets are no descriptors here, and have no such limit.
#[cfg(not(unix))]
pub(crate) fn are_left<T>(_: &T) -> bool {
    true
}

/// How many this process may have open.
#[cfg(unix)]
pub(crate) fn limit() -> u64 {
    // Asked each time, since a host may raise it.
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[cfg(not(unix))]
pub(crate) fn limit() -> u64 {
    u64::MAX
}

/// Numbers from here on are not for connections.
#[cfg(unix)]
fn for_connections() -> u64 {
    leave(limit())
}

#[cfg(unix)]
fn leave(limit: u64) -> u64 {
    limit - RESERVE.min(limit / 3)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_to_the_sessions_own_needs() {
        for (limit, expected) in [(0, 0), (64, 43), (96, 64), (1024, 992), (u64::MAX, u64::MAX - 32)] {
            assert_eq!(leave(limit), expected, "{limit}");
        }
    }

    #[test]
    fn a_process_with_few_open_has_some_left() {
        let open = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(limit() > 0 && are_left(&open));
    }
}
