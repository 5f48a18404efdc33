//! Bytes passed on as they are.

use std::io::ErrorKind;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::server::{Caller, Server};
use crate::proxy::{Cut, Proxy};
use crate::wait::{SHORT, eventually};

/// A proxy before a listener that speaks what the test makes it speak.
async fn before_a_listener() -> (TcpListener, crate::proxy::RawProxy) {
    let server = Server::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let text = std::fs::read_to_string(server.kubeconfig()).unwrap();
    std::fs::write(server.kubeconfig(), text.replace(&server.address.to_string(), &address)).unwrap();
    let proxy = Proxy::tcp(&server.kubeconfig()).await.unwrap();
    (listener, proxy)
}

async fn pair(listener: &TcpListener, proxy: &crate::proxy::RawProxy) -> (TcpStream, TcpStream) {
    let (client, server) = tokio::join!(TcpStream::connect(proxy.address()), listener.accept());
    (client.unwrap(), server.unwrap().0)
}

#[tokio::test]
async fn the_server_itself_answers() {
    let server = Server::start().await;
    let proxy = Proxy::tcp(&server.kubeconfig()).await.unwrap();
    let mut caller = Caller::new(proxy.kubeconfig()).await;
    caller.text("GET", "/version").await.unwrap();
    assert!(server.seen()[0].identified, "the client's own certificate");
    proxy.wire().cut(Cut::All);
    assert!(caller.text("GET", "/version").await.is_err());
}

#[tokio::test]
async fn both_ways_end_on_their_own() {
    let (listener, proxy) = before_a_listener().await;
    let (mut client, mut server) = pair(&listener, &proxy).await;
    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();
    let mut text = String::new();
    server.read_to_string(&mut text).await.unwrap();
    server.write_all(b"answer").await.unwrap();
    drop(server);
    client.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "questionanswer");
    eventually("the connection's end", SHORT, async || match proxy.wire().open() {
        0 => Ok(()),
        open => Err(format!("{open} open")),
    })
    .await;
}

#[tokio::test]
async fn a_reset_arrives_as_one_and_a_cut_is_one_at_both_ends() {
    let (listener, proxy) = before_a_listener().await;
    let (client, mut server) = pair(&listener, &proxy).await;
    client.set_zero_linger().unwrap();
    drop(client);
    assert_eq!(server.read(&mut [0]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);

    let (mut client, mut server) = pair(&listener, &proxy).await;
    client.write_all(b"a").await.unwrap();
    server.read_exact(&mut [0]).await.unwrap();
    proxy.wire().cut(Cut::All);
    assert_eq!(server.read(&mut [0]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(client.read(&mut [0]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_reset() {
    let (listener, proxy) = before_a_listener().await;
    drop(listener);
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(client.read(&mut [0]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}
