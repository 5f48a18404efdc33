//! What goes wrong on order.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, PostParams};
use kubetether_sim::{Effect, Fault, Sim};
use serde_json::json;

use crate::support::{
    client, deploy, eventually, is_ready, name, options, pod_of, script, sim, sim_with_workload, until,
};

fn map(name: &str) -> ConfigMap {
    serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap()
}

#[tokio::test]
async fn requests_are_refused_as_often_as_ordered() {
    let sim = sim().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&sim).await);
    sim.fault(Fault::refuse(403).on("create", "configmaps").times(2));
    for code in [403, 403] {
        match maps.create(&PostParams::default(), &map("a")).await {
            Err(kube::Error::Api(status)) => assert_eq!(status.code, code),
            other => panic!("{other:?}"),
        }
    }
    maps.create(&PostParams::default(), &map("a")).await.unwrap();
    assert_eq!((sim.faults()[0].seen, sim.faults()[0].hit), (3, 2));
    sim.mend_all();
    assert!(sim.faults().is_empty());
    sim.stop().await;
}

#[tokio::test]
async fn connections_are_cut() {
    let sim = sim().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&sim).await);
    sim.fault(Fault::new(Effect::Cut {}).on("get", "configmaps").times(1));
    let cut = maps.get("a").await.unwrap_err();
    assert!(!matches!(cut, kube::Error::Api(_)), "{cut:?}");
    assert!(matches!(maps.get("a").await, Err(kube::Error::Api(status)) if status.code == 404));
    assert!(sim.cut(Some("configmaps")) >= 1);
    sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_is_evicted_or_killed_is_replaced_or_started_again() {
    let sim = sim_with_workload().await;
    deploy(&sim, "web", "one", 1).await;
    let first = name(&pod_of(&sim, "web").unwrap());
    sim.signal_pod("default", &first, "KILL").unwrap();
    until(&sim, "pods", &first, |pod| {
        pod["status"]["containerStatuses"][0]["restartCount"] == 1 && is_ready(pod)
    })
    .await;
    sim.evict_pod("default", &first).unwrap();
    until(&sim, "pods", &first, |pod| pod["status"]["reason"] == "Evicted").await;
    eventually("another pod", async || {
        sim.objects("pods", "default")
            .into_iter()
            .find(|pod| pod["metadata"]["labels"]["app"] == "web" && name(pod) != first && is_ready(pod))
    })
    .await;
    sim.stop().await;
}

#[tokio::test]
async fn a_node_that_stops_takes_its_pods_along_until_it_is_back() {
    let sim = Sim::start(options().nodes(2)).await.unwrap();
    sim.apply(&script("sits", "while :; do sleep 1; done", "Always")).unwrap();
    until(&sim, "pods", "sits", is_ready).await;
    let node =
        sim.object("pods", "default", "sits").unwrap()["spec"]["nodeName"].as_str().unwrap().to_owned();
    sim.stop_node(&node).unwrap();
    until(&sim, "pods", "sits", |pod| !is_ready(pod)).await;
    assert!(sim.exec("default", "sits", &["/sh", "-c", "true"]).await.is_err());
    sim.start_node(&node).unwrap();
    until(&sim, "pods", "sits", is_ready).await;
    assert!(sim.stop_node("another").is_err());
    sim.stop().await;
}
