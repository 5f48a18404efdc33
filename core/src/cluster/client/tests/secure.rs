//! Certificates: whose are believed, which are shown, and what is said when they do not fit.

use rcgen::date_time_ymd;

use super::*;

fn cluster(server: &Server, authority: &Authority) -> Value {
    let ca = tls::encode_base64(authority.pem.as_bytes());
    json!({ "server": server.url(), "certificate-authority-data": ca })
}

async fn refusal(setup: &Setup) -> String {
    let error = get(&setup.connect().await.unwrap()).await.unwrap_err();
    unreachable(&error).to_string()
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused_with_advice() {
    let server = Server::tls(&Authority::new("new").sign(&["127.0.0.1"])).await;
    let text = refusal(&Setup::new(cluster(&server, &Authority::new("old")), json!({}))).await;
    assert!(text.contains(&server.url()), "{text}");
    assert!(text.contains("not issued by the certificate authority we trust (cluster \"test\")"), "{text}");
    assert!(text.contains("get its new kubeconfig"), "{text}");
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_self_signed_certificate_vouches_for_itself_by_its_own_name_only() {
    let own = Authority::new("api");
    let server = Server::tls(&own.itself()).await;
    let mut entry = cluster(&server, &own);
    Setup::new(entry.clone(), json!({})).ask().await;
    entry["tls-server-name"] = json!("elsewhere.test");
    let text = refusal(&Setup::new(entry, json!({}))).await;
    assert!(text.contains("for another name"), "{text}");
    // Another one of the same make is not listed.
    let server = Server::tls(&Authority::new("api").itself()).await;
    refusal(&Setup::new(cluster(&server, &own), json!({}))).await;
}

#[tokio::test]
async fn an_expired_certificate_is_called_expired() {
    let authority = Authority::new("cluster");
    let old = authority.sign_with(&["127.0.0.1"], |params| params.not_after = date_time_ymd(2020, 1, 1));
    let server = Server::tls(&old).await;
    let text = refusal(&Setup::new(cluster(&server, &authority), json!({}))).await;
    assert!(text.contains("has expired"), "{text}");
}

#[tokio::test]
async fn tls_server_name_is_what_is_asked_for_and_checked() {
    let authority = Authority::new("cluster");
    let server = Server::tls(&authority.sign(&["kubernetes.internal"])).await;
    let mut entry = cluster(&server, &authority);
    let text = refusal(&Setup::new(entry.clone(), json!({}))).await;
    assert!(text.contains("for another name") && text.contains("tls-server-name"), "{text}");
    entry["tls-server-name"] = json!("kubernetes.internal");
    Setup::new(entry, json!({})).ask().await;
    assert_eq!(server.last().server_name.as_deref(), Some("kubernetes.internal"));
}

#[tokio::test]
async fn insecure_believes_anybody_and_an_authority_beside_it_is_refused() {
    let server = Server::tls(&Authority::new("unknown").sign(&["elsewhere.test"])).await;
    let mut entry = json!({ "server": server.url(), "insecure-skip-tls-verify": true });
    Setup::new(entry.clone(), json!({})).ask().await;
    entry["certificate-authority"] = json!("ca.crt");
    let setup = Setup::new(entry, json!({}));
    setup.write("ca.crt", "");
    let error = setup.connect().await.err().unwrap();
    assert!(error.to_string().contains("remove one of the two"), "{error}");
}

#[tokio::test]
async fn a_client_certificate_is_shown_and_a_renewed_one_taken_up() {
    let (authority, clients) = (Authority::new("cluster"), Authority::new("clients"));
    let server = Server::mutual(&authority.sign(&["127.0.0.1"]), &clients).await;
    let user = json!({ "client-certificate": "dev.crt", "client-key": "dev.key" });
    let mut setup = Setup::new(cluster(&server, &authority), user);
    setup.times.reread = Duration::ZERO;
    let (first, second) = (clients.sign(&["dev"]), clients.sign(&["dev"]));
    setup.write("dev.crt", &first.certificate);
    setup.write("dev.key", &first.key);
    let loaded = setup.ask().await;
    get(&loaded).await.unwrap();
    assert!(server.last().is_by(&first));
    assert_eq!(server.last().connection, 0, "a connection is used again");
    // Between the two writes nothing fits together; the old pair goes on.
    setup.write("dev.crt", &second.certificate);
    setup.write("dev.key", "");
    get(&loaded).await.unwrap();
    assert!(server.last().is_by(&first));
    setup.write("dev.key", &second.key);
    get(&loaded).await.unwrap();
    assert!(server.last().is_by(&second));
}

#[tokio::test]
async fn a_client_certificate_that_the_server_refuses_is_blamed() {
    let authority = Authority::new("cluster");
    let server = Server::mutual(&authority.sign(&["127.0.0.1"]), &Authority::new("clients")).await;
    let other = Authority::new("others").sign(&["dev"]);
    let encode = |text: &str| tls::encode_base64(text.as_bytes());
    for user in [
        json!({}),
        json!({ "client-certificate-data": encode(&other.certificate), "client-key-data": encode(&other.key) }),
    ] {
        let text = refusal(&Setup::new(cluster(&server, &authority), user)).await;
        assert!(text.contains("refused our client certificate"), "{text}");
    }
}

#[tokio::test]
async fn a_pod_follows_its_clusters_new_authority() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let server = Server::tls(&old.sign(&["127.0.0.1"])).await;
    let folder = TempDir::new().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("token", "pod-token\n");
    write("namespace", "shop");
    write("ca.crt", &old.pem);
    let (host, port) = (server.address.ip().to_string(), server.address.port().to_string());
    let env = |name: &str| match name {
        "KUBERNETES_SERVICE_HOST" => Some(OsString::from(&host)),
        "KUBERNETES_SERVICE_PORT" => Some(OsString::from(&port)),
        _ => None,
    };
    let around = Surroundings { env: &env, service_account: folder.path() };
    // The regular look at the files is a minute away: the failed connection is the reason to look.
    let times = Times { suspect: Duration::ZERO, ..Times::default() };
    let loaded = connect_from(Options::default(), around, times, times.plugin).await.unwrap();
    assert_eq!((loaded.namespace.as_str(), &loaded.context), ("shop", &None));
    get(&loaded).await.unwrap();
    assert_eq!(server.last().header("authorization"), Some("Bearer pod-token"));
    server.replace(&new.sign(&["127.0.0.1"]));
    // Ends the old connection, so that the next request needs a new one.
    server.script([Answer::Hangup, Answer::Hangup]);
    get(&loaded).await.unwrap_err();
    write("ca.crt", &new.pem);
    get(&loaded).await.unwrap();
}

#[tokio::test]
async fn certificates_that_cannot_be_used_are_found_before_any_request() {
    let server = Server::plain().await;
    let good = Authority::new("clients").sign(&["dev"]);
    let other = Authority::new("clients").sign(&["dev"]);
    let encode = |text: &str| tls::encode_base64(text.as_bytes());
    let user = |certificate: &str, key: &str| json!({ "client-certificate-data": encode(certificate), "client-key-data": encode(key) });
    let at = format!("https://{}", server.address);
    let insecure = || json!({ "server": at, "insecure-skip-tls-verify": true });
    let cases = [
        (json!({ "server": at, "certificate-authority-data": "!" }), json!({}), "not base64"),
        (
            json!({ "server": at, "certificate-authority-data": encode("x") }),
            json!({}),
            "no certificate in it",
        ),
        (json!({ "server": at, "certificate-authority": "gone.crt" }), json!({}), "gone.crt"),
        (
            json!({ "server": at, "insecure-skip-tls-verify": true, "tls-server-name": "a b" }),
            json!({}),
            "tls-server-name",
        ),
        (
            insecure(),
            json!({ "client-certificate-data": encode(&good.certificate) }),
            "its key is missing; add client-key",
        ),
        (
            insecure(),
            json!({ "client-key-data": encode(&good.key) }),
            "its certificate is missing; add client-certificate",
        ),
        (insecure(), user("x", &good.key), "no certificate in it"),
        (insecure(), user(&good.certificate, "x"), "PKCS#8"),
        (insecure(), user(&good.certificate, &other.key), "must belong to the certificate"),
        (
            insecure(),
            user(
                &good.certificate,
                "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
            ),
            "encrypted",
        ),
    ];
    for (cluster, user, expected) in cases {
        let error = Setup::new(cluster, user).connect().await.err().unwrap();
        assert!(matches!(error, LoadError::Certificate { .. } | LoadError::Read { .. }), "{error:?}");
        assert!(error.to_string().contains(expected), "{expected}: {error}");
    }
}

#[tokio::test]
async fn a_server_without_tls_is_recognised() {
    let server = Server::plain().await;
    let setup = Setup::new(json!({ "server": server.url(), "insecure-skip-tls-verify": true }), json!({}));
    let text = refusal(&setup).await;
    assert!(text.contains("does not speak TLS"), "{text}");
}

#[tokio::test]
async fn silence_ends_at_the_deadline() {
    // Accepts, and never says a word of TLS.
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let at = format!("https://{}", listener.local_addr().unwrap());
    let mut setup = Setup::new(json!({ "server": at, "insecure-skip-tls-verify": true }), json!({}));
    setup.times.connect = Duration::from_millis(50);
    let text = refusal(&setup).await;
    assert!(text.contains("no answer from it in time"), "{text}");
}
