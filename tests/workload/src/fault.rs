//! What went wrong with a connection, in one word that tests can compare.

use std::io::{self, ErrorKind};

/// `refused`, `reset`, `timeout`, `unreachable`, `closed` (ended too early), `name` (not found), else
/// the system's own text with its spaces replaced.
#[must_use]
#[allow(clippy::wildcard_enum_match_arm, reason = "the list of kinds is the system's and long")]
pub fn word(error: &io::Error) -> String {
    let plain = match error.kind() {
        ErrorKind::ConnectionRefused => "refused",
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted => "reset",
        // A read that waits longer than its time-out ends in WouldBlock.
        ErrorKind::TimedOut | ErrorKind::WouldBlock => "timeout",
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => "unreachable",
        ErrorKind::UnexpectedEof => "closed",
        ErrorKind::NotFound => "name",
        _ => return error.to_string().replace(char::is_whitespace, "-"),
    };
    plain.to_owned()
}
