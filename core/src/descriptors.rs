//! Descriptors of this process: connections leave some to carriers and requests.

/// Left to the session's own needs: carriers, requests, watches, name lookups.
#[cfg(unix)]
const RESERVE: u64 = 32;

/// What has a descriptor.
#[cfg(unix)]
pub(crate) use std::os::fd::AsFd as Open;

/// Sockets are no descriptors here, and have no such limit.
#[cfg(not(unix))]
pub(crate) trait Open {}

#[cfg(not(unix))]
impl<T> Open for T {}

/// Whether connections may take one more, seen from something that is open. New descriptors get the lowest number
/// that is free, so the number that one would get tells how many there are.
#[cfg(unix)]
pub(crate) fn are_left(open: &impl Open) -> bool {
    open.as_fd().try_clone_to_owned().is_ok_and(|next| is_for_connections(&next))
}

/// Whether this one, which is new, may be a connection's.
#[cfg(unix)]
pub(crate) fn is_for_connections(new: &impl Open) -> bool {
    use std::os::fd::AsRawFd as _;
    u64::try_from(new.as_fd().as_raw_fd()).is_ok_and(|number| number < leave(limit()))
}

#[cfg(not(unix))]
pub(crate) fn are_left(_: &impl Open) -> bool {
    true
}

#[cfg(not(unix))]
pub(crate) fn is_for_connections(_: &impl Open) -> bool {
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

/// Of so many descriptors, those that connections may have.
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
