//! The way through proxies.

use super::proxy::{Kind, TestProxy};
use super::*;

/// A server whose name only the proxy can resolve.
struct Behind {
    authority: Authority,
    server: Server,
}

impl Behind {
    async fn new() -> Self {
        let authority = Authority::new("cluster");
        let server = Server::tls(&authority.sign(&["api.cluster.test"])).await;
        Self { authority, server }
    }

    fn setup(&self, proxy_url: Option<String>) -> Setup {
        let ca = tls::encode_base64(self.authority.pem.as_bytes());
        let mut cluster =
            json!({ "server": "https://api.cluster.test:6443", "certificate-authority-data": ca });
        if let Some(url) = proxy_url {
            cluster["proxy-url"] = json!(url);
        }
        Setup::new(cluster, json!({ "token": "t0" }))
    }
}

#[tokio::test]
async fn http_with_a_login() {
    let behind = Behind::new().await;
    let proxy = TestProxy::start(Kind::Connect, behind.server.address, None).await;
    behind.setup(Some(format!("http://u%40x:p@{}", proxy.address))).ask().await;
    let [asked] = proxy.asked().try_into().unwrap();
    assert!(asked.starts_with("CONNECT api.cluster.test:6443 "), "{asked}");
    assert!(asked.ends_with("Basic dUB4OnA="), "{asked}");
    let seen = behind.server.last();
    assert_eq!(seen.header("authorization"), Some("Bearer t0"));
    assert_eq!(seen.server_name.as_deref(), Some("api.cluster.test"));
}

#[tokio::test]
async fn https_by_the_clusters_authority() {
    let behind = Behind::new().await;
    let by = behind.authority.sign(&["127.0.0.1"]);
    let proxy = TestProxy::start(Kind::Connect, behind.server.address, Some(&by)).await;
    behind.setup(Some(format!("https://{}", proxy.address))).ask().await;
    assert_eq!(proxy.asked().len(), 1);
    assert_eq!(behind.server.last().line, "GET /version");
}

#[tokio::test]
async fn socks5_with_and_without_a_login() {
    let behind = Behind::new().await;
    let proxy = TestProxy::start(Kind::Socks5, behind.server.address, None).await;
    behind.setup(Some(format!("socks5://{}", proxy.address))).ask().await;
    behind.setup(Some(format!("socks5://u:p@{}", proxy.address))).ask().await;
    assert_eq!(proxy.asked(), ["api.cluster.test:6443", "api.cluster.test:6443 / u:p"]);
    assert_eq!(behind.server.last().line, "GET /version");
}

#[tokio::test]
async fn the_environments_unless_excepted() {
    let behind = Behind::new().await;
    let proxy = TestProxy::start(Kind::Connect, behind.server.address, None).await;
    let mut setup = behind.setup(None);
    setup.env = vec![("HTTPS_PROXY", proxy.address.to_string()), ("NO_PROXY", "example.com".to_owned())];
    setup.ask().await;
    assert_eq!(proxy.asked().len(), 1);
    setup.env[1].1 = "cluster.test".to_owned();
    let error = get(&setup.connect().await.unwrap()).await.unwrap_err();
    let text = unreachable(&error).to_string();
    assert!(text.starts_with("cannot reach the API server https://api.cluster.test:6443: "), "{text}");
    assert_eq!(proxy.asked().len(), 1);
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_named() {
    let behind = Behind::new().await;
    let gone = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let loaded = behind.setup(Some(format!("http://u:hush@{gone}"))).connect().await.unwrap();
    let error = get(&loaded).await.unwrap_err();
    let text = unreachable(&error).to_string();
    assert!(text.contains(&format!("through the proxy http://{gone}: ")), "{text}");
    assert!(text.contains("refused the connection"), "{text}");
    assert!(!format!("{error:?}").contains("hush"), "{error:?}");
}
