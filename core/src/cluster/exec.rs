//! Credential plugins: a command of the kubeconfig that prints a token, a client certificate, or both.
//!
//! kube's own runs a plugin three times for one client, has no deadline, takes the host's standard input
//! without asking whether it is a terminal, and never renews a certificate.

#[cfg(test)]
mod tests;

use std::io::{IsTerminal, Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::kubeconfig::{Cluster, Exec, LoadError, Secret};
use super::tls::{self, Identity};

/// The extension of a cluster entry whose content plugins get as `config`.
const EXTENSION: &str = "client.authentication.k8s.io/exec";
/// The versions kubectl speaks.
const VERSIONS: [&str; 2] = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];
/// The most a plugin may print; real ones stay under 10 KiB.
const OUTPUT_LIMIT: u64 = 1024 * 1024;
/// How much of what it says on stderr goes into an error, from the end.
const STDERR_SHOWN: usize = 2048;
/// How long the pipes of a plugin that has ended may stay open: a daemon that it left behind may hold them.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A plugin ready to run.
pub(crate) struct Plugin {
    command: String,
    args: Vec<String>,
    env: Vec<(String, Secret)>,
    version: String,
    hint: Option<String>,
    interactive: bool,
    /// What it is told, in `KUBERNETES_EXEC_INFO`.
    info: String,
}

/// What a plugin gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExecCredential {
    pub(crate) token: Option<Secret>,
    pub(crate) identity: Option<Identity>,
    pub(crate) expires: Option<SystemTime>,
}

impl Plugin {
    /// Checks the entry as kubectl does and prepares what the plugin is told about the cluster.
    pub(crate) fn new(exec: &Exec, cluster: &Cluster, user: &str) -> Result<Self, LoadError> {
        let refused = |problem: String| LoadError::Credentials { user: user.to_owned(), problem };
        if exec.command.is_empty() {
            return Err(refused("its exec entry names no command".to_owned()));
        }
        if !VERSIONS.contains(&exec.api_version.as_str()) {
            return Err(refused(format!(
                "its exec entry has apiVersion \"{}\"; it must be {} or {}: update the plugin and let it write the entry again",
                exec.api_version, VERSIONS[0], VERSIONS[1]
            )));
        }
        if exec.env.iter().any(|variable| variable.name.is_empty() || variable.name.contains(['=', '\0'])) {
            return Err(refused(
                "its exec entry sets an environment variable without a proper name".to_owned(),
            ));
        }
        let terminal = std::io::stdin().is_terminal();
        let interactive = match exec.interactive_mode.as_str() {
            "Never" => false,
            "" | "IfAvailable" => terminal,
            "Always" if terminal => true,
            "Always" => {
                return Err(refused(format!(
                    "`{}` wants to ask questions (interactiveMode: Always) and standard input is no terminal: log in \
                     with it in a terminal first, or set interactiveMode: IfAvailable",
                    exec.command
                )));
            }
            other => {
                return Err(refused(format!(
                    "its exec entry has interactiveMode \"{other}\"; it must be Never, IfAvailable or Always"
                )));
            }
        };
        let about = exec.provide_cluster_info.then(|| ClusterInfo::new(cluster)).transpose()?;
        let request = Request {
            kind: "ExecCredential",
            api_version: &exec.api_version,
            spec: Spec { interactive, cluster: about },
        };
        Ok(Self {
            command: exec.command.clone(),
            args: exec.args.clone(),
            env: exec.env.iter().map(|variable| (variable.name.clone(), variable.value.clone())).collect(),
            version: exec.api_version.clone(),
            hint: Some(exec.install_hint.trim().to_owned()).filter(|hint| !hint.is_empty()),
            interactive,
            info: serde_json::to_string(&request).map_err(|error| refused(error.to_string()))?,
        })
    }

    /// Runs the command once. Dropping the future, or the deadline, kills it.
    pub(crate) async fn run(&self, deadline: Duration) -> Result<ExecCredential, LoadError> {
        tracing::debug!(
            command = self.command,
            interactive = self.interactive,
            "running a credential plugin"
        );
        let mut command = Command::new(&self.command);
        command
            .args(&self.args)
            .envs(self.env.iter().map(|(name, value)| (name, value.reveal())))
            .env("KUBERNETES_EXEC_INFO", &self.info)
            // Somebody else's terminal, or the protocol an editor speaks with its extension host, is not the plugin's to read.
            .stdin(if self.interactive { Stdio::inherit() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        #[cfg(windows)]
        if !self.interactive {
            use std::os::windows::process::CommandExt;
            const CREATE_NO_WINDOW: u32 = 0x0800_0000;
            command.creation_flags(CREATE_NO_WINDOW);
        }
        let mut child = Running(command.spawn().map_err(|error| self.not_started(&error))?);
        // A prompt that nobody sees is a hang: what an interactive plugin says goes to the terminal as well.
        let show = self.interactive && std::io::stderr().is_terminal();
        let stderr = Capture::start(child.0.stderr.take(), show).map_err(|error| self.not_started(&error))?;
        let stdout =
            Capture::start(child.0.stdout.take(), false).map_err(|error| self.not_started(&error))?;
        let ended = tokio::time::timeout(deadline, child.ended()).await;
        let said = |stderr: &[u8]| tail(&String::from_utf8_lossy(stderr));
        let status = match ended {
            Ok(Ok(status)) => status,
            Ok(Err(error)) => {
                return Err(self.failed(format!("could not be waited for: {error}"), String::new()));
            }
            Err(_) => {
                drop(child);
                let stderr = said(&stderr.finish().await);
                return Err(self.failed(
                    format!(
                        "gave no credentials within {} s and was stopped: run it in a terminal to see what it waits for",
                        deadline.as_secs()
                    ),
                    stderr,
                ));
            }
        };
        let (stdout, stderr) = tokio::join!(stdout.finish(), stderr.finish());
        if !status.success() {
            return Err(self.failed(
                format!("failed ({status}): log in with it again, or run it in a terminal to see why"),
                said(&stderr),
            ));
        }
        parse(&stdout, &self.version).map_err(|problem| self.failed(problem, said(&stderr)))
    }

    /// The error of a run that did not come to its end.
    pub(crate) fn stopped(&self) -> LoadError {
        self.failed("was stopped, since the session or its runtime ended".to_owned(), String::new())
    }

    fn not_started(&self, error: &std::io::Error) -> LoadError {
        let missing = error.kind() == std::io::ErrorKind::NotFound;
        let problem = match (missing, Path::new(&self.command).components().count() > 1) {
            (true, true) => "is not there: install it, or correct its path in the kubeconfig".to_owned(),
            (true, false) => {
                "is not in this process's PATH: install it, or start this program from a shell that finds it"
                    .to_owned()
            }
            (false, _) => format!("could not be started: {error}"),
        };
        self.failed(problem, String::new())
    }

    fn failed(&self, problem: String, stderr: String) -> LoadError {
        // Arguments help to try it by hand; the environment may hold secrets and is left out.
        let command = [&self.command]
            .into_iter()
            .chain(&self.args)
            .map(|word| quoted(word))
            .collect::<Vec<_>>()
            .join(" ");
        LoadError::Exec { command, problem, stderr, hint: self.hint.clone() }
    }
}

/// A child that does not outlive the wish for it.
struct Running(Child);

impl Running {
    async fn ended(&mut self) -> std::io::Result<ExitStatus> {
        // Asked, not signalled: a SIGCHLD handler would be the whole process's, and the host has its own.
        let mut pause = Duration::from_millis(1);
        loop {
            if let Some(status) = self.0.try_wait()? {
                return Ok(status);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails only when it has ended already; the wait after a kill is only the reaping.
        if self.0.kill().is_ok() {
            let _ = self.0.wait();
        }
    }
}

/// Reads one pipe to its end on a thread of its own: a plugin that fills the other one must not stall.
struct Capture {
    bytes: Arc<Mutex<Vec<u8>>>,
    end: oneshot::Receiver<()>,
}

impl Capture {
    fn start(pipe: Option<impl Read + Send + 'static>, show: bool) -> std::io::Result<Self> {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let (ended, end) = oneshot::channel();
        let into = Arc::clone(&bytes);
        std::thread::Builder::new().name("kubetether-plugin".to_owned()).spawn(move || {
            if let Some(pipe) = pipe {
                copy(pipe, &into, show);
            }
            let _ = ended.send(());
        })?;
        Ok(Self { bytes, end })
    }

    async fn finish(self) -> Vec<u8> {
        // Late is as good as ended: what came until now is what there is.
        let _ = tokio::time::timeout(LAST_WORDS, self.end).await;
        std::mem::take(&mut *self.bytes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn copy(mut pipe: impl Read, into: &Mutex<Vec<u8>>, show: bool) {
    let mut buffer = [0; 4096];
    let mut left = OUTPUT_LIMIT;
    while let Ok(count) = pipe.read(&mut buffer) {
        if count == 0 {
            break;
        }
        if show {
            let _ = std::io::stderr().write_all(&buffer[..count]);
        }
        // Beyond the limit it is read and dropped, so that the plugin can end.
        let kept = count.min(usize::try_from(left).unwrap_or(usize::MAX));
        left -= kept as u64;
        into.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&buffer[..kept]);
    }
}

/// What the plugin printed, JSON or YAML. No error quotes it: it holds the credentials.
fn parse(stdout: &[u8], version: &str) -> Result<ExecCredential, String> {
    let text = std::str::from_utf8(stdout).map_err(|_| "printed something that is not text".to_owned())?;
    if text.trim().is_empty() {
        return Err("printed no credentials: it must print an ExecCredential on standard output".to_owned());
    }
    let answer: Answer = serde_saphyr::from_str(text).map_err(|_| {
        "printed something that is not an ExecCredential: check its version and arguments".to_owned()
    })?;
    if answer.api_version.as_deref() != Some(version) {
        return Err(format!(
            "answered in version \"{}\" where the kubeconfig asks for \"{version}\": set the entry's apiVersion to what it speaks",
            answer.api_version.unwrap_or_default()
        ));
    }
    let status = answer.status.ok_or("printed an ExecCredential without a status")?;
    let set = |text: Option<String>| text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let token = set(status.token);
    if token.as_ref().is_some_and(|token| !token.bytes().all(|byte| byte.is_ascii_graphic())) {
        return Err("gave a token with characters that no header may have".to_owned());
    }
    let token = token.map(Secret::new);
    let identity = match (set(status.client_certificate_data), set(status.client_key_data)) {
        (Some(certificate), Some(key)) => Some(Identity::new(certificate.into_bytes(), key.into_bytes())),
        (None, None) => None,
        (Some(_), None) => return Err("gave a client certificate without its key".to_owned()),
        (None, Some(_)) => return Err("gave a client key without its certificate".to_owned()),
    };
    if token.is_none() && identity.is_none() {
        return Err("gave neither a token nor a client certificate".to_owned());
    }
    let expires = set(status.expiration_timestamp)
        .map(|text| text.parse::<Timestamp>().map(SystemTime::from))
        .transpose()
        .map_err(|error| format!("gave an expirationTimestamp that is no time: {error}"))?;
    Ok(ExecCredential { token, identity, expires })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    api_version: Option<String>,
    status: Option<Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    expiration_timestamp: Option<String>,
    token: Option<String>,
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    kind: &'a str,
    api_version: &'a str,
    spec: Spec<'a>,
}

#[derive(Serialize)]
struct Spec<'a> {
    interactive: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<ClusterInfo<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ClusterInfo<'a> {
    server: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    tls_server_name: &'a str,
    #[serde(skip_serializing_if = "is_false")]
    insecure_skip_tls_verify: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    certificate_authority_data: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    proxy_url: &'a str,
    #[serde(skip_serializing_if = "is_false")]
    disable_compression: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<&'a serde_json::Value>,
}

impl<'a> ClusterInfo<'a> {
    fn new(cluster: &'a Cluster) -> Result<Self, LoadError> {
        Ok(Self {
            server: &cluster.server,
            tls_server_name: &cluster.tls_server_name,
            insecure_skip_tls_verify: cluster.insecure_skip_tls_verify,
            // Always as data: the plugin's folder is not the kubeconfig's.
            certificate_authority_data: tls::authority(cluster)?
                .map(|pem| tls::encode_base64(&pem))
                .unwrap_or_default(),
            proxy_url: &cluster.proxy_url,
            disable_compression: cluster.disable_compression,
            config: cluster
                .extensions
                .iter()
                .find(|entry| entry.name == EXTENSION)
                .map(|entry| &entry.extension),
        })
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

fn quoted(word: &str) -> String {
    if word.is_empty() || word.contains(char::is_whitespace) { format!("'{word}'") } else { word.to_owned() }
}

/// The end of a long text, in one line: what went wrong is said last.
fn tail(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut start = text.len().saturating_sub(STDERR_SHOWN);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    if start == 0 { text } else { format!("... {}", &text[start..]) }
}
