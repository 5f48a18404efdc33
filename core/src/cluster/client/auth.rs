//! Who we say we are, from request to request: tokens that change in a file, plugins that are run again.
//!
//! kube's layer is not used: it sends the line break at the end of a token file, prefers a password over
//! a token, and runs plugins without a deadline.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use http::HeaderValue;
use tokio_util::task::AbortOnDropHandle;

use super::Times;
use crate::cluster::exec::{ExecCredential, Plugin};
use crate::cluster::kubeconfig::{LoadError, Selected, User};
use crate::cluster::tls::Identity;

/// What a request carries.
#[derive(Clone, Debug, Default)]
pub(super) struct Credentials {
    /// The `Authorization` header.
    pub(super) header: Option<HeaderValue>,
    /// A client certificate that a plugin gave.
    pub(super) identity: Option<Identity>,
    /// Grows whenever the credentials change.
    pub(super) generation: u64,
}

/// The user's way to log in.
pub(super) enum Authorizer {
    /// By nothing, by the kubeconfig's certificate, or by a header that never changes.
    Fixed(Credentials),
    File(TokenFile),
    Exec(Box<Runner>),
}

impl Authorizer {
    /// Chooses by kubectl's precedence: what stands in the entry itself wins over the plugin.
    pub(super) fn new(selected: &Selected, times: Times) -> Result<Self, LoadError> {
        let user = &selected.user;
        let name = selected.user_name.as_deref().unwrap_or_default();
        let refused =
            |problem: &str| LoadError::Credentials { user: name.to_owned(), problem: problem.to_owned() };
        let password = !user.username.is_empty() || !user.password.is_empty();
        let token = !user.token.is_empty() || !user.token_file.is_empty();
        if password && token {
            return Err(refused("it has a token and a password; keep one of the two"));
        }
        if user.exec.is_some() && user.auth_provider.is_some() {
            return Err(refused("it has an exec plugin and an auth-provider; remove the auth-provider"));
        }
        if user.impersonate.is_empty()
            && !(user.impersonate_uid.is_empty()
                && user.impersonate_groups.is_empty()
                && user.impersonate_extra.is_empty())
        {
            return Err(refused(
                "it has as-uid, as-groups or as-user-extra without `as`; name the user to act as",
            ));
        }
        if password {
            let login = STANDARD.encode(format!("{}:{}", user.username, user.password.reveal()));
            return Ok(Self::fixed(
                header("Basic", &login).ok_or_else(|| refused("its password cannot be sent"))?,
            ));
        }
        if !user.token_file.is_empty() {
            return TokenFile::new(user, times.reread).map(Self::File);
        }
        if !user.token.is_empty() {
            let header = header("Bearer", user.token.reveal());
            return Ok(Self::fixed(
                header.ok_or_else(|| refused("its token holds characters that no header may"))?,
            ));
        }
        let certificate = !user.client_certificate.is_empty() || !user.client_certificate_data.is_empty();
        if let Some(exec) = user.exec.as_ref().filter(|_| !certificate) {
            let plugin = Plugin::new(exec, &selected.cluster, name)?;
            return Ok(Self::Exec(Box::new(Runner::new(plugin, times))));
        }
        if let Some(provider) = user.auth_provider.as_ref().filter(|_| !certificate) {
            let token =
                provider.config.get("id-token").filter(|token| provider.name == "oidc" && !token.is_empty());
            let Some(token) = token else {
                return Err(refused(&format!(
                    "the auth-provider \"{}\" is no longer supported, by kubectl neither; use the provider's exec plugin \
                     (kubelogin, gke-gcloud-auth-plugin)",
                    provider.name
                )));
            };
            return Ok(Self::fixed(
                header("Bearer", token.reveal()).ok_or_else(|| refused("its id-token is no token"))?,
            ));
        }
        Ok(Self::Fixed(Credentials::default()))
    }

    fn fixed(header: HeaderValue) -> Self {
        Self::Fixed(Credentials { header: Some(header), ..Credentials::default() })
    }

    /// What to send first, with all the error has to say. A plugin is run for it, and ended when this is dropped.
    pub(super) async fn first(&self, limit: Duration) -> Result<Credentials, LoadError> {
        match self {
            Self::Fixed(credentials) => Ok(credentials.clone()),
            Self::File(file) => Ok(file.current()),
            Self::Exec(runner) => {
                let given = runner.plugin.run(limit).await?;
                Ok(lock(&runner.state).hold(given))
            }
        }
    }

    /// What to send now; renewed first when it is due. Cancel-safe: a plugin that runs goes on for the next caller.
    pub(super) async fn current(&self) -> Result<Credentials, Arc<LoadError>> {
        match self {
            Self::Fixed(credentials) => Ok(credentials.clone()),
            Self::File(file) => Ok(file.current()),
            Self::Exec(runner) => runner.current().await,
        }
    }

    /// The server knows these credentials no longer (401): what can be renewed is, at the next [`current`](Self::current).
    pub(super) fn rejected(&self, generation: u64) {
        match self {
            Self::Fixed(_) => {}
            Self::File(file) => file.rejected(generation),
            Self::Exec(runner) => runner.rejected(generation),
        }
    }
}

/// A token in a file that others replace, as the kubelet does every hour.
pub(super) struct TokenFile {
    path: PathBuf,
    reread: Duration,
    state: Mutex<FileState>,
}

struct FileState {
    current: Credentials,
    /// `None`: read it at once.
    read: Option<Instant>,
}

impl TokenFile {
    fn new(user: &User, reread: Duration) -> Result<Self, LoadError> {
        let path = PathBuf::from(&user.token_file);
        let header = match read_token(&path) {
            Ok(header) => header,
            // As client-go: a token beside the file is what to go on with while the file cannot be read.
            Err(source) => header("Bearer", user.token.reveal())
                .filter(|_| !user.token.is_empty())
                .ok_or_else(|| LoadError::Read { what: "the token file", path: path.clone(), source })?,
        };
        let current = Credentials { header: Some(header), ..Credentials::default() };
        Ok(Self { path, reread, state: Mutex::new(FileState { current, read: Some(Instant::now()) }) })
    }

    fn current(&self) -> Credentials {
        let mut state = lock(&self.state);
        if state.read.is_none_or(|read| read.elapsed() >= self.reread) {
            state.read = Some(Instant::now());
            match read_token(&self.path) {
                Ok(header) if Some(&header) != state.current.header.as_ref() => {
                    state.current.header = Some(header);
                    state.current.generation += 1;
                }
                Ok(_) => {}
                // Some take the file away once it was read (kubernetes/kubernetes#68164): the last token stays.
                Err(error) => {
                    tracing::debug!(path = %self.path.display(), %error, "cannot read the token file again")
                }
            }
        }
        state.current.clone()
    }

    fn rejected(&self, generation: u64) {
        let mut state = lock(&self.state);
        if state.current.generation == generation {
            state.read = None;
        }
    }
}

fn read_token(path: &std::path::Path) -> std::io::Result<HeaderValue> {
    let text = std::fs::read_to_string(path)?;
    let invalid = |problem| std::io::Error::new(std::io::ErrorKind::InvalidData, problem);
    if text.trim().is_empty() {
        return Err(invalid("it is empty"));
    }
    header("Bearer", &text).ok_or_else(|| invalid("it holds characters that no token has"))
}

fn header(scheme: &str, secret: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("{scheme} {}", secret.trim())).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Runs a plugin when its credentials are due, once for all who wait.
pub(super) struct Runner {
    plugin: Arc<Plugin>,
    times: Times,
    state: Mutex<RunnerState>,
}

type Outcome = Result<ExecCredential, Arc<LoadError>>;
type Run = Shared<BoxFuture<'static, Outcome>>;

#[derive(Default)]
struct RunnerState {
    generation: u64,
    runs: u64,
    running: Option<(u64, Run)>,
    held: Option<Held>,
    failed: Option<(Instant, Arc<LoadError>)>,
}

struct Held {
    credentials: Credentials,
    since: Instant,
    /// When to run the plugin again, and when the server will refuse.
    renew: Option<SystemTime>,
    expires: Option<SystemTime>,
    rejected: bool,
}

impl Runner {
    fn new(plugin: Plugin, times: Times) -> Self {
        Self { plugin: Arc::new(plugin), times, state: Mutex::default() }
    }

    async fn current(&self) -> Result<Credentials, Arc<LoadError>> {
        let (number, run) = {
            let mut state = lock(&self.state);
            if let Some(held) = &state.held
                && !held.is_due(SystemTime::now(), self.times.plugin_rest)
            {
                return Ok(held.credentials.clone());
            }
            if let Some((at, error)) = &state.failed
                && at.elapsed() < self.times.plugin_rest
            {
                return state.last_resort(error);
            }
            let number = state.runs;
            state.running.get_or_insert_with(|| (number + 1, self.start())).clone()
        };
        let outcome = run.await;
        let mut state = lock(&self.state);
        // The first of those who waited books the outcome.
        if state.running.as_ref().is_some_and(|(running, _)| *running == number) {
            state.running = None;
            state.runs = number;
            match &outcome {
                Ok(given) => drop(state.hold(given.clone())),
                Err(error) => state.failed = Some((Instant::now(), Arc::clone(error))),
            }
        }
        match (outcome, &state.held) {
            (Ok(_), Some(held)) => Ok(held.credentials.clone()),
            (Ok(given), None) => Ok(state.hold(given)),
            (Err(error), _) => state.last_resort(&error),
        }
    }

    /// A task, so that it does not die with the one request that happened to start it; ended with the runner.
    fn start(&self) -> Run {
        let plugin = Arc::clone(&self.plugin);
        let deadline = self.times.plugin;
        let task = AbortOnDropHandle::new(tokio::spawn(async move { plugin.run(deadline).await }));
        let plugin = Arc::clone(&self.plugin);
        async move {
            match task.await {
                Ok(outcome) => outcome.map_err(Arc::new),
                Err(_) => Err(Arc::new(plugin.stopped())),
            }
        }
        .boxed()
        .shared()
    }

    fn rejected(&self, generation: u64) {
        let mut state = lock(&self.state);
        if let Some(held) = state.held.as_mut().filter(|held| held.credentials.generation == generation) {
            held.rejected = true;
        }
    }
}

impl RunnerState {
    fn hold(&mut self, given: ExecCredential) -> Credentials {
        self.failed = None;
        self.generation += 1;
        let credentials = Credentials {
            header: given.token.as_ref().and_then(|token| header("Bearer", token.reveal())),
            identity: given.identity,
            generation: self.generation,
        };
        self.held = Some(Held {
            credentials: credentials.clone(),
            since: Instant::now(),
            renew: given.expires.map(|at| at - margin(at)),
            expires: given.expires,
            rejected: false,
        });
        credentials
    }

    /// While the plugin fails, what it gave before is used for as long as the server may still take it.
    fn last_resort(&self, error: &Arc<LoadError>) -> Result<Credentials, Arc<LoadError>> {
        match &self.held {
            Some(held) if !held.rejected && held.expires.is_none_or(|at| SystemTime::now() < at) => {
                tracing::debug!(%error, "credentials not renewed; the old ones are good for a little longer");
                Ok(held.credentials.clone())
            }
            _ => Err(Arc::clone(error)),
        }
    }
}

impl Held {
    fn is_due(&self, now: SystemTime, rest: Duration) -> bool {
        // Never twice within the rest: a plugin whose credentials are refused may open a browser every time.
        self.since.elapsed() >= rest && (self.rejected || self.renew.is_some_and(|renew| now >= renew))
    }
}

/// Renewed ten seconds before the end, so that no request travels with a token that dies under way; a fifth
/// of its life for one that lives less than fifty.
fn margin(expires: SystemTime) -> Duration {
    const MARGIN: Duration = Duration::from_secs(10);
    expires.duration_since(SystemTime::now()).map_or(Duration::ZERO, |life| MARGIN.min(life / 5))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
