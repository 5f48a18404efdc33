//! The client against a server that writes down what it is asked.

#[cfg(unix)]
mod exec;
mod login;
mod process;
mod proxies;
mod proxy;
mod retry;
mod secure;
mod server;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use http::Request;
use serde_json::{Value, json};
use tempfile::TempDir;

use self::server::{Answer, Authority, Server};
use super::send::Renewal;
use super::unreachable::Unreachable;
use super::*;
use crate::cluster::tls;

/// A folder with a kubeconfig of one cluster and one user.
struct Setup {
    folder: TempDir,
    env: Vec<(&'static str, String)>,
    times: Times,
}

impl Setup {
    fn new(cluster: Value, user: Value) -> Self {
        let folder = TempDir::new().unwrap();
        let context = json!({ "cluster": "test", "user": "dev", "namespace": "shop" });
        // JSON is YAML.
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "clusters": [{ "name": "test", "cluster": cluster }],
            "contexts": [{ "name": "here", "context": context }],
            "users": [{ "name": "dev", "user": user }],
        });
        std::fs::write(folder.path().join("config"), config.to_string()).unwrap();
        let times = Times { suspect: Duration::ZERO, ..Times::default() };
        Self { folder, env: Vec::new(), times }
    }

    /// A kubeconfig without TLS, where TLS is not the point.
    fn plain(server: &Server, user: Value) -> Self {
        Self::new(json!({ "server": format!("http://{}", server.address) }), user)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    async fn connect(&self) -> Result<Loaded, LoadError> {
        let env = |name: &str| {
            self.env.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value.as_str()))
        };
        let config = self.path("config");
        let options = Options { kubeconfig: Some(&config), ..Options::default() };
        let around = Surroundings { env: &env, service_account: Path::new("/nowhere") };
        connect_from(options, around, self.times, self.times.plugin).await
    }

    /// Connects and asks one thing.
    async fn ask(&self) -> Loaded {
        let loaded = self.connect().await.unwrap();
        get(&loaded).await.unwrap();
        loaded
    }
}

async fn get(loaded: &Loaded) -> Result<String, kube::Error> {
    loaded.client.request_text(Request::get("/version").body(Vec::new()).unwrap()).await
}

/// The error that the stack below kube gave.
fn unreachable(error: &kube::Error) -> &Unreachable {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return found;
        }
        if let Some(kube::Error::Service(inner)) = error.downcast_ref::<kube::Error>()
            && let Some(found) = inner.downcast_ref()
        {
            return found;
        }
        next = error.source();
    }
    panic!("no explanation: {error:?}")
}

#[tokio::test]
async fn what_was_chosen_is_told() {
    let server = Server::plain().await;
    let loaded = Setup::plain(&server, json!({ "token": "t0" })).ask().await;
    assert_eq!(loaded.namespace, "shop");
    assert_eq!(loaded.client.default_namespace(), "shop");
    assert_eq!(loaded.context.as_deref(), Some("here"));
    assert_eq!(loaded.cluster_name.as_deref(), Some("test"));
    assert_eq!(loaded.user.as_deref(), Some("dev"));
    assert_eq!(loaded.server.to_string(), format!("http://{}/", server.address));
    assert_eq!(server.last().line, "GET /version");
}

#[tokio::test]
async fn a_path_prefix_stays_before_every_path() {
    let server = Server::plain().await;
    let at = format!("http://{}/k8s/clusters/c-1/", server.address);
    Setup::new(json!({ "server": at }), json!({})).ask().await;
    assert_eq!(server.last().line, "GET /k8s/clusters/c-1/version");
}

#[tokio::test]
async fn impersonation_is_sent_with_every_part() {
    let server = Server::plain().await;
    let user = json!({
        "token": "t0", "as": "jane", "as-uid": "42", "as-groups": ["dev", "ops"],
        "as-user-extra": { "example.com/Team": ["red", "blue"] },
    });
    Setup::plain(&server, user).ask().await;
    let seen = server.last();
    assert_eq!(seen.header("authorization"), Some("Bearer t0"));
    assert_eq!(seen.header("impersonate-user"), Some("jane"));
    assert_eq!(seen.header("impersonate-uid"), Some("42"));
    assert_eq!(seen.headers("impersonate-group"), ["dev", "ops"]);
    assert_eq!(seen.headers("impersonate-extra-example.com%2fteam"), ["red", "blue"]);
}

#[tokio::test]
async fn websockets_go_through() {
    use futures_util::{SinkExt as _, StreamExt as _};
    use tokio_tungstenite::tungstenite::Message;

    let authority = Authority::new("cluster");
    let server = Server::tls(&authority.sign(&["127.0.0.1"])).await;
    let ca = tls::encode_base64(authority.pem.as_bytes());
    let setup = Setup::new(
        json!({ "server": server.url(), "certificate-authority-data": ca }),
        json!({ "token": "t0" }),
    );
    let loaded = setup.connect().await.unwrap();
    let path = "/api/v1/namespaces/shop/pods/agent/portforward?ports=7";
    let connection = loaded.client.connect(Request::get(path).body(Vec::new()).unwrap()).await.unwrap();
    let mut socket = connection.into_stream();
    socket.send(Message::binary(&b"\x00hello"[..])).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap().into_data(), &b"\x00hello"[..]);
    let seen = server.last();
    assert_eq!(seen.line, format!("GET {path}"));
    assert_eq!(seen.header("authorization"), Some("Bearer t0"));
    assert!(seen.header("sec-websocket-protocol").unwrap().contains("v4.channel.k8s.io"));
}
