//! What the guard makes of a Service that is not, or only seems not, as it was left.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PropagationPolicy;
use serde_json::{Value, json};

use super::*;
use crate::cluster::agent_link::AgentLink;
use crate::cluster::api::fake::Fake;
use crate::cluster::names;
use crate::cluster::pod_wait::AgentPod;
use crate::event::Hub;
use crate::exchange::interceptor::Interceptor;
use crate::exchange::service;
use crate::{Config, Protocol, To};

const NAME: &str = "kt-orders-0123456789";
const NOTHING: [&str; 0] = [];

/// An exchange in force.
struct Setup {
    fake: Fake,
    guard: Guard,
    kept: Kept,
    note: Note,
}

impl Setup {
    async fn new() -> Self {
        let fake = Fake::default();
        let shared = Arc::new(Shared::over(Config::new(), fake.cluster(), None));
        let lease = names::lease(&shared.id);
        fake.put::<Lease>(json!({ "metadata": { "name": lease, "uid": "lease-1" } }));
        shared.tenure.stands("lease-1");
        fake.put::<Service>(json!({
            "metadata": { "name": "orders", "uid": "u1" },
            "spec": { "clusterIP": "10.96.0.9", "selector": { "app": "orders" }, "ports": [{ "port": 80, "targetPort": 8080 }] },
        }));
        let plan =
            Plan::new(&fake.get("orders").unwrap(), "kt-aaaaaaaaaa".into(), &To::port(1), None).unwrap();
        let note = Note::exchange(plan.original.clone(), lease.clone(), plan.exposed(), NAME.into());
        service::take(&shared.cluster, &plan, &note, &lease, None, Deadline::secs(5)).await.unwrap();
        fake.changes();
        let link = AgentLink::without_carriers();
        let kept = Kept::new(
            &shared,
            Interceptor::new(NAME.into()),
            AgentPod { name: "p".into() },
            link,
            plan.clone(),
        );
        let life = Life::new(&Arc::new(Hub::new()), "exchange", "orders");
        life.set(HandleState::Active);
        let counters = shared.flows.handle(life.id(), "exchange", Protocol::Tcp);
        let guard = Guard::new(shared, life, plan, counters);
        Self { fake, guard, kept, note }
    }

    async fn put_back(&self) {
        let (cluster, lease) = (&self.guard.shared.cluster, names::lease(&self.guard.shared.id));
        service::restore(cluster, &self.guard.plan, &lease, Deadline::secs(5)).await.unwrap();
        self.fake.changes();
    }

    fn edit(&self, change: impl FnOnce(&mut Value)) {
        let mut live = serde_json::to_value(self.live()).unwrap();
        change(&mut live);
        self.fake.put::<Service>(live);
    }

    fn live(&self) -> Service {
        self.fake.get("orders").unwrap()
    }

    fn lease(&self, lease: Value) {
        let mut lease = lease;
        lease["metadata"]["name"] = json!(names::lease(&self.guard.shared.id));
        self.fake.put::<Lease>(lease);
    }

    async fn regain(&mut self, why: Why) -> Fate {
        self.guard.regain(why, &self.note, &mut self.kept).await
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_told_too_late_is_nobodys_change() {
    let mut at = Setup::new().await;
    // The guard put it back and took it again while nobody listened to the watch: this is told only now.
    let taken = at.live();
    at.put_back().await;
    let between = at.live();
    assert!(matches!(at.regain(Why::PutBack("a loss")).await, Fate::Settled));
    at.fake.changes();
    assert!(at.guard.is_as_left(Some(&taken)));
    assert!(!at.guard.is_as_left(Some(&between)));
    assert!(matches!(at.regain(Why::Foreign).await, Fate::Settled));
    assert_eq!(at.fake.changes(), NOTHING);
    assert!(at.guard.put_backs.is_empty(), "nobody changed anything");
    assert_eq!(at.guard.held, Held::Ours);
}

#[tokio::test(start_paused = true)]
async fn what_others_change_is_taken_again_three_times_a_minute() {
    let mut at = Setup::new().await;
    for _ in 0..3 {
        at.edit(|live| live["spec"]["selector"]["app"] = json!("orders-v2"));
        assert!(matches!(at.regain(Why::Foreign).await, Fate::Settled));
        assert_eq!(at.guard.held, Held::Ours);
        assert_eq!(at.guard.plan.original.selector["app"], "orders-v2");
    }
    at.edit(|live| live["spec"]["selector"]["app"] = json!("orders-v3"));
    assert!(matches!(at.regain(Why::Foreign).await, Fate::Settled));
    assert_eq!(at.guard.held, Held::Theirs);
    assert!(matches!(at.guard.life.state(), HandleState::PassThrough(why) if why.contains("keeps changing")));
    let selector = at.live().spec.unwrap().selector.unwrap();
    assert_eq!(selector["app"], "orders-v3");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_taken_again_without_the_sessions_lease() {
    for why in [Why::Foreign, Why::PutBack("a loss"), Why::Anew("a loss")] {
        let mut at = Setup::new().await;
        at.put_back().await;
        // Somebody put it back by hand, and said so.
        let mark = r#"{"v":1,"services":{"u1":{"service":"orders","by":"ana@laptop","at":"now"}}}"#;
        at.lease(json!({ "metadata": { "uid": "lease-1", "annotations": { names::RECOVERED: mark } } }));
        assert!(matches!(at.regain(why).await, Fate::Lost(by) if by.contains("ana@laptop")));
        assert_eq!(at.fake.changes(), NOTHING, "{why:?}");

        // Somebody took the session for dead, and takes its interceptor away.
        at.lease(json!({ "metadata": { "uid": "lease-2" } }));
        assert!(matches!(at.regain(why).await, Fate::Anew(_)));
        assert_eq!(at.fake.changes(), NOTHING, "{why:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_found_ours_is_ours() {
    let mut at = Setup::new().await;
    // It was taken, but the answer came too late.
    at.guard.held = Held::Theirs;
    at.guard.life.set(HandleState::PassThrough("no answer".into()));
    assert!(!at.guard.is_as_left(Some(&at.live())), "it is looked at");
    assert!(matches!(at.regain(Why::Foreign).await, Fate::Settled));
    assert_eq!((at.guard.held, at.guard.life.state()), (Held::Ours, HandleState::Active));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_could_not_be_taken_again_after_a_loss_is_tried_again() {
    let mut at = Setup::new().await;
    at.put_back().await;
    at.guard.held = Held::Away;
    at.fake.refuse(|what| what.starts_with("GET leases").then_some(http::StatusCode::FORBIDDEN));
    assert!(matches!(at.regain(Why::PutBack("a silence")).await, Fate::Later(_)));
    assert!(at.guard.look_again.is_some());
    at.fake.refuse(|_| None);
    assert!(matches!(at.regain(Why::Foreign).await, Fate::Settled));
    assert_eq!(at.guard.held, Held::Ours);
}

#[tokio::test(start_paused = true)]
async fn while_its_interceptor_is_silent_it_stays_put_back() {
    let mut at = Setup::new().await;
    at.put_back().await;
    at.guard.held = Held::Away;
    at.guard.reached = false;
    at.edit(|live| live["spec"]["selector"]["app"] = json!("orders-v2"));
    assert!(matches!(at.regain(Why::Foreign).await, Fate::Settled));
    assert_eq!(at.fake.changes(), NOTHING);
    assert_eq!(at.guard.plan.original.selector["app"], "orders-v2", "what they wrote counts");
}

#[tokio::test(start_paused = true)]
async fn putting_back_says_whether_it_did() {
    let at = Setup::new().await;
    at.fake.refuse(|what| what.starts_with("PATCH services").then_some(http::StatusCode::FORBIDDEN));
    assert!(!at.guard.lose().await);
    assert!(!at.guard.put_back_meanwhile().await);
    at.fake.refuse(|_| None);
    assert!(at.guard.lose().await);
    assert_eq!(at.live().spec.unwrap().selector.unwrap()["app"], "orders");
}

#[tokio::test(start_paused = true)]
async fn another_interceptor_is_written_down_also_where_the_service_is_as_it_was_left() {
    let mut at = Setup::new().await;
    at.note.holders[0].interceptor = "kt-orders-successor".into();
    assert!(matches!(at.regain(Why::Anew("a loss")).await, Fate::Settled));
    let note = Note::of(&at.live()).unwrap().unwrap();
    assert_eq!(note.holders[0].interceptor, "kt-orders-successor");
}

#[tokio::test(start_paused = true)]
async fn what_serves_the_service_is_looked_after() {
    let mut at = Setup::new().await;
    let back = names::pass_through(NAME);
    at.fake.put::<Service>(json!({ "metadata": { "name": back } }));
    for (replicas, expected) in [(1, 1), (3, 1), (5, 1)] {
        at.fake.put::<Deployment>(json!({ "metadata": { "name": NAME }, "spec": { "replicas": replicas, "selector": {}, "template": {} } }));
        assert!(matches!(at.guard.look_after(&at.kept).await, Fate::Settled));
        let now = at.fake.get::<Deployment>(NAME).unwrap().spec.unwrap().replicas;
        assert_eq!(now, Some(expected));
        assert_eq!(at.guard.scaled, replicas > 1);
    }
    at.guard
        .shared
        .cluster
        .delete::<Service>(&back, None, PropagationPolicy::Background, Deadline::secs(5))
        .await
        .unwrap();
    assert!(matches!(at.guard.look_after(&at.kept).await, Fate::Anew(why) if why.contains(&back)));
}

#[tokio::test(start_paused = true)]
async fn the_net_is_there_only_while_the_service_leads_here() {
    let mut at = Setup::new().await;
    let labels = names::labels(names::ROLE_INTERCEPTOR, NAME);
    let base = ObjectMeta { name: Some(NAME.into()), labels: Some(labels.clone()), ..Default::default() };
    let fallback = Fallback::new(&at.fake.cluster(), "orders", base);
    at.guard.fallback = Some(fallback.clone());
    for (name, by) in [("ours", "kubetether"), ("own", "endpointslice-controller.k8s.io")] {
        let mut labels = json!(labels);
        labels["kubernetes.io/service-name"] = json!("orders");
        labels["endpointslice.kubernetes.io/managed-by"] = json!(by);
        at.fake.put::<EndpointSlice>(json!({
            "metadata": { "name": name, "labels": labels }, "addressType": "IPv4",
            "endpoints": [{ "addresses": ["10.0.0.7"], "conditions": { "ready": by != "kubetether" } }],
        }));
    }
    assert!(at.guard.put_back_meanwhile().await);
    assert_eq!(at.fake.changes()[..2], ["DELETE endpointslices/ours", "PATCH services/orders"]);
    assert!(!fallback.is_wanted());
    assert!(matches!(at.regain(Why::PutBack("a loss")).await, Fate::Settled));
    assert!(fallback.is_wanted());

    // It cannot be taken again for the moment.
    at.edit(|live| live["spec"]["selector"]["app"] = json!("orders-v2"));
    at.fake.refuse(|what| what.starts_with("GET leases").then_some(http::StatusCode::FORBIDDEN));
    assert!(matches!(at.regain(Why::Foreign).await, Fate::Later(_)));
    assert!(!fallback.is_wanted());
    at.fake.refuse(|_| None);
    assert!(matches!(at.regain(Why::Foreign).await, Fate::Settled));
    assert!(fallback.is_wanted());

    // It is left to somebody who insists.
    for version in 3..6 {
        at.edit(|live| live["spec"]["selector"]["app"] = json!(format!("orders-v{version}")));
        assert!(matches!(at.regain(Why::Foreign).await, Fate::Settled));
    }
    assert_eq!((at.guard.held, fallback.is_wanted()), (Held::Theirs, false));

    // One that could not be put back leads here still.
    at.guard.held = Held::Ours;
    at.edit(|live| live["spec"]["selector"]["app"] = json!("kt-aaaaaaaaaa"));
    at.fake.refuse(|what| what.starts_with("PATCH services").then_some(http::StatusCode::FORBIDDEN));
    assert!(!at.guard.put_back_meanwhile().await);
    assert!(fallback.is_wanted());
}
