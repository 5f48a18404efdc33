use serde_json::json;

use super::*;
use crate::cluster::api::fake::Fake;
use crate::cluster::pod_wait::AgentPod;
use crate::event::Hub;
use crate::exchange::service;
use crate::exchange::start::Start;
use crate::life::Life;
use crate::{AgentSource, Config, To};

const NAME: &str = "kt-orders-0123456789";
const NOTHING: [&str; 0] = [];

fn session(fake: &Fake) -> Arc<Shared> {
    let config = Config::new().agent(AgentSource::Image("agent".into()));
    let shared = Shared::over(config, fake.cluster(), None);
    shared.tenure.stands("lease-1");
    Arc::new(shared)
}

fn orders(fake: &Fake) -> Plan {
    fake.put::<Service>(json!({
        "metadata": { "name": "orders", "uid": "u1" },
        "spec": { "clusterIP": "10.96.0.9", "selector": { "app": "orders" }, "ports": [{ "port": 80, "targetPort": 8080 }] },
    }));
    Plan::new(&fake.get("orders").unwrap(), "kt-aaaaaaaaaa".into(), &To::port(1), None).unwrap()
}

fn interceptor(fake: &Fake, name: &str) {
    let labels = names::labels(names::ROLE_INTERCEPTOR, name);
    fake.put::<Deployment>(json!({ "metadata": { "name": name, "labels": labels } }));
}

/// The Service is taken by a session, for that interceptor.
async fn take(fake: &Fake, plan: &Plan, lease: &str, interceptor: &str) -> Note {
    let note = Note::exchange(plan.original.clone(), lease.into(), plan.exposed(), interceptor.into());
    service::take(&fake.cluster(), plan, &note, lease, None, Deadline::secs(5)).await.unwrap();
    fake.changes();
    note
}

fn kept(shared: &Shared, plan: &Plan, name: &str) -> Kept {
    let pod = AgentPod { name: format!("{name}-pod") };
    Kept::new(shared, Interceptor::new(name.into()), pod, AgentLink::without_carriers(), plan.clone())
}

fn selects(fake: &Fake) -> String {
    fake.get::<Service>("orders").unwrap().spec.unwrap().selector.unwrap()["app"].clone()
}

#[test]
fn whom_a_service_leads_to() {
    let service = |uid: &str, value: &str, note: Option<&str>| -> Service {
        let annotations = note.map(|note| json!({ names::EXCHANGE: note }));
        serde_json::from_value(json!({
            "metadata": { "name": "orders", "uid": uid, "annotations": annotations },
            "spec": { "selector": { "app": value, "tier": "theirs" } },
        }))
        .unwrap()
    };
    let note = |interceptor: &str| {
        let note = Note::exchange(Default::default(), "kubetether-1".into(), vec![], interceptor.into());
        note.to_text().unwrap()
    };
    let served = Served { service: "orders".into(), uid: "u1".into(), value: "kt-aaaaaaaaaa".into() };
    let (own, other, later) = (note(NAME), note("kt-orders-other"), r#"{"v":2}"#);
    for (uid, value, note, expected) in [
        ("u1", "kt-aaaaaaaaaa", Some(own.as_str()), true),
        // Somebody took its note off, or damaged it, or may have written it anew by other rules.
        ("u1", "kt-aaaaaaaaaa", None, true),
        ("u1", "kt-aaaaaaaaaa", Some("{"), true),
        ("u1", "kt-aaaaaaaaaa", Some(later), true),
        // Another one of the same session receives its callers.
        ("u1", "kt-aaaaaaaaaa", Some(other.as_str()), false),
        // Another session has it; its user has it; it is another one.
        ("u1", "kt-bbbbbbbbbb", Some(other.as_str()), false),
        ("u1", "orders", Some(own.as_str()), false),
        ("u2", "kt-aaaaaaaaaa", Some(own.as_str()), false),
    ] {
        assert_eq!(leads_to(&service(uid, value, note), &served, NAME), expected, "{uid} {value} {note:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_cannot_be_put_back_keeps_its_interceptor() {
    let fake = Fake::default();
    let (shared, plan) = (session(&fake), orders(&fake));
    take(&fake, &plan, &names::lease(&shared.id), NAME).await;
    interceptor(&fake, NAME);
    let mut kept = kept(&shared, &plan, NAME);
    kept.taken_as = Some(plan);
    fake.refuse(|what| (what == "PATCH services/orders").then_some(http::StatusCode::FORBIDDEN));
    let error = kept.remove(&shared, Deadline::secs(20)).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::NotRestored);
    assert_eq!(fake.changes(), NOTHING);
    fake.refuse(|_| None);
    kept.remove(&shared, Deadline::secs(20)).await.unwrap();
    assert_eq!(fake.changes(), ["PATCH services/orders", &format!("DELETE deployments/{NAME}")]);
    assert_eq!(selects(&fake), "orders");
}

#[tokio::test(start_paused = true)]
async fn a_service_whose_note_was_damaged_is_put_back_before_its_interceptor_goes() {
    for (note, expected) in [("{", "orders"), (r#"{"v":1}"#, "orders"), (r#"{"v":2}"#, "kt-aaaaaaaaaa")] {
        let fake = Fake::default();
        let (shared, plan) = (session(&fake), orders(&fake));
        take(&fake, &plan, &names::lease(&shared.id), NAME).await;
        interceptor(&fake, NAME);
        let mut live = serde_json::to_value(fake.get::<Service>("orders").unwrap()).unwrap();
        live["metadata"]["annotations"][names::EXCHANGE] = json!(note);
        fake.put::<Service>(live);
        let mut kept = kept(&shared, &plan, NAME);
        kept.taken_as = Some(plan);
        let removed = kept.remove(&shared, Deadline::secs(20)).await;
        assert_eq!(selects(&fake), expected, "{note}");
        assert_eq!(fake.get::<Deployment>(NAME).is_none(), removed.is_ok());
        assert_eq!(
            removed.is_ok(),
            expected == "orders",
            "{note}: what a later version wrote is not touched"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn another_sessions_value_beside_a_damaged_note_is_left_alone() {
    let fake = Fake::default();
    let (shared, plan) = (session(&fake), orders(&fake));
    let theirs = Plan { value: "kt-bbbbbbbbbb".into(), ..plan.clone() };
    take(&fake, &theirs, "kubetether-other", "kt-orders-other").await;
    let mut live = serde_json::to_value(fake.get::<Service>("orders").unwrap()).unwrap();
    live["metadata"]["annotations"][names::EXCHANGE] = json!("{");
    fake.put::<Service>(live);
    let restored = service::restore(&shared.cluster, &plan, "kubetether-mine", Deadline::secs(5)).await;
    assert!(!restored.unwrap());
    assert_eq!(selects(&fake), "kt-bbbbbbbbbb");
}

#[tokio::test(start_paused = true)]
async fn an_interceptor_that_was_replaced_leaves_the_service_to_its_successor() {
    let fake = Fake::default();
    let (shared, plan) = (session(&fake), orders(&fake));
    let mut old = kept(&shared, &plan, NAME);
    // An earlier exchange of the session ended like this.
    old.taken_as = Some(plan.clone());
    interceptor(&fake, NAME);
    take(&fake, &plan, &names::lease(&shared.id), "kt-orders-successor").await;
    old.succeeded().remove(&shared, Deadline::secs(20)).await.unwrap();
    assert_eq!(fake.changes(), [format!("DELETE deployments/{NAME}")]);
    assert_eq!(selects(&fake), "kt-aaaaaaaaaa");
}

#[tokio::test(start_paused = true)]
async fn one_that_does_not_fit_any_more_stays_when_its_service_cannot_be_put_back() {
    let fake = Fake::default();
    let (shared, plan) = (session(&fake), orders(&fake));
    take(&fake, &plan, &names::lease(&shared.id), NAME).await;
    interceptor(&fake, NAME);
    // Its link has no carrier: the state behind an outage.
    let mut kept = kept(&shared, &plan, NAME);
    kept.taken_as = Some(plan.clone());
    shared.keep(kept);
    fake.refuse(|what| (what == "PATCH services/orders").then_some(http::StatusCode::FORBIDDEN));
    let life = Life::new(&Arc::new(Hub::new()), "exchange", "orders");
    let mut start = Start::anew(&shared, &life, Duration::from_secs(90));
    let found: Service = fake.get("orders").unwrap();
    let Err(error) = start.stand_anew(&found, &plan).await else { panic!("it does not fit") };
    assert_eq!(error.code(), ErrorCode::NotRestored);
    start.undo().await;
    assert_eq!(fake.changes(), NOTHING);
    assert_eq!(shared.take_kept("u1").unwrap().name(), NAME, "the session's end tries again");
}

#[tokio::test(start_paused = true)]
async fn of_two_kept_for_one_service_the_older_one_goes() {
    let fake = Fake::default();
    let (shared, plan) = (session(&fake), orders(&fake));
    for name in ["kt-orders-new", NAME] {
        interceptor(&fake, name);
        shared.keep(kept(&shared, &plan, name));
    }
    shared.chores_done(Deadline::secs(60)).await;
    assert_eq!(fake.changes(), ["DELETE deployments/kt-orders-new"]);
    assert_eq!(shared.take_kept("u1").unwrap().name(), NAME);
}

#[tokio::test(start_paused = true)]
async fn one_that_has_to_stay_is_tried_again_at_the_sessions_end() {
    let fake = Fake::default();
    let (shared, plan) = (session(&fake), orders(&fake));
    take(&fake, &plan, &names::lease(&shared.id), NAME).await;
    interceptor(&fake, NAME);
    in_background(&shared, kept(&shared, &plan, NAME).succeeded());
    shared.chores_done(Deadline::secs(120)).await;
    assert_eq!(fake.changes(), NOTHING, "no other one receives the callers");
    let left = shared.take_all_left();
    assert_eq!(left.len(), 1);
    service::restore(&shared.cluster, &plan, &names::lease(&shared.id), Deadline::secs(5)).await.unwrap();
    left[0].remove(&shared, Deadline::secs(60)).await.unwrap();
    assert!(fake.get::<Deployment>(NAME).is_none());
}

#[tokio::test(start_paused = true)]
async fn what_this_session_left_itself_is_no_leftover() {
    let fake = Fake::default();
    let (shared, plan) = (session(&fake), orders(&fake));
    // An exchange that could not be put back is tried again with the interceptor that was kept.
    let note = take(&fake, &plan, &names::lease(&shared.id), NAME).await;
    interceptor(&fake, NAME);
    of_the_dead(shared.clone(), plan, note).await;
    assert_eq!(fake.changes(), NOTHING);
}

#[tokio::test(start_paused = true)]
async fn both_interceptors_of_a_dead_session_go_once_its_service_leads_elsewhere() {
    let fake = Fake::default();
    let (shared, plan) = (session(&fake), orders(&fake));
    let theirs = Plan { value: names::selector_value("u1", "dead"), ..plan.clone() };
    let dead = take(&fake, &theirs, "kubetether-dead", NAME).await;
    interceptor(&fake, NAME);
    // The second one bears the first one's labels.
    let labels = names::labels(names::ROLE_INTERCEPTOR, NAME);
    fake.put::<Deployment>(json!({ "metadata": { "name": names::second(NAME), "labels": labels } }));

    of_the_dead(shared.clone(), plan.clone(), dead.clone()).await;
    assert_eq!(fake.changes(), NOTHING, "the Service still leads there");
    let own = names::lease(&shared.id);
    let note = Note::exchange(plan.original.clone(), own.clone(), vec![80], "kt-orders-mine".into());
    service::take(&shared.cluster, &plan, &note, &own, Some(&dead), Deadline::secs(5)).await.unwrap();
    fake.changes();
    of_the_dead(shared.clone(), plan, dead).await;
    assert!(fake.changes().contains(&format!("DELETE deployments/{NAME}")));
}

#[tokio::test(start_paused = true)]
async fn what_a_note_names_and_is_not_ours_is_left_alone() {
    let fake = Fake::default();
    let (shared, plan) = (session(&fake), orders(&fake));
    let dead =
        Note::exchange(plan.original.clone(), "kubetether-dead".into(), vec![80], "their-database".into());
    fake.put::<Deployment>(json!({ "metadata": { "name": "their-database", "labels": { "app": "db" } } }));
    of_the_dead(shared, plan, dead).await;
    assert_eq!(fake.changes(), NOTHING);
}

#[tokio::test(start_paused = true)]
async fn what_a_user_may_not_even_read_he_has_not_made() {
    let fake = Fake::default();
    let source = AgentSource::Bytes(b"\x7fELF and so on".to_vec().into());
    let shared = Shared::over(Config::new().agent(source), fake.cluster(), None);
    let plan = orders(&fake);
    fake.refuse(|what| what.contains("configmaps").then_some(http::StatusCode::FORBIDDEN));
    let begun = Useless::Begun(Box::new((Interceptor::new(NAME.into()), plan)));
    begun.remove(&shared, Deadline::secs(5)).await.unwrap();
}
