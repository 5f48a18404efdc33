//! What a process of this container holds, so that tests see an agent's leaks without the node.

use std::fs;
use std::io::{self, Write};

/// Prints `rss_kib= fds= threads=` of the process given by its number.
///
/// # Errors
/// When there is no such process, or it belongs to another user.
pub fn run(args: &crate::args::Args) -> Result<(), String> {
    let pid = args.word(1, "the process's number")?;
    let path = format!("/proc/{pid}");
    let failed = |error: io::Error| format!("{path}: {error}");
    let status = fs::read_to_string(format!("{path}/status")).map_err(failed)?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.split_whitespace().next().unwrap_or("0").to_owned()
    };
    let descriptors = fs::read_dir(format!("{path}/fd")).map_err(failed)?.count();
    writeln!(io::stdout(), "rss_kib={} fds={descriptors} threads={}", field("VmRSS:"), field("Threads:"))
        .map_err(|error| error.to_string())
}
