//! The connections to one API server: straight or through a proxy, by the certificates that hold now.
//!
//! Certificates in files are read again once a minute and after a failed connection; when they, or those
//! of a plugin, have changed, a fresh pool takes over and the old one's idle connections close.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Request, Response, Uri};
use hyper::body::Incoming;
use hyper_rustls::{DefaultServerNameResolver, FixedServerNameResolver, HttpsConnector, ResolveServerName};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::Error as HttpError;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::Body;
use rustls::pki_types::ServerName;
use tower::BoxError;
use tower::util::BoxCloneSyncService;

use super::Times;
use super::bounded::Bounded;
use crate::cluster::kubeconfig::{LoadError, Proxy, ProxyKind, Selected};
use crate::cluster::tls::{Identity, Material};

/// One pool of connections.
pub(super) type Pool = BoxCloneSyncService<Request<Body>, Response<Incoming>, HttpError>;

pub(super) struct Connections {
    selected: Selected,
    times: Times,
    state: Mutex<State>,
}

struct State {
    /// As the files were when last read.
    files: Material,
    /// What `pool` was made of: the files, and a plugin's certificate.
    made_of: Material,
    pool: Pool,
    read: Instant,
    /// A connection failed: whoever replaced the server's certificates may have replaced our files too.
    suspect: bool,
}

impl Connections {
    pub(super) fn new(selected: Selected, times: Times) -> Result<Self, LoadError> {
        let files = Material::read(&selected.cluster, &selected.user)?;
        let pool = pool(&selected, &files, times)?;
        let state = State { made_of: files.clone(), files, pool, read: Instant::now(), suspect: false };
        Ok(Self { selected, times, state: Mutex::new(state) })
    }

    pub(super) fn selected(&self) -> &Selected {
        &self.selected
    }

    /// The pool for a request by this identity. Files that cannot be read or do not fit together, which is
    /// what they look like while somebody replaces them, leave things as they were until the next look.
    pub(super) fn pool(&self, identity: Option<Identity>) -> Result<Pool, LoadError> {
        let mut state = self.lock();
        let due = if state.suspect { self.times.suspect } else { self.times.reread };
        if state.read.elapsed() >= due {
            state.read = Instant::now();
            state.suspect = false;
            if let Err(error) = state.look(&self.selected, identity.clone(), self.times) {
                tracing::debug!(%error, "the certificates in the files cannot be used; the old ones stay");
            }
        }
        let wanted = state.files.with(identity);
        if wanted != state.made_of {
            state.pool = pool(&self.selected, &wanted, self.times)?;
            state.made_of = wanted;
        }
        Ok(state.pool.clone())
    }

    /// A connection could not be made.
    pub(super) fn suspect(&self) {
        self.lock().suspect = true;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn look(
        &mut self,
        selected: &Selected,
        identity: Option<Identity>,
        times: Times,
    ) -> Result<(), LoadError> {
        let files = Material::read(&selected.cluster, &selected.user)?;
        if files != self.files {
            let wanted = files.with(identity);
            self.pool = pool(selected, &wanted, times)?;
            self.made_of = wanted;
            self.files = files;
            tracing::debug!(server = %selected.server, "certificates changed; new connections use them");
        }
        Ok(())
    }
}

fn pool(selected: &Selected, material: &Material, times: Times) -> Result<Pool, LoadError> {
    let tcp = tcp(times);
    let Some(proxy) = &selected.proxy else { return secured(selected, material, tcp, times) };
    match proxy.kind {
        ProxyKind::Http => secured(selected, material, tunnel(proxy, tcp)?, times),
        ProxyKind::Https => {
            let names = Arc::new(DefaultServerNameResolver::default());
            let tls = HttpsConnector::new(tcp, material.proxy_config()?, true, names);
            secured(selected, material, tunnel(proxy, tls)?, times)
        }
        ProxyKind::Socks5 => {
            let mut socks = SocksV5::new(proxy.address.clone(), tcp);
            if let Some(login) = &proxy.login {
                socks = socks.with_auth(login.user.clone(), login.password.reveal().to_owned());
            }
            secured(selected, material, socks, times)
        }
    }
}

fn tcp(times: Times) -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    // A watch says nothing for minutes: only probes tell that a laptop's network has changed.
    tcp.set_keepalive(Some(times.keepalive));
    tcp.set_keepalive_interval(Some(times.keepalive / 3));
    tcp.set_keepalive_retries(Some(3));
    tcp
}

fn tunnel<C>(proxy: &Proxy, connector: C) -> Result<Tunnel<C>, LoadError> {
    let tunnel = Tunnel::new(proxy.address.clone(), connector);
    let Some(login) = &proxy.login else { return Ok(tunnel) };
    let login = STANDARD.encode(format!("{}:{}", login.user, login.password.reveal()));
    let header = HeaderValue::try_from(format!("Basic {login}")).map_err(|error| LoadError::Proxy {
        url: proxy.to_string(),
        origin: "its login",
        problem: error.to_string(),
    })?;
    Ok(tunnel.with_auth(header))
}

/// TLS over `connector`, unless the server is plain http, and the pool above it.
fn secured<C>(selected: &Selected, material: &Material, connector: C, times: Times) -> Result<Pool, LoadError>
where
    C: tower::Service<Uri> + Clone + Send + Sync + 'static,
    C::Response:
        hyper_util::client::legacy::connect::Connection + hyper::rt::Read + hyper::rt::Write + Send + Unpin,
    C::Future: Send + Unpin,
    C::Error: Into<BoxError> + Send,
{
    if selected.server.scheme_str() == Some("http") {
        return Ok(boxed(Bounded::new(connector, times.connect)));
    }
    let name = &selected.cluster.tls_server_name;
    let names: Arc<dyn ResolveServerName + Send + Sync> = if name.is_empty() {
        Arc::new(DefaultServerNameResolver::default())
    } else {
        let name = ServerName::try_from(name.clone()).map_err(|error| LoadError::Certificate {
            what: "the server's name for TLS",
            origin: format!("tls-server-name \"{name}\""),
            problem: error.to_string(),
        })?;
        Arc::new(FixedServerNameResolver::new(name))
    };
    let tls = HttpsConnector::new(connector, material.client_config()?, true, names);
    Ok(boxed(Bounded::new(tls, times.connect)))
}

fn boxed<C: Connect + Clone + Send + Sync + 'static>(connector: C) -> Pool {
    // The server closes idle connections too; being first avoids requests on one that is just closing.
    const IDLE: Duration = Duration::from_secs(60);
    let client = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .build::<_, Body>(connector);
    Pool::new(client)
}
