//! `workload COMMAND`: see the usage below and the modules of the library.

use std::io::{self, Write};
use std::process::ExitCode;
use std::thread;

use kubetether_workload::args::Args;
use kubetether_workload::{ask, bulk, hog, load, process, serve, talk, traffic};

const USAGE: &str = "\
workload serve --name NAME [--http|--echo|--greet|--collect|--say|--reset|--crowd|--bytes|--hold|--udp PORT]...
workload idle
workload get URL [--deadline-ms N]
workload ask URL [--every-ms N] [--deadline-ms N] [--for-ms N]      ends by a byte on standard input
workload load URL --parallel N | --sequential N [--workers N]
workload bulk up|down URL BYTES
workload talk HOST:PORT [STEP...]
workload datagram HOST:PORT TEXT [--tries N]
workload process PID
workload hog BYTES
workload traffic HOST:PORT [--bytes N] [--rate N] [--idle N] [--every-ms N] [--talkers N] [--stalled N]
";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            // There is nobody else to tell.
            drop(writeln!(io::stderr(), "workload: {why}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let args = Args::parse(std::env::args().skip(1))?;
    match args.words().first().map(String::as_str) {
        Some("serve") => serve::run(&args),
        Some("idle") => loop {
            thread::park();
        },
        Some("get") => ask::get(&args),
        Some("ask") => ask::ask(&args),
        Some("load") => load::run(&args),
        Some("bulk") => bulk::run(&args),
        Some("talk") => talk::run(&args),
        Some("datagram") => talk::datagram(&args),
        Some("traffic") => traffic::run(&args),
        Some("process") => process::run(&args),
        Some("hog") => hog::run(&args),
        _ => Err(format!("no such command\n{USAGE}")),
    }
}
