//! What concerns the process: its TLS default is left alone, its environment and its system's authorities
//! count. Each case runs in a process of its own, since tests share theirs.

use std::process::Command;

use rustls::crypto::CryptoProvider;

use super::*;

const CASE: &str = "KUBETETHER_TEST_CASE";

#[test]
fn no_default_provider_is_installed() {
    alone("none", &[]);
}

#[test]
fn a_provider_of_the_host_stays_and_does_not_matter() {
    alone("hosts", &[]);
}

// Elsewhere the system's authorities cannot be chosen by a variable.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_authority_the_systems_are_believed() {
    let authority = Authority::new("system");
    let server = Server::tls(&authority.sign(&["127.0.0.1"])).await;
    let setup = Setup::new(json!({ "server": server.url() }), json!({ "token": "t0" }));
    let system = setup.write("system.crt", &authority.pem);
    let config = setup.path("config");
    let variables = [("KUBECONFIG", config.as_os_str()), ("SSL_CERT_FILE", system.as_os_str())];
    tokio::task::block_in_place(|| alone("system", &variables));
    assert_eq!(server.last().header("authorization"), Some("Bearer t0"));
}

fn alone(case: &str, variables: &[(&str, &std::ffi::OsStr)]) {
    let test = format!("{}::case", module_path!().split_once("::").unwrap().1);
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", &test]).env(CASE, case).envs(variables.iter().copied());
    let output = command.output().unwrap();
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
    let case = std::env::var(CASE).unwrap();
    if case == "system" {
        get(&connect(Options::default(), Duration::from_secs(10)).await.unwrap()).await.unwrap();
    } else {
        talk(case == "hosts").await;
    }
    assert_eq!(CryptoProvider::get_default().is_some(), case == "hosts");
}

async fn talk(hosts: bool) {
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
}
