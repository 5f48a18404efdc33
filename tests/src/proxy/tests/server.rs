//! A small API server, and a client that sees its own connections.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::client::TlsStream;
use tokio_util::task::AbortOnDropHandle;

use crate::proxy::kubeconfig::Given;
use crate::proxy::secure::{self, Authority};

/// What the server was asked.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) method: Method,
    pub(super) uri: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Whether the client showed a certificate.
    pub(super) identified: bool,
    /// Numbers the connections.
    pub(super) connection: usize,
}

/// Answers with what it was asked. `/lines` streams what [`Server::say`] gives; an upgrade echoes.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    folder: TempDir,
    seen: Arc<Mutex<Vec<Seen>>>,
    lines: mpsc::Sender<Bytes>,
    task: AbortOnDropHandle<()>,
}

struct Lines(Arc<Mutex<mpsc::Receiver<Bytes>>>);

impl hyper::body::Body for Lines {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.lock().unwrap().poll_recv(cx).map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}

impl Server {
    pub(super) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// `change` edits the user of its kubeconfig.
    pub(super) async fn start_with(change: impl FnOnce(&mut serde_json::Value)) -> Self {
        let authority = Authority::new("server's").unwrap();
        let pem = authority.pem();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), secure::provider())
            .allow_unauthenticated()
            .build()
            .unwrap();
        let acceptor = secure::acceptor(&authority.sign("server.test").unwrap(), clients).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();

        let admin = authority.sign("admin").unwrap();
        let encoded = |pem: String| STANDARD.encode(pem);
        let mut user = json!({
            "client-certificate-data": encoded(admin.certificate.pem()),
            "client-key-data": encoded(admin.key.serialize_pem()),
        });
        change(&mut user);
        let cluster = json!({
            "server": format!("https://{address}/prefix/"), "tls-server-name": "server.test",
            "certificate-authority-data": encoded(pem),
        });
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{ "name": "c", "cluster": cluster }],
            "contexts": [{ "name": "test", "context": { "cluster": "c", "user": "u" } }],
            "users": [{ "name": "u", "user": user }],
        });
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("kubeconfig"), config.to_string()).unwrap();

        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let (lines, said) = mpsc::channel(16);
        let said = Arc::new(Mutex::new(said));
        let log = seen.clone();
        let task = tokio::spawn(async move {
            let mut tasks = tokio::task::JoinSet::new();
            for connection in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, log, said) = (acceptor.clone(), log.clone(), said.clone());
                tasks.spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let identified = stream.get_ref().1.peer_certificates().is_some();
                    let service = service_fn(move |request| {
                        answer(request, log.clone(), said.clone(), identified, connection)
                    });
                    let serving = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service);
                    let _ = serving.with_upgrades().await;
                });
            }
        });
        Self { address, folder, seen, lines, task: AbortOnDropHandle::new(task) }
    }

    pub(super) fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The next piece of `/lines`.
    pub(super) async fn say(&self, line: &'static str) {
        self.lines.send(Bytes::from(line)).await.unwrap();
    }

    /// As a server that is killed.
    pub(super) fn kill(&self) {
        self.task.abort();
    }
}

async fn answer(
    mut request: Request<Incoming>,
    log: Arc<Mutex<Vec<Seen>>>,
    lines: Arc<Mutex<mpsc::Receiver<Bytes>>>,
    identified: bool,
    connection: usize,
) -> Result<Response<Either<Full<Bytes>, Lines>>, hyper::Error> {
    let upgrade = request.headers().contains_key(header::UPGRADE);
    let upgraded = hyper::upgrade::on(&mut request);
    let (parts, body) = request.into_parts();
    let body = if upgrade { Bytes::new() } else { body.collect().await?.to_bytes() };
    let uri = parts.uri.to_string();
    let seen = Seen { method: parts.method, uri, headers: parts.headers, body, identified, connection };
    let text = format!("{} {} {}", seen.method, seen.uri, seen.body.len());
    log.lock().unwrap().push(seen);
    if upgrade {
        tokio::spawn(async move {
            let mut stream = TokioIo::new(upgraded.await.unwrap());
            let (mut reader, mut writer) = tokio::io::split(&mut stream);
            let _ = tokio::io::copy(&mut reader, &mut writer).await;
            let _ = writer.shutdown().await;
        });
        let response = Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "echo");
        return Ok(response.body(Either::Left(Full::default())).unwrap());
    }
    if parts.uri.path().ends_with("/lines") {
        return Ok(Response::new(Either::Right(Lines(lines))));
    }
    Ok(Response::new(Either::Left(Full::from(text))))
}

/// One connection by a kubeconfig, and what became of it.
pub(super) struct Caller {
    sender: SendRequest<Full<Bytes>>,
    _driver: AbortOnDropHandle<Result<(), hyper::Error>>,
    prefix: String,
}

/// TLS with the server that a kubeconfig leads to.
pub(super) async fn connect(kubeconfig: PathBuf) -> std::io::Result<TlsStream<TcpStream>> {
    let given = Given::read(&kubeconfig).unwrap();
    let config = secure::towards(&given.trusted().unwrap(), given.identity().unwrap().as_ref()).unwrap();
    let stream = TcpStream::connect(given.address()).await?;
    let name = ServerName::try_from(given.server_name()).unwrap();
    tokio_rustls::TlsConnector::from(config).connect(name, stream).await
}

impl Caller {
    pub(super) async fn new(kubeconfig: PathBuf) -> Self {
        let stream = connect(kubeconfig).await.unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let driver = tokio::spawn(connection.with_upgrades());
        Self { sender, _driver: AbortOnDropHandle::new(driver), prefix: "/prefix".to_owned() }
    }

    /// Without the prefix that all paths of the small server have.
    pub(super) fn bare(mut self) -> Self {
        self.prefix.clear();
        self
    }

    pub(super) async fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Response<Incoming>, hyper::Error> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.prefix));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.sender.ready().await?;
        self.sender.send_request(request.body(Full::from("body")).unwrap()).await
    }

    /// The status and the body.
    pub(super) async fn text(
        &mut self,
        method: &str,
        path: &str,
    ) -> Result<(StatusCode, String), hyper::Error> {
        let response = self.ask(method, path, &[]).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        Ok((status, String::from_utf8(body.to_vec()).unwrap()))
    }

    /// Another protocol: bytes that come back.
    pub(super) async fn upgrade(&mut self) -> TokioIo<hyper::upgrade::Upgraded> {
        let headers = [("connection", "Upgrade"), ("upgrade", "echo")];
        let path = "/api/v1/namespaces/shop/pods/a/portforward";
        let mut response = self.ask("GET", path, &headers).await.unwrap();
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap())
    }

    /// Waits for an end of the connection that is not this client's.
    pub(super) async fn closed(&mut self) {
        while !self.sender.is_closed() {
            tokio::task::yield_now().await;
        }
    }
}
