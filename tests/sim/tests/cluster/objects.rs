//! Objects as a client of Kubernetes sees them.

use futures_util::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::discovery::Discovery;
use serde_json::json;

use crate::support::{client, sim, soon};

fn config_map(name: &str) -> ConfigMap {
    serde_json::from_value(
        json!({ "metadata": { "name": name, "labels": { "app": name } }, "data": { "a": "1" } }),
    )
    .unwrap()
}

async fn maps(client: &Client, names: &[&str]) -> Api<ConfigMap> {
    let api = Api::default_namespaced(client.clone());
    for name in names {
        api.create(&PostParams::default(), &config_map(name)).await.unwrap();
    }
    api
}

fn code(result: kube::Result<ConfigMap>) -> u16 {
    match result {
        Err(kube::Error::Api(status)) => status.code,
        other => panic!("{other:?} is no refusal"),
    }
}

#[tokio::test]
async fn writes_have_preconditions() {
    let sim = sim().await;
    let maps = maps(&client(&sim).await, &["a"]).await;
    assert_eq!(code(maps.create(&PostParams::default(), &config_map("a")).await), 409);
    let mut old = maps.get("a").await.unwrap();
    let patch = |value| Patch::Json::<()>(serde_json::from_value(value).unwrap());
    let test = |value: &str| {
        json!([
            { "op": "test", "path": "/data/a", "value": value },
            { "op": "replace", "path": "/data/a", "value": "2" },
        ])
    };
    let patched = maps.patch("a", &PatchParams::default(), &patch(test("1"))).await.unwrap();
    assert_eq!(patched.data.unwrap()["a"], "2");
    assert_eq!(code(maps.patch("a", &PatchParams::default(), &patch(test("1"))).await), 422);
    old.data = None;
    assert_eq!(code(maps.replace("a", &PostParams::default(), &old).await), 409);
    assert_eq!(code(maps.get("b").await), 404);
    let applied =
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "b" }, "data": { "x": "1" } });
    let made = maps.patch("b", &PatchParams::apply("test"), &Patch::Apply(applied)).await.unwrap();
    assert_eq!(made.data.unwrap()["x"], "1");
    sim.stop().await;
}

#[tokio::test]
async fn lists_are_selected_and_come_in_pieces() {
    let sim = sim().await;
    let maps = maps(&client(&sim).await, &["a", "b", "c"]).await;
    let names = |list: &kube::core::ObjectList<ConfigMap>| -> Vec<String> {
        list.iter().filter_map(|one| one.metadata.name.clone()).collect()
    };
    assert_eq!(names(&maps.list(&ListParams::default().labels("app in (a,c)")).await.unwrap()), ["a", "c"]);
    assert_eq!(
        names(&maps.list(&ListParams::default().fields("metadata.name!=a")).await.unwrap()),
        ["b", "c"]
    );
    let first = maps.list(&ListParams::default().limit(2)).await.unwrap();
    assert_eq!(names(&first), ["a", "b"]);
    let next = first.metadata.continue_.unwrap();
    assert_eq!(
        names(&maps.list(&ListParams::default().limit(2).continue_token(&next)).await.unwrap()),
        ["c"]
    );
    sim.stop().await;
}

#[tokio::test]
async fn a_watch_tells_what_comes_into_its_sight_and_leaves_it() {
    let sim = sim().await;
    let maps = maps(&client(&sim).await, &["a", "b"]).await;
    let version = maps.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    let mut events = maps.watch(&WatchParams::default().labels("app=a"), &version).await.unwrap().boxed();
    for (name, app) in [("b", "a"), ("a", "other")] {
        let patch = Patch::Merge(json!({ "metadata": { "labels": { "app": app } } }));
        maps.patch(name, &PatchParams::default(), &patch).await.unwrap();
    }
    let mut told = Vec::new();
    while told.len() < 2 {
        match soon("an event", events.try_next()).await.unwrap().unwrap() {
            WatchEvent::Added(one) => told.push(format!("added {}", one.metadata.name.unwrap())),
            WatchEvent::Deleted(one) => told.push(format!("deleted {}", one.metadata.name.unwrap())),
            WatchEvent::Bookmark(_) => {}
            other @ (WatchEvent::Modified(_) | WatchEvent::Error(_)) => panic!("{other:?}"),
        }
    }
    assert_eq!(told, ["added b", "deleted a"]);
    sim.compact();
    let mut late = maps.watch(&WatchParams::default(), &version).await.unwrap().boxed();
    match soon("the refusal", late.try_next()).await.unwrap().unwrap() {
        WatchEvent::Error(status) => assert_eq!(status.code, 410),
        other @ (WatchEvent::Added(_)
        | WatchEvent::Modified(_)
        | WatchEvent::Deleted(_)
        | WatchEvent::Bookmark(_)) => panic!("{other:?}"),
    }
    sim.stop().await;
}

#[tokio::test]
async fn its_kinds_can_be_discovered_and_a_token_is_demanded() {
    let sim = sim().await;
    let discovery = Discovery::new(client(&sim).await).run().await.unwrap();
    for group in ["", "apps", "batch", "coordination.k8s.io", "discovery.k8s.io", "policy"] {
        assert!(discovery.has_group(group), "{group:?}");
    }
    let mut read = kube::config::Kubeconfig::read_from(sim.kubeconfig()).unwrap();
    for user in &mut read.auth_infos {
        user.auth_info = serde_json::from_value(json!({ "token": "guessed" })).unwrap();
    }
    let config = kube::Config::from_custom_kubeconfig(read, &Default::default()).await.unwrap();
    let stranger: Api<ConfigMap> = Api::default_namespaced(Client::try_from(config).unwrap());
    assert_eq!(code(stranger.get("a").await), 401);
    sim.stop().await;
}
