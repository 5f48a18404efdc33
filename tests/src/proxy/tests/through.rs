//! What passes through as it is.

use http::header;
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::server::{Caller, Server, connect};
use crate::proxy::{Proxy, ProxyError};
use crate::wait::{SHORT, eventually};

async fn both() -> (Server, Proxy) {
    let server = Server::start().await;
    let proxy = Proxy::start(&server.kubeconfig()).await.unwrap();
    (server, proxy)
}

#[tokio::test]
async fn requests_pass_with_path_headers_and_body_by_the_certificate_of_the_kubeconfig() {
    let (server, proxy) = both().await;
    let mut caller = Caller::new(proxy.kubeconfig()).await;
    let headers = [("X-Mine", "kept"), ("accept", "application/json")];
    let answer = caller.ask("POST", "/api/v1/pods?limit=1", &headers).await.unwrap();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "POST /prefix/api/v1/pods?limit=1 4");

    let seen = &server.seen()[0];
    assert_eq!(
        (seen.method.as_str(), seen.uri.as_str(), &seen.body[..]),
        ("POST", "/prefix/api/v1/pods?limit=1", &b"body"[..])
    );
    assert_eq!(seen.headers["x-mine"], "kept");
    assert_eq!(seen.headers[header::HOST], server.address.to_string());
    assert!(seen.identified);
}

#[tokio::test]
async fn a_client_with_a_token_is_that_client_and_nobody_else() {
    let (server, proxy) = both().await;
    let mut caller = Caller::new(proxy.kubeconfig()).await;
    caller.text("GET", "/version").await.unwrap();
    let token = [("authorization", "Bearer abc")];
    caller.ask("GET", "/version", &token).await.unwrap().into_body().collect().await.unwrap();

    let seen = server.seen();
    assert_eq!(seen[1].headers[header::AUTHORIZATION], "Bearer abc");
    assert_eq!((seen[0].identified, seen[1].identified), (true, false));
}

#[tokio::test]
async fn the_users_token_stays_in_the_kubeconfig() {
    let server = Server::start_with(|user| *user = serde_json::json!({ "token": "abc" })).await;
    let proxy = Proxy::start(&server.kubeconfig()).await.unwrap();
    let text = std::fs::read_to_string(proxy.kubeconfig()).unwrap();
    let config: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(config["users"][0]["user"]["token"], "abc");
    assert_eq!(config["clusters"][0]["cluster"]["server"], format!("https://{}/prefix", proxy.address()));
}

#[tokio::test]
async fn a_clients_connection_goes_with_one_of_ours() {
    let (server, proxy) = both().await;
    for connection in 0..2 {
        let mut caller = Caller::new(proxy.kubeconfig()).await;
        for _ in 0..3 {
            caller.text("GET", "/version").await.unwrap();
            assert_eq!(server.seen().last().unwrap().connection, connection);
        }
    }
}

#[tokio::test]
async fn streams_arrive_piece_by_piece_and_end_as_the_server_ends_them() {
    let (server, proxy) = both().await;
    let mut caller = Caller::new(proxy.kubeconfig()).await;
    let mut body = caller.ask("GET", "/lines", &[]).await.unwrap().into_body();
    for line in ["first", "second"] {
        server.say(line).await;
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), line);
    }
    server.kill();
    let end = body.frame().await.unwrap();
    assert!(end.is_err(), "{end:?}: a stream that broke is not one that ended");
}

#[tokio::test]
async fn upgraded_connections_are_relayed_raw() {
    let (_server, proxy) = both().await;
    let mut caller = Caller::new(proxy.kubeconfig()).await;
    let mut stream = caller.upgrade().await;
    assert_eq!((proxy.wire().open(), proxy.wire().upgraded()), (1, 1));
    let sent: Vec<u8> = (0..300_000_u32).map(|number| (number % 251) as u8).collect();
    let (mut reader, mut writer) = tokio::io::split(&mut stream);
    let mut back = vec![0; sent.len()];
    let (wrote, read) = tokio::join!(writer.write_all(&sent), reader.read_exact(&mut back));
    wrote.and(read).unwrap();
    assert_eq!(sent, back);
    // The end too: the echo sees it, and ends.
    writer.shutdown().await.unwrap();
    assert_eq!(reader.read(&mut [0]).await.unwrap(), 0);
    drop(stream);
    eventually("the connection's end", SHORT, async || match proxy.wire().open() {
        0 => Ok(()),
        open => Err(format!("{open} open")),
    })
    .await;
}

#[tokio::test]
async fn strangers_are_refused() {
    let (server, proxy) = both().await;
    let given = crate::proxy::kubeconfig::Given::read(&proxy.kubeconfig()).unwrap();
    let config = crate::proxy::secure::towards(&given.trusted().unwrap(), None).unwrap();
    let stream = tokio::net::TcpStream::connect(proxy.address()).await.unwrap();
    let name = given.server_name().try_into().unwrap();
    // In TLS 1.3 a client finds out when it reads.
    let refused = match tokio_rustls::TlsConnector::from(config).connect(name, stream).await {
        Ok(mut stream) => stream.read(&mut [0]).await.map(drop),
        Err(error) => Err(error),
    };
    assert!(refused.unwrap_err().to_string().contains("CertificateRequired"));
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_closed_proxy_leaves_nothing() {
    let (_server, proxy) = both().await;
    let mut caller = Caller::new(proxy.kubeconfig()).await;
    let (address, kubeconfig) = (proxy.address(), proxy.kubeconfig());
    proxy.close().await;
    tokio::time::timeout(SHORT, caller.closed()).await.unwrap();
    assert!(!kubeconfig.exists());
    let refused = tokio::net::TcpStream::connect(address).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn what_cannot_be_followed_is_refused_by_name() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("kubeconfig");
    let missing = Proxy::start(&path).await.unwrap_err();
    assert!(matches!(missing, ProxyError::Kubeconfig { .. }), "{missing}");
    for (cluster, word) in [
        (r#"{"server":"http://127.0.0.1:1"}"#, "https"),
        (r#"{"server":"https://127.0.0.1:1"}"#, "certificate-authority"),
        (r#"{"server":"https://127.0.0.1:1","proxy-url":"socks5://127.0.0.1:2"}"#, "proxy-url"),
        (r#"{"server":"https://127.0.0.1:1","insecure-skip-tls-verify":true}"#, "insecure-skip"),
    ] {
        let text = format!(
            r#"{{"current-context":"a","clusters":[{{"name":"c","cluster":{cluster}}}],
                "contexts":[{{"name":"a","context":{{"cluster":"c","user":"u"}}}}]}}"#
        );
        std::fs::write(&path, text).unwrap();
        let error = Proxy::start(&path).await.unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_is_gone_ends_its_clients() {
    let (server, proxy) = both().await;
    let mut idle = Caller::new(proxy.kubeconfig()).await;
    idle.text("GET", "/version").await.unwrap();
    server.kill();
    tokio::time::timeout(SHORT, idle.closed()).await.unwrap();
    // A new one is turned away before it has said anything.
    assert!(connect(proxy.kubeconfig()).await.is_err());
}
