//! `demo`: a pod of the embedded cluster asks a Service three times: before, while and after `kubetether exchange` brings
//! its traffic to this machine. Succeeds only if the three answers were right and the cluster is as it was.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use kubetether_sim::{Options, Sim};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// No step takes longer.
const LIMIT: Duration = Duration::from_secs(60);
/// For the pods to answer after they are ready: who proxies learns a moment later.
const AGAIN: Duration = Duration::from_millis(10);
const IMAGE: &str = "kubetether.test/workload:1";
const NAMESPACE: &str = "default";
const URL: &str = "http://orders:8080/";

/// Shows what an exchange does.
#[derive(Debug, Parser)]
struct Args {
    /// The command
    #[arg(long)]
    kubetether: PathBuf,
    /// The program of the pods and of the local server
    #[arg(long)]
    workload: PathBuf,
    /// The objects of the shop
    #[arg(long)]
    manifest: PathBuf,
}

type Result<T> = std::result::Result<T, String>;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done = runtime.map_err(|error| error.to_string()).and_then(|runtime| {
        runtime.block_on(async {
            tokio::select! {
                done = demo(Args::parse()) => done,
                // What was started ends with this process.
                _ = tokio::signal::ctrl_c() => Err("interrupted".to_owned()),
            }
        })
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            // There is nobody else to tell.
            drop(writeln!(std::io::stderr(), "demo: {why}"));
            ExitCode::FAILURE
        }
    }
}

async fn demo(args: Args) -> Result<()> {
    let began = Instant::now();
    let sim =
        Sim::start(Options::new().image(IMAGE, &args.workload)).await.map_err(|error| error.to_string())?;
    took(began, "a cluster on this machine: the API on loopback, pods as processes")?;
    let shown = Box::pin(show(&sim, &args)).await;
    sim.stop().await;
    shown?;
    say("  all three right, nothing left in the cluster")
}

async fn show(sim: &Sim, args: &Args) -> Result<()> {
    let began = Instant::now();
    let shop = std::fs::read_to_string(&args.manifest);
    let shop = shop.map_err(|error| format!("{}: {error}", args.manifest.display()))?;
    sim.apply(&shop).map_err(|error| error.to_string())?;
    within("pods that are ready", deployed(sim))
        .await
        .map_err(|error| format!("{error}{}", warnings(sim)))?;
    took(began, "a Service with two pods, and a pod that asks")?;
    let before = service(sim);
    ask(sim, args, "the cluster").await?;

    let began = Instant::now();
    let (_server, port) = within("a local server", serve(args)).await??;
    took(began, "a server on this machine")?;

    let began = Instant::now();
    let (mut command, mut lines) = exchange(sim, args, port)?;
    let first = within("the exchange", lines.next_line()).await?.ok().flatten();
    let Some(first) = first else { return Err(why(command).await) };
    took(began, &format!("kubetether exchange orders --to {port}"))?;
    say(&format!("             {first}"))?;
    if let Ok(Ok(Some(second))) = tokio::time::timeout(Duration::from_millis(100), lines.next_line()).await {
        say(&format!("             {second}"))?;
    }
    ask(sim, args, "this machine").await?;

    let began = Instant::now();
    let id = command.id().and_then(|id| Pid::from_raw(id.cast_signed())).ok_or("the command is over")?;
    kill_process(id, Signal::INT).map_err(|error| error.to_string())?;
    let ended = within("the command's end", command.wait()).await?.map_err(|error| error.to_string())?;
    if !ended.success() {
        return Err(why(command).await);
    }
    took(began, "Ctrl-C")?;
    ask(sim, args, "the cluster").await?;

    let left = ours(sim);
    if !left.is_empty() {
        return Err(format!("left in the cluster: {}", left.join(", ")));
    }
    if service(sim) != before {
        return Err(format!("the Service is not as it was: {} instead of {before}", service(sim)));
    }
    Ok(())
}

async fn deployed(sim: &Sim) {
    let replicas = |object: Option<&Value>| object.is_some_and(|one| one["status"]["readyReplicas"] == 2);
    sim.wait_for("deployments", NAMESPACE, "orders", replicas).await;
    let running = |object: Option<&Value>| object.is_some_and(|one| one["status"]["phase"] == "Running");
    sim.wait_for("pods", NAMESPACE, "visitor", running).await;
}

/// A pod asks the Service; `who` has to answer.
async fn ask(sim: &Sim, args: &Args, who: &str) -> Result<()> {
    let program =
        args.workload.file_name().map(|name| format!("/{}", name.to_string_lossy())).unwrap_or_default();
    let asking = async {
        loop {
            let told = sim.exec(NAMESPACE, "visitor", &[&program, "get", URL]).await;
            let told = told.map_err(|error| error.to_string())?;
            if told.code == Some(0) {
                return Ok::<_, String>(told.out.trim().to_owned());
            }
            tokio::time::sleep(AGAIN).await;
        }
    };
    let answer = within("an answer", asking).await??;
    say(&format!("\n  a pod asks {URL}  ->  {answer}\n"))?;
    if answer.starts_with(&format!("name={who} ")) {
        Ok(())
    } else {
        Err(format!("expected the answer of {who}"))
    }
}

/// The answer of this machine comes from here.
async fn serve(args: &Args) -> Result<(Child, u16)> {
    let mut command = Command::new(&args.workload);
    command
        .args(["serve", "--name", "this machine", "--http", "0"])
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| format!("{}: {error}", args.workload.display()))?;
    let line = match child.stdout.take() {
        Some(out) => BufReader::new(out).lines().next_line().await.ok().flatten(),
        None => None,
    };
    let port = line.as_deref().and_then(|line| line.split_once(' ')?.1.parse().ok());
    port.map(|port| (child, port)).ok_or_else(|| format!("the local server tells {line:?}"))
}

fn exchange(sim: &Sim, args: &Args, port: u16) -> Result<(Child, Lines<BufReader<ChildStdout>>)> {
    let mut command = Command::new(&args.kubetether);
    command.args(["exchange", "orders", "--to", &port.to_string(), "--kubeconfig"]).arg(sim.kubeconfig());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| format!("{}: {error}", args.kubetether.display()))?;
    let out = child.stdout.take().ok_or("its output is not to be had")?;
    Ok((child, BufReader::new(out).lines()))
}

/// What a command that failed has told.
async fn why(child: Child) -> String {
    let told = tokio::time::timeout(LIMIT, child.wait_with_output()).await;
    match told {
        Ok(Ok(output)) => {
            format!("kubetether: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr))
        }
        _ => "kubetether does not end".to_owned(),
    }
}

/// The Service as the user has it.
fn service(sim: &Sim) -> Value {
    let service = sim.object("services", NAMESPACE, "orders").unwrap_or_default();
    let metadata = &service["metadata"];
    serde_json::json!([metadata["labels"], metadata["annotations"], service["spec"]])
}

/// What the cluster complains about.
fn warnings(sim: &Sim) -> String {
    let all = sim.objects("events", NAMESPACE).into_iter().filter(|event| event["type"] == "Warning");
    all.map(|event| format!("\n  {}: {}", event["involvedObject"]["name"], event["message"])).collect()
}

/// Every object of kubetether.
fn ours(sim: &Sim) -> Vec<String> {
    let label = "app.kubernetes.io/managed-by";
    let kinds =
        ["services", "deployments", "replicasets", "pods", "jobs", "configmaps", "leases", "endpointslices"];
    let all =
        kinds.iter().flat_map(|kind| sim.objects(kind, "").into_iter().map(move |object| (kind, object)));
    let ours = all.filter(|(_, object)| object["metadata"]["labels"][label] == "kubetether");
    ours.map(|(kind, object)| format!("{kind}/{}", object["metadata"]["name"].as_str().unwrap_or_default()))
        .collect()
}

async fn within<T>(what: &str, work: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(LIMIT, work).await.map_err(|_| format!("{what}: not within {LIMIT:?}"))
}

fn took(since: Instant, what: &str) -> Result<()> {
    say(&format!("{:7.1} s  {what}", since.elapsed().as_secs_f64()))
}

fn say(line: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{line}").map_err(|error| format!("standard output: {error}"))
}
