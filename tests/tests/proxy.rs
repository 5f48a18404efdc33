//! The proxy of the tests itself, before a real API server.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, TryStreamExt as _};
use http::Method;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, AttachParams, ListParams, ObjectMeta, PostParams, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kubetether::{Config, Session};
use kubetether_tests::proxy::{Cut, Fault, Moment, Proxy, Scope, mutating, of};
use kubetether_tests::{App, CLOSE, Client, LONG, Limited, Outcome, SHORT, Scenario, scenario};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// The workload's echo.
const ECHO: u16 = 9000;

/// One direction of the line; both together are what a round trip takes.
const WAY: Duration = Duration::from_millis(150);

/// kube's client by a kubeconfig. It asks once.
async fn client(kubeconfig: &Path) -> kube::Client {
    let read = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await;
    let mut config = config.unwrap();
    config.default_retry = false;
    kube::Client::try_from(config).unwrap()
}

fn api<K>(at: &Scenario, client: &kube::Client) -> Api<K>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
{
    Api::namespaced(client.clone(), at.namespace().name())
}

fn map(name: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        ..ConfigMap::default()
    }
}

/// The code of the API's answer.
fn status(error: &kube::Error) -> u16 {
    let kube::Error::Api(status) = error else { panic!("not the API's answer: {error}") };
    status.code
}

async fn pod_of_orders(at: &Scenario) -> String {
    let pods: Api<Pod> = at.namespace().api();
    let list = pods.list(&ListParams::default().labels("app=orders")).await.unwrap();
    list.items.into_iter().next().unwrap().metadata.name.unwrap()
}

async fn echoes(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> bool {
    let mut back = [0; 4];
    stream.write_all(b"ping").await.is_ok()
        && stream.flush().await.is_ok()
        && stream.read_exact(&mut back).await.is_ok()
        && &back == b"ping"
}

#[test]
fn objects_are_listed_watched_and_written_and_all_is_counted() {
    scenario("proxy-objects", async |at| {
        let proxy = Proxy::start(at.cluster().kubeconfig()).await.unwrap();
        let client = client(&proxy.kubeconfig()).await;
        let maps: Api<ConfigMap> = api(at, &client);
        let list = maps.list(&ListParams::default()).await.unwrap();
        let version = list.metadata.resource_version.unwrap();
        let mut watch = maps.watch(&WatchParams::default(), &version).await.unwrap().boxed();
        maps.create(&PostParams::default(), &map("made")).await.unwrap();
        let event = timeout(SHORT, watch.try_next()).await.unwrap().unwrap();
        assert!(
            matches!(&event, Some(WatchEvent::Added(made)) if made.metadata.name.as_deref() == Some("made"))
        );

        let dry = PostParams { dry_run: true, ..PostParams::default() };
        maps.create(&dry, &map("dry")).await.unwrap();
        maps.delete("made", &kube::api::DeleteParams::default()).await.unwrap();
        let counts = proxy.requests().counts();
        assert_eq!((counts.of("GET", "configmaps"), counts.of("POST", "configmaps")), (2, 2));
        assert_eq!((counts.of("DELETE", "configmaps"), counts.mutating), (1, 2));

        // A watch that is cut is one that broke, and says so.
        proxy.wire().cut(Cut::All);
        let end = timeout(SHORT, async {
            watch.by_ref().skip_while(|event| std::future::ready(event.is_ok())).next().await
        });
        assert!(end.await.unwrap().is_some_and(|event| event.is_err()));
    });
}

#[test]
fn port_forwards_and_execs_are_delayed_cut_and_held() {
    scenario("proxy-upgrades", async |at| {
        at.shop(&App::orders().serving("echo", ECHO)).await;
        let pod = pod_of_orders(at).await;
        let proxy = Proxy::start(at.cluster().kubeconfig()).await.unwrap();
        let client = client(&proxy.kubeconfig()).await;
        let pods: Api<Pod> = api(at, &client);
        let mut first = pods.portforward(&pod, &[ECHO]).await.unwrap();
        let mut second = pods.portforward(&pod, &[ECHO]).await.unwrap();
        let (mut one, mut two) = (first.take_stream(ECHO).unwrap(), second.take_stream(ECHO).unwrap());
        assert!(echoes(&mut one).await && echoes(&mut two).await);

        let began = Instant::now();
        assert!(echoes(&mut one).await);
        let bare = began.elapsed();
        proxy.wire().delay(WAY, WAY);
        let began = Instant::now();
        assert!(echoes(&mut one).await);
        let (delayed, expected) = (began.elapsed(), bare + 2 * WAY);
        assert!((2 * WAY..expected + WAY).contains(&delayed), "{delayed:?}, without delay {bare:?}");
        proxy.wire().delay(Duration::ZERO, Duration::ZERO);

        proxy.wire().blackhole(Scope::Upgraded);
        one.write_all(b"held").await.unwrap();
        pods.get(&pod).await.unwrap();
        let mut back = [0; 4];
        assert!(timeout(WAY, one.read_exact(&mut back)).await.is_err());
        proxy.wire().release();
        timeout(SHORT, one.read_exact(&mut back)).await.unwrap().unwrap();
        assert_eq!(&back, b"held");

        assert_eq!((proxy.wire().upgraded(), proxy.wire().cut(Cut::OneUpgraded)), (2, 1));
        assert!(!timeout(SHORT, echoes(&mut one)).await.unwrap());
        assert!(timeout(SHORT, echoes(&mut two)).await.unwrap());

        let params = AttachParams::default().stdout(true).stderr(false);
        let mut exec = pods.exec("client", ["/workload", "get", "http://orders/"], &params).await.unwrap();
        let mut text = String::new();
        timeout(LONG, exec.stdout().unwrap().read_to_string(&mut text)).await.unwrap().unwrap();
        assert!(text.contains("name=cluster"), "{text}");
        let counts = proxy.requests().counts();
        let upgrades = (counts.of("GET", "pods/portforward"), counts.of("GET", "pods/exec"));
        assert_eq!((upgrades, counts.mutating), ((2, 1), 0));
    });
}

#[test]
fn answers_in_the_servers_stead_and_a_world_that_stops() {
    scenario("proxy-requests", async |at| {
        let proxy = Proxy::start(at.cluster().kubeconfig()).await.unwrap();
        let client = client(&proxy.kubeconfig()).await;
        let maps: Api<ConfigMap> = api(at, &client);
        proxy.requests().fault(Fault::TooManyRequests(1), 2, of(Method::GET, "configmaps"));
        maps.list(&ListParams::default()).await.unwrap();
        assert_eq!(status(&maps.list(&ListParams::default()).await.unwrap_err()), 429);
        maps.list(&ListParams::default()).await.unwrap();
        proxy.requests().no_faults();

        let direct: Api<ConfigMap> = at.namespace().api();
        for (moment, there) in [(Moment::Before, false), (Moment::After, true)] {
            let pause = proxy.requests().pause(moment, 1, mutating);
            let (name, maps) = (format!("{moment:?}").to_lowercase(), maps.clone());
            let making = tokio::spawn({
                let object = map(&name);
                async move { maps.create(&PostParams::default(), &object).await }
            });
            let asked = timeout(SHORT, pause.reached()).await.unwrap();
            assert_eq!(asked.resource(), "configmaps");
            assert_eq!(direct.get_opt(&name).await.unwrap().is_some(), there, "{moment:?}");
            pause.cut();
            timeout(SHORT, making).await.unwrap().unwrap().unwrap_err();
            assert_eq!(direct.get_opt(&name).await.unwrap().is_some(), there, "{moment:?}");
        }
    });
}

#[test]
fn a_user_stays_that_user() {
    scenario("proxy-user", async |at| {
        let limited = Limited::create(at.cluster(), at.namespace(), "nobody", &[]).await;
        let demand_nobody = async |kubeconfig: &Path| {
            let maps: Api<ConfigMap> = api(at, &client(kubeconfig).await);
            let refused = maps.list(&ListParams::default()).await.unwrap_err();
            assert_eq!(status(&refused), 403);
            assert!(refused.to_string().contains(":nobody"), "{refused}");
        };
        let own = Proxy::start(limited.kubeconfig()).await.unwrap();
        demand_nobody(&own.kubeconfig()).await;

        // By the token of the one, over a proxy that holds the certificate of the other.
        let admin = Proxy::start(at.cluster().kubeconfig()).await.unwrap();
        let text = |path: &Path| {
            let text = std::fs::read_to_string(path).unwrap();
            serde_json::from_str::<serde_json::Value>(&text).unwrap()
        };
        let mut mixed = text(&admin.kubeconfig());
        mixed["users"][0]["user"]["token"] = text(limited.kubeconfig())["users"][0]["user"]["token"].clone();
        std::fs::write(admin.kubeconfig(), mixed.to_string()).unwrap();
        demand_nobody(&admin.kubeconfig()).await;
    });
}

async fn demand_a_forward(at: &Scenario, kubeconfig: &Path) {
    let config = Config::new().kubeconfig(kubeconfig).namespace(at.namespace().name());
    let session = Session::start(config).await.good();
    let forward = session.forward("orders:80").await.good();
    let answer = Client::here().get(&format!("http://{}/", forward.address())).await;
    assert!(answer.as_ref().is_ok_and(|body| body.contains("name=cluster")), "{answer:?}");
    session.close(CLOSE).await.good();
}

#[test]
fn the_engine_works_through_both_kinds() {
    scenario("proxy-engine", async |at| {
        at.shop(&App::orders()).await;
        let proxy = Proxy::start(at.cluster().kubeconfig()).await.unwrap();
        demand_a_forward(at, &proxy.kubeconfig()).await;
        let counts = proxy.requests().counts();
        assert!(counts.mutating > 0 && counts.of("GET", "pods/portforward") > 0, "{counts:?}");
        let raw = Proxy::tcp(at.cluster().kubeconfig()).await.unwrap();
        demand_a_forward(at, &raw.kubeconfig()).await;
        assert!(raw.wire().accepted() > 0);
    });
}
