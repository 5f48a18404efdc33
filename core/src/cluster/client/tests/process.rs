//! That the process's TLS default is left alone. Each case runs in a process of its own, since the default
//! can be set only once and other tests share this one.

use std::process::Command;

use rustls::crypto::CryptoProvider;

use super::*;

const CASE: &str = "KUBETETHER_TEST_PROVIDER";

#[test]
fn no_default_provider_is_installed() {
    alone("none");
}

#[test]
fn a_provider_of_the_host_stays_and_does_not_matter() {
    alone("hosts");
}

fn alone(case: &str) {
    let test = format!("{}::case", module_path!().split_once("::").unwrap().1);
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.args(["--ignored", "--exact", &test]).env(CASE, case).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test]
#[ignore = "run in a process of its own by the tests above"]
async fn case() {
    let hosts = std::env::var(CASE).unwrap() == "hosts";
    if hosts {
        // One that could not speak to anybody, so that its use would show.
        let provider = rustls::crypto::ring::default_provider();
        CryptoProvider { cipher_suites: Vec::new(), ..provider }.install_default().unwrap();
    }
    let (authority, clients) = (Authority::new("cluster"), Authority::new("clients"));
    let server = Server::mutual(&authority.sign(&["127.0.0.1"]), &clients).await;
    let dev = clients.sign(&["dev"]);
    let encode = |text: &str| tls::encode_base64(text.as_bytes());
    let user =
        json!({ "client-certificate-data": encode(&dev.certificate), "client-key-data": encode(&dev.key) });
    let ca = encode(&authority.pem);
    Setup::new(json!({ "server": server.url(), "certificate-authority-data": ca }), user.clone()).ask().await;
    Setup::new(json!({ "server": server.url(), "insecure-skip-tls-verify": true }), user).ask().await;
    assert_eq!(server.seen().len(), 2);
    // The system's authorities do not know this server; that they were asked is what counts here.
    let loaded = Setup::new(json!({ "server": server.url() }), json!({})).connect().await;
    if let Ok(loaded) = loaded {
        get(&loaded).await.unwrap_err();
    }
    assert_eq!(CryptoProvider::get_default().is_some(), hosts);
}
