//! The figures of design and README, measured on a cluster: a table, and `target/bench/<group>.json`.
//!
//! Times and counts are medians and sums of [`RUNS`] runs on one cluster, with one client. The cluster, its
//! nodes and this program may share a machine's processors: read the figures as what they are there.

#![allow(clippy::print_stdout, reason = "a command that prints a table")]

mod exchange;
mod figure;
mod memory;
mod session;

use std::process::ExitCode;

/// How often everything is measured.
const RUNS: usize = 5;

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let mut figures = Vec::new();
    for (group, measure) in [
        ("session", session::measure as fn() -> _),
        ("exchange", exchange::measure),
        ("memory", memory::measure),
    ] {
        if wanted.is_empty() || wanted.iter().any(|one| one == group) {
            figures.extend(measure());
        }
    }
    print!("{}", figure::table(&figures));
    match figure::write(&figures) {
        Ok(files) => {
            println!("{}", files.join("\n"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("target/bench: {error}");
            ExitCode::FAILURE
        }
    }
}
