//! The way to the API server: one connection of ours for each of the client's.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::error::ProxyError;
use super::kubeconfig::Given;
use super::secure;

/// To dial, and to shake hands.
const LIMIT: Duration = Duration::from_secs(10);

/// The API server.
pub(super) struct Server {
    host: String,
    port: u16,
}

/// The API server and how to speak with it.
pub(super) struct Target {
    pub(super) server: Server,
    authority: HeaderValue,
    name: ServerName<'static>,
    /// With the kubeconfig's certificate, and without: the API server takes a certificate before a token.
    identified: Arc<ClientConfig>,
    anonymous: Arc<ClientConfig>,
}

/// One connection to it. Where the server ends it, the client's ends too, as if it were the same.
pub(super) struct Upstream {
    target: Arc<Target>,
    dialled: Option<TcpStream>,
    current: Option<Current>,
    /// Told when the server has ended the connection.
    gone: CancellationToken,
}

struct Current {
    identified: bool,
    sender: http1::SendRequest<Incoming>,
    /// Ended with this.
    _driver: AbortOnDropHandle<()>,
}

impl Server {
    pub(super) fn new(given: &Given) -> Self {
        let (host, port) = given.address();
        Self { host, port }
    }

    pub(super) async fn dial(&self) -> io::Result<TcpStream> {
        let dialled = TcpStream::connect((self.host.as_str(), self.port));
        let stream = timeout(LIMIT, dialled).await.map_err(io::Error::from).flatten()?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

impl Target {
    pub(super) fn new(given: &Given) -> Result<Self, ProxyError> {
        let trusted = given.trusted()?;
        let name = ServerName::try_from(given.server_name());
        let authority = HeaderValue::try_from(given.authority.as_str());
        Ok(Self {
            server: Server::new(given),
            authority: authority.map_err(ProxyError::certificate("naming the API server"))?,
            name: name.map_err(ProxyError::certificate("naming the API server"))?,
            identified: secure::towards(&trusted, given.identity()?.as_ref())?,
            anonymous: secure::towards(&trusted, None)?,
        })
    }
}

impl Upstream {
    pub(super) fn new(target: Arc<Target>, dialled: TcpStream, gone: CancellationToken) -> Self {
        Self { target, dialled: Some(dialled), current: None, gone }
    }

    /// Passes a request on; the head of the answer.
    pub(super) async fn send(
        &mut self,
        mut request: Request<Incoming>,
    ) -> Result<Response<Incoming>, Box<dyn std::error::Error + Send + Sync>> {
        // A client that says itself who it is is nobody else.
        let identified = !request.headers().contains_key(header::AUTHORIZATION);
        request.headers_mut().insert(header::HOST, self.target.authority.clone());
        let current = match self.current.take() {
            Some(current) if current.identified == identified => self.current.insert(current),
            _ => {
                let current = self.connect(identified).await?;
                self.current.insert(current)
            }
        };
        current.sender.ready().await?;
        Ok(current.sender.send_request(request).await?)
    }

    async fn connect(&mut self, identified: bool) -> io::Result<Current> {
        let stream = match self.dialled.take() {
            Some(stream) => stream,
            None => self.target.server.dial().await?,
        };
        let config = if identified { &self.target.identified } else { &self.target.anonymous };
        let shaking = TlsConnector::from(config.clone()).connect(self.target.name.clone(), stream);
        let stream = timeout(LIMIT, shaking).await.map_err(io::Error::from).flatten()?;
        let mut builder = http1::Builder::new();
        builder.preserve_header_case(true);
        let opened = builder.handshake(TokioIo::new(stream)).await;
        let (sender, connection) = opened.map_err(io::Error::other)?;
        let gone = self.gone.clone();
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "the connection to the API server broke");
            }
            gone.cancel();
        });
        Ok(Current { identified, sender, _driver: AbortOnDropHandle::new(driver) })
    }
}
