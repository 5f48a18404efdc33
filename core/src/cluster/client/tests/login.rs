//! Who the server sees: tokens, passwords, token files.

use super::*;

#[tokio::test]
async fn a_token_is_sent() {
    let server = Server::plain().await;
    Setup::plain(&server, json!({ "token": "t0" })).ask().await;
    assert_eq!(server.last().header("authorization"), Some("Bearer t0"));
}

#[tokio::test]
async fn a_password_is_sent() {
    let server = Server::plain().await;
    Setup::plain(&server, json!({ "username": "u", "password": "p:w" })).ask().await;
    assert_eq!(server.last().header("authorization"), Some("Basic dTpwOnc="));
}

#[tokio::test]
async fn nobody_in_particular_sends_nothing() {
    let server = Server::plain().await;
    Setup::plain(&server, json!({})).ask().await;
    assert_eq!(server.last().header("authorization"), None);
}

#[tokio::test]
async fn a_token_file_is_read_again() {
    let server = Server::plain().await;
    // Beside the kubeconfig, by a relative path, with a line break at its end; and it wins over the token.
    let mut setup = Setup::plain(&server, json!({ "tokenFile": "token", "token": "inline" }));
    setup.times.reread = Duration::ZERO;
    setup.write("token", "t1\n");
    let loaded = setup.ask().await;
    assert_eq!(server.last().header("authorization"), Some("Bearer t1"));
    setup.write("token", "t2\n");
    get(&loaded).await.unwrap();
    assert_eq!(server.last().header("authorization"), Some("Bearer t2"));
    // A file that is half written, or gone, leaves the last token in force.
    setup.write("token", "");
    get(&loaded).await.unwrap();
    std::fs::remove_file(setup.path("token")).unwrap();
    get(&loaded).await.unwrap();
    assert_eq!(server.last().header("authorization"), Some("Bearer t2"));
}

#[tokio::test]
async fn a_refused_token_is_read_again_at_once_and_the_request_sent_again() {
    let server = Server::plain().await;
    let setup = Setup::plain(&server, json!({ "tokenFile": "token" }));
    setup.write("token", "t1");
    let loaded = setup.ask().await;
    setup.write("token", "t2");
    get(&loaded).await.unwrap();
    assert_eq!(server.last().header("authorization"), Some("Bearer t1"), "not read for every request");
    server.script([Answer::UnlessToken("t1")]);
    get(&loaded).await.unwrap();
    assert_eq!(server.last().header("authorization"), Some("Bearer t2"));
    assert_eq!(server.seen().len(), 4);
    // Refused with nothing new to show: the refusal is the answer, once.
    server.script([Answer::UnlessToken("t2")]);
    let error = get(&loaded).await.unwrap_err();
    assert!(matches!(&error, kube::Error::Api(status) if status.code == 401), "{error:?}");
    assert_eq!(server.seen().len(), 5);
}

#[tokio::test]
async fn a_missing_token_file_is_named_unless_a_token_stands_beside_it() {
    let server = Server::plain().await;
    let setup = Setup::plain(&server, json!({ "tokenFile": "token" }));
    let error = setup.connect().await.err().unwrap();
    assert!(matches!(&error, LoadError::Read { path, .. } if *path == setup.path("token")), "{error:?}");
    Setup::plain(&server, json!({ "tokenFile": "token", "token": "t0" })).ask().await;
    assert_eq!(server.last().header("authorization"), Some("Bearer t0"));
}

#[tokio::test]
async fn contradictory_users_are_refused_by_name() {
    let server = Server::plain().await;
    let cases = [
        (json!({ "token": "hush", "username": "u", "password": "hush" }), "a token and a password"),
        (json!({ "as-groups": ["ops"] }), "without `as`"),
        (json!({ "auth-provider": { "name": "gcp", "config": null } }), "gke-gcloud-auth-plugin"),
        (
            json!({ "exec": { "apiVersion": "client.authentication.k8s.io/v1alpha1", "command": "x" } }),
            "v1alpha1",
        ),
        (json!({ "exec": { "apiVersion": "client.authentication.k8s.io/v1" } }), "no command"),
        (json!({ "token": "hu\nsh" }), "no header may"),
        (json!({ "token": "hush", "as": "a\nb" }), "cannot be impersonated"),
    ];
    for (user, expected) in cases {
        let error = Setup::plain(&server, user.clone()).connect().await.err().unwrap();
        assert!(matches!(&error, LoadError::Credentials { user, .. } if user == "dev"), "{user}: {error:?}");
        assert!(error.to_string().contains(expected), "{user}: {error}");
        assert!(!format!("{error}{error:?}").contains("hush"), "{error}");
    }
}

#[tokio::test]
async fn a_ready_made_oidc_token_is_used() {
    let server = Server::plain().await;
    let provider = json!({ "name": "oidc", "config": { "id-token": "t0", "client-id": "c" } });
    Setup::plain(&server, json!({ "auth-provider": provider })).ask().await;
    assert_eq!(server.last().header("authorization"), Some("Bearer t0"));
}
