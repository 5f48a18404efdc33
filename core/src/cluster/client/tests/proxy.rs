//! Proxies of the three kinds. Each leads to one server, whatever name it is asked for, and writes the name down.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

use super::server::Signed;

#[derive(Clone, Copy)]
pub(super) enum Kind {
    Connect,
    Socks5,
}

pub(super) struct TestProxy {
    pub(super) address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    _task: AbortOnDropHandle<()>,
}

impl TestProxy {
    pub(super) async fn start(kind: Kind, to: SocketAddr, tls: Option<&Signed>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let acceptor =
            tls.map(|by| tokio_rustls::TlsAcceptor::from(Arc::new(super::server::server_config(by, None))));
        let notes = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            let mut tasks = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (notes, acceptor) = (Arc::clone(&notes), acceptor.clone());
                tasks.spawn(async move {
                    match acceptor {
                        Some(acceptor) => match acceptor.accept(stream).await {
                            Ok(stream) => relay(kind, stream, to, notes).await,
                            Err(error) => notes.lock().unwrap().push(format!("TLS: {error}")),
                        },
                        None => relay(kind, stream, to, notes).await,
                    }
                });
            }
        });
        Self { address, asked, _task: AbortOnDropHandle::new(task) }
    }

    /// What each connection wanted: the destination, and the login that was shown.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn relay(
    kind: Kind,
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    to: SocketAddr,
    notes: Arc<Mutex<Vec<String>>>,
) {
    let asked = match kind {
        Kind::Connect => connect(&mut stream).await,
        Kind::Socks5 => socks5(&mut stream).await,
    };
    notes.lock().unwrap().push(asked);
    let mut server = TcpStream::connect(to).await.unwrap();
    let _ = tokio::io::copy_bidirectional(&mut stream, &mut server).await;
}

async fn connect(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
    let head = String::from_utf8(head).unwrap();
    let line = head.lines().next().unwrap().to_owned();
    let login = head.lines().find(|line| line.to_ascii_lowercase().starts_with("proxy-authorization:"));
    login.map_or_else(|| line.clone(), |login| format!("{line} / {login}"))
}

async fn socks5(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> String {
    async fn text(stream: &mut (impl AsyncRead + Unpin)) -> String {
        let length = stream.read_u8().await.unwrap();
        let mut bytes = vec![0; usize::from(length)];
        stream.read_exact(&mut bytes).await.unwrap();
        String::from_utf8(bytes).unwrap()
    }
    assert_eq!(stream.read_u8().await.unwrap(), 5);
    let mut methods = vec![0; usize::from(stream.read_u8().await.unwrap())];
    stream.read_exact(&mut methods).await.unwrap();
    let mut login = String::new();
    if methods.contains(&2) {
        stream.write_all(&[5, 2]).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), 1);
        login = format!(" / {}:{}", text(stream).await, text(stream).await);
        stream.write_all(&[1, 0]).await.unwrap();
    } else {
        stream.write_all(&[5, 0]).await.unwrap();
    }
    let mut request = [0; 4];
    stream.read_exact(&mut request).await.unwrap();
    assert_eq!(request, [5, 1, 0, 3], "names are for the proxy to resolve");
    let host = text(stream).await;
    let port = stream.read_u16().await.unwrap();
    stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
    format!("{host}:{port}{login}")
}
