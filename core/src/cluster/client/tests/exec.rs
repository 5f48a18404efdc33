//! Credential plugins, as they are met by a session: run when needed, once for all, and again when refused.

use super::*;

/// A plugin as a shell script: notes each run, then prints what stands in `answer`.
const SCRIPT: &str = r#"echo "$KUBERNETES_EXEC_INFO" >> runs; echo "note $EXTRA" >&2; cat answer"#;

fn user(setup_folder: &str, more: &Value) -> Value {
    let mut exec = json!({
        "apiVersion": "client.authentication.k8s.io/v1", "command": "sh", "interactiveMode": "Never",
        "args": ["-c", format!("cd '{setup_folder}' && {SCRIPT}")],
        "env": [{ "name": "EXTRA", "value": "from-env" }],
    });
    for (name, value) in more.as_object().unwrap() {
        exec[name] = value.clone();
    }
    json!({ "exec": exec })
}

struct Plugin {
    folder: TempDir,
}

impl Plugin {
    fn new(status: &Value) -> Self {
        let plugin = Self { folder: TempDir::new().unwrap() };
        plugin.gives(status);
        plugin
    }

    fn gives(&self, status: &Value) {
        let answer = json!({
            "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status,
        });
        std::fs::write(self.folder.path().join("answer"), answer.to_string()).unwrap();
    }

    fn user(&self, more: &Value) -> Value {
        user(self.folder.path().to_str().unwrap(), more)
    }

    /// What it was told, once per run.
    fn runs(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.folder.path().join("runs")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[tokio::test]
async fn it_is_run_once_and_its_token_sent() {
    let server = Server::plain().await;
    let plugin = Plugin::new(&json!({ "token": "t1" }));
    let loaded = Setup::plain(&server, plugin.user(&json!({}))).ask().await;
    for _ in 0..3 {
        get(&loaded).await.unwrap();
    }
    assert_eq!(server.last().header("authorization"), Some("Bearer t1"));
    let [told] = plugin.runs().try_into().unwrap();
    assert_eq!(
        told,
        json!({
            "kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1", "spec": { "interactive": false },
        })
    );
}

#[tokio::test]
async fn it_is_told_about_the_cluster_when_it_wants_to_know() {
    let server = Server::plain().await;
    let plugin = Plugin::new(&json!({ "token": "t1" }));
    let authority = Authority::new("cluster");
    let at = format!("http://{}", server.address);
    let entry = json!({
        "server": at, "certificate-authority": "ca.crt", "tls-server-name": "api", "proxy-url": "",
        "extensions": [
            { "name": "other", "extension": { "a": 1 } },
            { "name": "client.authentication.k8s.io/exec", "extension": { "audience": "x" } },
        ],
    });
    let setup = Setup::new(entry, plugin.user(&json!({ "provideClusterInfo": true })));
    setup.write("ca.crt", &authority.pem);
    setup.ask().await;
    assert_eq!(
        plugin.runs()[0]["spec"]["cluster"],
        json!({
            "server": at, "tls-server-name": "api", "config": { "audience": "x" },
            "certificate-authority-data": tls::encode_base64(authority.pem.as_bytes()),
        })
    );
}

#[tokio::test]
async fn it_is_run_again_when_its_token_ends_once_for_all_who_wait() {
    let server = Server::plain().await;
    let plugin = Plugin::new(&json!({ "token": "t1", "expirationTimestamp": "2020-01-01T00:00:00Z" }));
    let mut setup = Setup::plain(&server, plugin.user(&json!({})));
    setup.times.plugin_rest = Duration::ZERO;
    let loaded = setup.connect().await.unwrap();
    plugin.gives(&json!({ "token": "t2", "expirationTimestamp": "2999-01-01T00:00:00Z" }));
    let asks = futures_util::future::join_all((0..8).map(|_| get(&loaded))).await;
    assert!(asks.iter().all(Result::is_ok), "{asks:?}");
    assert!(server.seen().iter().all(|seen| seen.header("authorization") == Some("Bearer t2")));
    assert_eq!(plugin.runs().len(), 2);
}

#[tokio::test]
async fn it_rests_between_runs() {
    let server = Server::plain().await;
    let plugin = Plugin::new(&json!({ "token": "t1", "expirationTimestamp": "2020-01-01T00:00:00Z" }));
    let mut setup = Setup::plain(&server, plugin.user(&json!({})));
    setup.times.plugin_rest = Duration::from_secs(3600);
    let loaded = setup.connect().await.unwrap();
    server.script([Answer::UnlessToken("t1")]);
    get(&loaded).await.unwrap_err();
    assert_eq!(plugin.runs().len(), 1, "a plugin may open a browser each time");
}

#[tokio::test]
async fn a_refused_token_is_asked_for_anew_and_the_request_sent_again() {
    let server = Server::plain().await;
    let plugin = Plugin::new(&json!({ "token": "t1" }));
    let mut setup = Setup::plain(&server, plugin.user(&json!({})));
    setup.times.plugin_rest = Duration::ZERO;
    let loaded = setup.ask().await;
    plugin.gives(&json!({ "token": "t2" }));
    server.script([Answer::UnlessToken("t1")]);
    get(&loaded).await.unwrap();
    assert_eq!(server.last().header("authorization"), Some("Bearer t2"));
    assert_eq!(plugin.runs().len(), 2);
}

#[tokio::test]
async fn a_later_failure_is_the_requests_error_with_all_it_said() {
    let server = Server::plain().await;
    let plugin = Plugin::new(&json!({ "token": "t1", "expirationTimestamp": "2020-01-01T00:00:00Z" }));
    let mut setup = Setup::plain(&server, plugin.user(&json!({ "installHint": "brew install it" })));
    setup.times.plugin_rest = Duration::ZERO;
    let loaded = setup.connect().await.unwrap();
    std::fs::remove_file(plugin.folder.path().join("answer")).unwrap();
    let error = get(&loaded).await.unwrap_err();
    let kube::Error::Service(inner) = &error else { panic!("{error:?}") };
    let text = inner.downcast_ref::<Renewal>().unwrap().to_string();
    for part in ["credential plugin `sh -c", "exit status: 1", "note from-env", "brew install it"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[tokio::test]
async fn its_certificate_is_shown_and_a_new_one_taken_up() {
    let (authority, clients) = (Authority::new("cluster"), Authority::new("clients"));
    let server = Server::mutual(&authority.sign(&["127.0.0.1"]), &clients).await;
    let (first, second) = (clients.sign(&["dev"]), clients.sign(&["dev"]));
    let status = |by: &server::Signed, until: &str| json!({ "clientCertificateData": by.certificate, "clientKeyData": by.key, "expirationTimestamp": until, "token": "t" });
    let plugin = Plugin::new(&status(&first, "2999-01-01T00:00:00Z"));
    let ca = tls::encode_base64(authority.pem.as_bytes());
    let entry = json!({ "server": server.url(), "certificate-authority-data": ca });
    let mut setup = Setup::new(entry, plugin.user(&json!({})));
    setup.times.plugin_rest = Duration::ZERO;
    let loaded = setup.ask().await;
    assert!(server.last().is_by(&first));
    assert_eq!(server.last().header("authorization"), Some("Bearer t"));
    plugin.gives(&status(&second, "2999-01-01T00:00:00Z"));
    server.script([Answer::Status(401, &[])]);
    get(&loaded).await.unwrap();
    assert!(server.last().is_by(&second));
}

#[tokio::test]
async fn credentials_of_the_entry_itself_win_over_it() {
    let server = Server::plain().await;
    let plugin = Plugin::new(&json!({ "token": "t1" }));
    let mut user = plugin.user(&json!({}));
    user["token"] = json!("t0");
    Setup::plain(&server, user).ask().await;
    assert_eq!(server.last().header("authorization"), Some("Bearer t0"));
    assert!(plugin.runs().is_empty());
}

#[tokio::test]
async fn a_request_that_gives_up_does_not_end_its_run() {
    let server = Server::plain().await;
    let plugin = Plugin::new(&json!({ "token": "t1", "expirationTimestamp": "2020-01-01T00:00:00Z" }));
    let mut setup = Setup::plain(&server, plugin.user(&json!({})));
    setup.times.plugin_rest = Duration::ZERO;
    let loaded = setup.connect().await.unwrap();
    plugin.gives(&json!({ "token": "t2" }));
    // Polled once, which starts the run, and dropped.
    let mut given_up = Box::pin(get(&loaded));
    assert!(futures_util::poll!(&mut given_up).is_pending());
    drop(given_up);
    get(&loaded).await.unwrap();
    assert_eq!(server.last().header("authorization"), Some("Bearer t2"));
    assert!(plugin.runs().len() <= 3, "{:?}", plugin.runs());
}
