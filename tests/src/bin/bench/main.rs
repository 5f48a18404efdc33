//! The figures of design and README, measured on a cluster: a table, and `target/bench/<group>.json`.
//!
//! Times and rates are medians of [`RUNS`] runs on one cluster, with one client; counts are sums. The cluster, its
//! nodes and this program may share a machine's processors: read the figures as what they are there. What is compared
//! takes turns in one run, so that a share says more than a value; runs that are far apart tell of a noisy machine.

#![allow(clippy::print_stdout, reason = "a command that prints a table")]

mod clean;
mod embedded;
mod exchange;
mod figure;
mod link;
mod memory;
mod safety;
mod session;
mod soak;
mod wanted;

use std::process::ExitCode;

use self::wanted::Wanted;

/// How often everything is measured.
const RUNS: usize = 5;

/// How long a soak lasts when nobody says otherwise.
const SOAK_MINUTES: u64 = 10;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [first, rest @ ..] = &args[..]
        && first == "raw"
    {
        link::serve_raw(rest);
        return ExitCode::FAILURE;
    }
    if args == ["soak"] {
        let minutes = std::env::var("KUBETETHER_SOAK_MINUTES").ok().and_then(|text| text.parse().ok());
        return if soak::run(minutes.unwrap_or(SOAK_MINUTES)) {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        };
    }
    let wanted = Wanted::new(args);
    let mut figures = Vec::new();
    for (group, measure) in [
        ("session", (|_| session::measure()) as fn(&Wanted) -> _),
        ("exchange", |_| exchange::measure()),
        ("restore", |_| safety::client()),
        ("interceptor", |_| safety::interceptors()),
        ("agent", |_| memory::measure()),
        ("clean", |_| clean::measure()),
        ("sim", |_| embedded::start()),
        ("demo", |_| embedded::demo()),
        ("link", link::measure),
    ] {
        if wanted.has(group) {
            figures.extend(measure(&wanted));
        }
    }
    if figures.is_empty() {
        println!("there are no such figures");
        return ExitCode::FAILURE;
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
