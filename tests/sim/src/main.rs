//! `sim`: the embedded cluster in the foreground, until Ctrl-C.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use kubetether_sim::{Options, Sim};
use tokio::signal::unix::{SignalKind, signal};

/// A Kubernetes for this machine alone: the API on loopback, pods as processes. Prints where its kubeconfig is once it
/// answers, and ends by Ctrl-C or SIGTERM, leaving nothing.
#[derive(Debug, Parser)]
#[command(name = "sim", version)]
struct Args {
    /// An image and the program of this machine that its containers run
    #[arg(long = "image", value_name = "REF=PROGRAM", value_parser = image)]
    images: Vec<(String, PathBuf)>,
    /// Where kubeconfig and pods' files are kept
    #[arg(long, default_value = "target/sim", value_name = "FOLDER")]
    folder: PathBuf,
    /// How many nodes
    #[arg(long, default_value_t = 1)]
    nodes: usize,
    /// The port of 127.0.0.1 where the API is served; 0 for a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// A namespace that is there from the start
    #[arg(long = "namespace", value_name = "NAME")]
    namespaces: Vec<String>,
    /// Manifests whose objects are there from the start
    #[arg(long = "apply", value_name = "FILE")]
    manifests: Vec<PathBuf>,
}

fn image(text: &str) -> Result<(String, PathBuf), String> {
    let (reference, program) = text.split_once('=').ok_or("it has to be REF=PROGRAM")?;
    let program = std::fs::canonicalize(program).map_err(|error| format!("{program}: {error}"))?;
    Ok((reference.to_owned(), program))
}

fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_env("SIM_LOG");
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done =
        runtime.map_err(|error| error.to_string()).and_then(|runtime| runtime.block_on(run(Args::parse())));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            // There is nobody else to tell.
            drop(writeln!(std::io::stderr(), "sim: {why}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<(), String> {
    // Before anything is made: what comes early is not lost.
    let mut terminated = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let mut interrupted = signal(SignalKind::interrupt()).map_err(|error| error.to_string())?;
    let mut options = Options::new().folder(&args.folder).nodes(args.nodes).port(args.port);
    for (reference, program) in args.images {
        options = options.image(reference, program);
    }
    for namespace in args.namespaces {
        options = options.namespace(namespace);
    }
    let sim = Sim::start(options).await.map_err(|error| error.to_string())?;
    for file in args.manifests {
        let text = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        sim.apply(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    let told = writeln!(std::io::stdout(), "KUBECONFIG={}", sim.kubeconfig().display());
    told.map_err(|error| format!("standard output: {error}"))?;
    tokio::select! {
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }
    sim.stop().await;
    Ok(())
}
