//! The service is tested where it lives: callers of the cluster's `orders` get its answers for the length of each test.

use std::net::SocketAddr;
use std::time::Duration;

use kubetether::{Config, Deadline, Exchange, Forward, Session, To};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::JoinHandle;

use super::{BodyExt, Bytes, Full, Method, Request, StatusCode, TcpListener, TokioIo, serve};

type Failure = Box<dyn std::error::Error>;

/// There is one `orders`, and tests run side by side.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// The cluster's `orders` is this process.
struct Exchanged {
    session: Session,
    exchange: Exchange,
    /// Stands for a caller inside the cluster.
    inside: Forward,
    server: JoinHandle<std::io::Result<()>>,
    _turn: MutexGuard<'static, ()>,
}

impl Exchanged {
    async fn begin() -> Result<Self, Failure> {
        let turn = ONE_AT_A_TIME.lock().await;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let server = tokio::spawn(serve(listener));
        let session = Session::start(Config::new()).await?;
        let exchange = session.exchange("orders", To::port(port)).await?;
        let inside = session.forward("orders:8080").await?;
        Ok(Self { session, exchange, inside, server, _turn: turn })
    }

    async fn end(self) -> Result<(), Failure> {
        self.session.close(Deadline::secs(30)).await?;
        self.server.abort();
        Ok(())
    }
}

/// One request, on a connection of its own.
async fn call(
    at: SocketAddr,
    method: Method,
    path: &str,
    body: &str,
) -> Result<(StatusCode, String), Failure> {
    let connection = TcpStream::connect(at).await?;
    let (mut sender, work) = hyper::client::conn::http1::handshake(TokioIo::new(connection)).await?;
    let work = tokio::spawn(work);
    let request = Request::builder().method(method).uri(path).header("host", "orders");
    let asked = sender.send_request(request.body(Full::<Bytes>::from(body.to_owned()))?);
    let answer = tokio::time::timeout(Duration::from_secs(30), asked).await??;
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    work.abort();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

#[tokio::test]
async fn an_order_is_kept() -> Result<(), Failure> {
    let orders = Exchanged::begin().await?;
    let at = orders.inside.address();
    let (status, order) = call(at, Method::POST, "/orders", r#"{"item": "tea"}"#).await?;
    assert_eq!((status, order.as_str()), (StatusCode::CREATED, r#"{"id":0,"item":"tea"}"#));
    assert_eq!(call(at, Method::GET, "/orders/0", "").await?, (StatusCode::OK, order));
    orders.end().await
}

#[tokio::test]
async fn what_is_no_order_is_refused() -> Result<(), Failure> {
    let orders = Exchanged::begin().await?;
    let at = orders.inside.address();
    assert_eq!(call(at, Method::POST, "/orders", "tea, please").await?.0, StatusCode::BAD_REQUEST);
    assert_eq!(call(at, Method::GET, "/orders/0", "").await?.0, StatusCode::NOT_FOUND);
    orders.end().await
}

#[tokio::test]
async fn the_clusters_own_answers_afterwards() -> Result<(), Failure> {
    let orders = Exchanged::begin().await?;
    let at = orders.inside.address();
    assert!(call(at, Method::GET, "/", "").await?.1.contains("nothing else"), "not this process");
    orders.exchange.close(Deadline::secs(30)).await?;
    assert!(!call(at, Method::GET, "/", "").await?.1.contains("nothing else"), "still this process");
    orders.end().await
}
