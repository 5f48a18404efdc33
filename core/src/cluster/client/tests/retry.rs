//! What is sent again, and what is not.

use k8s_openapi::api::core::v1::Service;

use super::*;
use crate::cluster::{Cluster, api};
use crate::{Deadline, ErrorCode};

async fn post(loaded: &Loaded) -> Result<String, kube::Error> {
    loaded.client.request_text(Request::post("/api/v1/pods").body(b"{\"a\":1}".to_vec()).unwrap()).await
}

#[tokio::test]
async fn a_request_the_server_had_no_time_for_is_sent_again_whole() {
    let server = Server::plain().await;
    let loaded = Setup::plain(&server, json!({})).connect().await.unwrap();
    server.script([Answer::Status(429, &[("retry-after", "0")]), Answer::Status(429, &[])]);
    post(&loaded).await.unwrap();
    let seen = server.seen();
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|seen| seen.body == b"{\"a\":1}"[..]), "{seen:?}");
}

#[tokio::test]
async fn what_may_have_been_done_is_not_done_twice() {
    let server = Server::plain().await;
    let loaded = Setup::plain(&server, json!({})).connect().await.unwrap();
    for answer in [Answer::Status(503, &[]), Answer::Status(504, &[]), Answer::Hangup] {
        let before = server.seen().len();
        server.script([answer]);
        post(&loaded).await.unwrap_err();
        assert_eq!(server.seen().len(), before + 1);
    }
}

#[tokio::test]
async fn a_read_is_tried_again() {
    let server = Server::plain().await;
    let loaded = Setup::plain(&server, json!({})).connect().await.unwrap();
    for answer in [Answer::Status(503, &[]), Answer::Status(504, &[]), Answer::Hangup] {
        server.script([answer]);
        get(&loaded).await.unwrap();
    }
    assert_eq!(server.seen().len(), 6);
}

#[tokio::test]
async fn a_long_pause_is_the_callers_to_decide() {
    let server = Server::plain().await;
    let loaded = Setup::plain(&server, json!({})).connect().await.unwrap();
    server.script([Answer::Status(429, &[("retry-after", "600")])]);
    let error = get(&loaded).await.unwrap_err();
    assert!(matches!(&error, kube::Error::Api(status) if status.code == 429), "{error:?}");
    assert_eq!(server.seen().len(), 1);
}

/// Else the keeper of carriers takes the pause for a dial that hangs, and dials beside it.
#[tokio::test]
async fn an_upgrade_that_is_refused_is_the_callers_to_repeat() {
    let server = Server::plain().await;
    let loaded = Setup::plain(&server, json!({})).connect().await.unwrap();
    let answers: [Headers; 2] = [&[("retry-after", "1")], &[]];
    for (before, headers) in answers.into_iter().enumerate() {
        server.script([Answer::Status(429, headers)]);
        let request = Request::get("/api/v1/namespaces/shop/pods/agent/portforward?ports=7")
            .header("upgrade", "websocket")
            .header("connection", "upgrade")
            .body(Vec::new())
            .unwrap();
        let Err(error) = loaded.client.connect(request).await.map(|_| ()) else { panic!("upgraded") };
        assert!(matches!(&error, kube::Error::Api(_) | kube::Error::UpgradeConnection(_)), "{error:?}");
        assert_eq!(server.seen().len(), before + 1, "{headers:?}");
    }
}

type Headers = &'static [(&'static str, &'static str)];

/// Of requests and of upgrades alike, as seconds or as a date, by a server or a proxy that does not speak Kubernetes.
#[tokio::test]
async fn when_to_come_again_is_told_to_the_caller() {
    let server = Server::plain().await;
    let loaded = Setup::plain(&server, json!({})).connect().await.unwrap();
    let cluster = Cluster::new(loaded.client.clone(), "shop".into(), server.url());
    let (now, later) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:51:37 GMT");
    let answers: [(u16, Headers, Option<u64>); 4] = [
        (429, Vec::leak(vec![("retry-after", "120")]), Some(120)),
        (429, Vec::leak(vec![("retry-after", later), ("date", now)]), Some(120)),
        (500, Vec::leak(vec![("retry-after", "120")]), Some(120)),
        (500, &[], None),
    ];
    for (status, headers, expected) in answers {
        for path in ["/api/v1/pods", "/api/v1/namespaces/shop/pods/agent/portforward?ports=7"] {
            server.script([Answer::Status(status, headers)]);
            let request = Request::get(path).body(Vec::new()).unwrap();
            let error = match path.contains('?') {
                true => loaded.client.connect(request).await.map(|_| ()).unwrap_err(),
                false => loaded.client.request_text(request).await.map(|_| ()).unwrap_err(),
            };
            let error = cluster.explain("get", "pods/agent", error);
            assert_eq!(api::retry_after(&error), expected.map(Duration::from_secs), "{path}: {error:?}");
            assert!(api::is_passing(&error), "{error:?}");
        }
    }
}

#[tokio::test]
async fn tries_come_to_an_end() {
    let server = Server::plain().await;
    let loaded = Setup::plain(&server, json!({})).connect().await.unwrap();
    server.script((0..20).map(|_| Answer::Status(503, &[])));
    // The pauses are real here (under a second and a half together): sockets and a stopped clock do not go together.
    get(&loaded).await.unwrap_err();
    assert_eq!(server.seen().len(), 5);
}

/// A deadline alone would send people to look for a server that is away.
#[tokio::test]
async fn whose_deadline_ends_the_tries_is_told_what_was_answered() {
    let server = Server::plain().await;
    let loaded = Setup::plain(&server, json!({})).connect().await.unwrap();
    let cluster = Cluster::new(loaded.client.clone(), "shop".into(), server.url());
    server.script([Answer::Status(429, &[("retry-after", "5")])]);
    let soon = Deadline::after(Duration::from_millis(300));
    let error = cluster.named::<Service>("orders", soon).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Deadline);
    assert!(error.report().contains("answered 429 Too Many Requests so far"), "{}", error.report());
}
