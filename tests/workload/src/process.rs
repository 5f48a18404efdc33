//! What a process of this container holds, so that tests see an agent's leaks without the node.

use std::fs;
use std::io::{self, Write};

/// Prints `rss_kib= peak_kib= cpu_ms= fds= threads=` of the process given by its number: memory now and the most it was, and
/// the time its threads have worked.
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
    let stat = fs::read_to_string(format!("{path}/stat")).map_err(failed)?;
    writeln!(
        io::stdout(),
        "rss_kib={} peak_kib={} cpu_ms={} fds={descriptors} threads={}",
        field("VmRSS:"),
        field("VmHWM:"),
        cpu_ms(&stat),
        field("Threads:"),
    )
    .map_err(|error| error.to_string())
}

/// User and system time of a `/proc/PID/stat`, in milliseconds.
#[must_use]
pub fn cpu_ms(stat: &str) -> u64 {
    // Fields 14 and 15 of proc(5), in hundredths of a second; the second field may hold anything but ends with the last `)`.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    fields.map(|ticks| ticks.parse::<u64>().unwrap_or_default() * 10).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_worked_is_found_behind_a_name_with_anything_in_it() {
        assert_eq!(cpu_ms("1 (a ) b) S 0 1 1 0 -1 4194560 1 2 3 4 15 7 0 0 20 0 1"), 220);
        assert_eq!(cpu_ms(""), 0);
    }
}
