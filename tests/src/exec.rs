//! The workload's commands in a pod, through the Kubernetes API.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, AttachParams, AttachedProcess};
use tokio::io::AsyncReadExt;

/// Bytes of output on their way that do not wait for their reader.
const BUFFER: usize = 256 * 1024;

/// How a command ended.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    /// With exit code 0.
    pub(crate) ok: bool,
    /// All of its output.
    pub(crate) out: String,
    /// All of its error output; the cluster's own words when it could not run.
    pub(crate) err: String,
}

/// The workload's program in its image.
const PROGRAM: &str = "/workload";

/// Starts a command of the workload, with its standard streams.
///
/// # Errors
/// The cluster's words.
pub(crate) async fn start(
    pods: &Api<Pod>,
    pod: &str,
    args: &[&str],
    stdin: bool,
) -> Result<AttachedProcess, String> {
    let params = AttachParams::default()
        .stdin(stdin)
        .stdout(true)
        .stderr(!stdin)
        .max_stdout_buf_size(BUFFER)
        .max_stderr_buf_size(BUFFER);
    let command = [PROGRAM].iter().chain(args).copied();
    pods.exec(pod, command, &params).await.map_err(|error| format!("exec of {args:?} in pod {pod}: {error}"))
}

/// Runs a command of the workload to its end.
///
/// # Errors
/// When it could not be run or the connection to it broke.
pub(crate) async fn run(pods: &Api<Pod>, pod: &str, args: &[&str]) -> Result<Output, String> {
    let mut process = start(pods, pod, args, false).await?;
    let broke = |what: &str| format!("exec of {args:?} in pod {pod}: {what}");
    let mut out = process.stdout().ok_or_else(|| broke("no output"))?;
    let mut err = process.stderr().ok_or_else(|| broke("no error output"))?;
    let status = process.take_status().ok_or_else(|| broke("no status"))?;
    let (mut out_text, mut err_text) = (String::new(), String::new());
    let (read_out, read_err, status) =
        tokio::join!(out.read_to_string(&mut out_text), err.read_to_string(&mut err_text), status);
    read_out.and(read_err).map_err(|error| broke(&error.to_string()))?;
    let status = status.ok_or_else(|| broke("the connection broke"))?;
    let ok = status.status.as_deref() == Some("Success");
    if !ok && err_text.is_empty() {
        err_text = status.message.unwrap_or_default();
    }
    Ok(Output { ok, out: out_text, err: err_text })
}
