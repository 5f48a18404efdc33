//! A small API server: TLS with certificates made at run time, every request written down.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_util::task::AbortOnDropHandle;

/// A certificate authority.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pub(super) pem: String,
}

/// A certificate with its key.
pub(super) struct Signed {
    pub(super) certificate: String,
    pub(super) key: String,
    der: CertificateDer<'static>,
    key_der: Vec<u8>,
}

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self {
            pem: certificate.pem(),
            certificate: certificate.der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    /// Its own certificate, for a server that signs for itself.
    pub(super) fn itself(&self) -> Signed {
        let key = self.issuer.key();
        Signed {
            certificate: self.pem.clone(),
            key: key.serialize_pem(),
            der: self.certificate.clone(),
            key_der: key.serialize_der(),
        }
    }

    /// For a server by these names, or for a client by this one.
    pub(super) fn sign(&self, names: &[&str]) -> Signed {
        self.sign_with(names, |_| {})
    }

    pub(super) fn sign_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Signed {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names.clone()).unwrap();
        params.distinguished_name.push(DnType::CommonName, names[0].clone());
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Signed {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            der: certificate.der().clone(),
            key_der: key.serialize_der(),
        }
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        Arc::new(roots)
    }
}

/// What the server was asked.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) line: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) server_name: Option<String>,
    pub(super) client: Option<CertificateDer<'static>>,
    /// Numbers the connections.
    pub(super) connection: usize,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(super) fn headers(&self, name: &str) -> Vec<&str> {
        self.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }

    pub(super) fn is_by(&self, client: &Signed) -> bool {
        self.client.as_ref() == Some(&client.der)
    }
}

/// How to answer; with nothing scripted it is 200 and an empty object.
pub(super) enum Answer {
    Status(u16, &'static [(&'static str, &'static str)]),
    /// The connection ends without an answer.
    Hangup,
    /// 401 to this token, else as usual.
    UnlessToken(&'static str),
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Vec<Seen>>,
    script: Mutex<VecDeque<Answer>>,
    tls: Mutex<Option<Arc<ServerConfig>>>,
}

pub(super) struct Server {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
    _task: AbortOnDropHandle<()>,
}

impl Server {
    /// Without TLS.
    pub(super) async fn plain() -> Self {
        Self::start(None).await
    }

    pub(super) async fn tls(by: &Signed) -> Self {
        Self::start(Some(server_config(by, None))).await
    }

    /// Demands a client certificate.
    pub(super) async fn mutual(by: &Signed, clients: &Authority) -> Self {
        Self::start(Some(server_config(by, Some(clients)))).await
    }

    async fn start(tls: Option<ServerConfig>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { tls: Mutex::new(tls.map(Arc::new)), ..Shared::default() });
        let task = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { address, shared, _task: AbortOnDropHandle::new(task) }
    }

    /// New connections see this certificate.
    pub(super) fn replace(&self, by: &Signed) {
        *self.shared.tls.lock().unwrap() = Some(Arc::new(server_config(by, None)));
    }

    pub(super) fn script(&self, answers: impl IntoIterator<Item = Answer>) {
        self.shared.script.lock().unwrap().extend(answers);
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    pub(super) fn last(&self) -> Seen {
        self.seen().pop().expect("the server was asked nothing")
    }

    pub(super) fn url(&self) -> String {
        format!("https://{}", self.address)
    }
}

pub(super) fn server_config(by: &Signed, clients: Option<&Authority>) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let builder = builder.unwrap();
    let builder = match clients {
        Some(clients) => builder.with_client_cert_verifier(
            WebPkiClientVerifier::builder_with_provider(clients.roots(), provider).build().unwrap(),
        ),
        None => builder.with_no_client_auth(),
    };
    let key = PrivateKeyDer::try_from(by.key_der.clone()).unwrap();
    builder.with_single_cert(vec![by.der.clone()], key).unwrap()
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut tasks = tokio::task::JoinSet::new();
    for connection in 0.. {
        let Ok((stream, _)) = listener.accept().await else { return };
        let shared = Arc::clone(&shared);
        let tls = shared.tls.lock().unwrap().clone();
        tasks.spawn(async move {
            let mut about = Seen {
                line: String::new(),
                headers: HeaderMap::new(),
                body: Bytes::new(),
                server_name: None,
                client: None,
                connection,
            };
            let Some(tls) = tls else { return serve(stream, about, shared).await };
            // Clients that do not believe us hang up; the tests look at their errors.
            let Ok(stream) = tokio_rustls::TlsAcceptor::from(tls).accept(stream).await else { return };
            about.server_name = stream.get_ref().1.server_name().map(str::to_owned);
            about.client = stream.get_ref().1.peer_certificates().map(|chain| chain[0].clone().into_owned());
            serve(stream, about, shared).await;
        });
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    about: Seen,
    shared: Arc<Shared>,
) {
    let service =
        service_fn(move |request: Request<Incoming>| answer(request, about.clone(), Arc::clone(&shared)));
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
}

async fn answer(
    mut request: Request<Incoming>,
    mut about: Seen,
    shared: Arc<Shared>,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    about.line = format!("{} {}", request.method(), request.uri());
    about.headers = request.headers().clone();
    about.body = request.body_mut().collect().await.map_err(std::io::Error::other)?.to_bytes();
    let token = about.header("authorization").unwrap_or_default().to_owned();
    shared.seen.lock().unwrap().push(about);
    let (status, headers) = match shared.script.lock().unwrap().pop_front() {
        Some(Answer::Hangup) => return Err(std::io::Error::other("hang up")),
        Some(Answer::UnlessToken(bad)) if token == format!("Bearer {bad}") => (401, [].as_slice()),
        Some(Answer::Status(status, headers)) => (status, headers),
        Some(Answer::UnlessToken(_)) | None => (200, [].as_slice()),
    };
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    if let Some(key) = request.headers().get("sec-websocket-key").filter(|_| status == 200) {
        response = response
            .status(101)
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-accept", derive_accept_key(key.as_bytes()))
            .header("sec-websocket-protocol", "v4.channel.k8s.io");
        tokio::spawn(echo(hyper::upgrade::on(request)));
    }
    let body = if status == 200 { "{}" } else { "" };
    Ok(response.body(Full::new(Bytes::from_static(body.as_bytes()))).unwrap())
}

/// Gives WebSocket messages back.
async fn echo(upgrade: hyper::upgrade::OnUpgrade) {
    use futures_util::{SinkExt as _, StreamExt as _};
    use tokio_tungstenite::{WebSocketStream, tungstenite::protocol::Role};
    let io = TokioIo::new(upgrade.await.unwrap());
    let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
    while let Some(Ok(message)) = socket.next().await {
        if message.is_binary() {
            socket.send(message).await.unwrap();
        }
    }
}
