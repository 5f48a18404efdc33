//! The client's end of a link.

use std::net::SocketAddr;
use std::time::Duration;

use kubetether_link::{Answer, CallError, Incoming, IoRead, Link, LinkConfig, Open, Request, Role, Stream};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::PATIENCE;

pub fn soon() -> Instant {
    Instant::now() + PATIENCE
}

/// A client's settings: patient, since test machines stop now and then.
pub fn config(who: &str) -> LinkConfig {
    LinkConfig::new(Role::Client)
        .who(who)
        .heartbeat(Duration::from_millis(50))
        .silence(PATIENCE)
        .grace(PATIENCE)
}

/// A link with one carrier.
pub async fn attach(control: SocketAddr) -> Link {
    attach_as(config("ann@box"), control).await
}

/// As [`attach`], with settings of its own.
pub async fn attach_as(config: LinkConfig, control: SocketAddr) -> Link {
    let link = Link::client(config).unwrap();
    carrier(&link, control).await;
    link
}

/// One more carrier.
pub async fn carrier(link: &Link, control: SocketAddr) {
    let socket = TcpStream::connect(control).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let (read, write) = socket.into_split();
    link.attach(IoRead::new(read), write, soon()).await.unwrap();
}

pub async fn ask(link: &Link, request: Request) -> Result<Answer, CallError> {
    link.ask(&request, soon()).await
}

pub async fn arm(link: &Link, exposed: &[u16]) {
    let request = Request::Arm { exposed: exposed.to_vec(), holder: "ann@box".to_owned() };
    assert_eq!(ask(link, request).await.unwrap(), Answer::Arm { exposed: exposed.to_vec() });
}

/// The next connection of a caller.
pub async fn next(link: &Link) -> Incoming {
    timeout(PATIENCE, link.accept()).await.expect("no inbound stream").expect("the link is closed")
}

/// Answers every inbound stream, when its caller has ended its side, with `name:` and what was said.
pub fn answer_all(link: &Link, name: &'static str) {
    let link = link.clone();
    tokio::spawn(async move {
        while let Some(incoming) = link.accept().await {
            assert!(matches!(incoming.open(), Open::Inbound { .. }));
            tokio::spawn(async move {
                let mut stream = incoming.accept();
                // What a caller breaks is seen by the caller.
                drop(answer(&mut stream, name).await);
            });
        }
    });
}

async fn answer(stream: &mut Stream, name: &str) -> std::io::Result<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).await?;
    stream.write_all(&[name.as_bytes(), b":", &heard].concat()).await?;
    stream.shutdown().await
}
