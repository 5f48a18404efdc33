use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;
use crate::cluster::lease::SessionNote;

const SPACE: &str = "shop";
const LEASE: &str = "kubetether-1a2b3c4d";
const KT: &str = "kt-0123456789";
const INTERCEPTOR: &str = "kt-orders-0123456789";

/// What there is in a namespace: one Service `orders`, its interceptor, the session's Lease.
struct World {
    jury: Jury,
    seen: Seen,
}

impl World {
    /// With the interceptor and its way back, made by a session that nothing is known of yet.
    fn new() -> Self {
        let mut way_back = made(Kind::Service, "kt-orders-0123456789-orig");
        let back = json!({ "spec": { "selector": { "app": "orders" }, "ports": [{ "port": 80, "targetPort": 8080 }] } });
        way_back.service = Some(Box::new(serde_json::from_value(back).unwrap()));
        let ours = vec![made(Kind::Deployment, INTERCEPTOR), way_back];
        Self { jury: Jury::default(), seen: Seen { ours, ..Seen::default() } }
    }

    fn service(mut self, selector: &str, note: Option<Value>) -> Self {
        let annotations = note.map(|note| json!({ names::EXCHANGE: note.to_string() }));
        let live = serde_json::from_value(json!({
            "metadata": { "name": "orders", "namespace": SPACE, "uid": "u1", "annotations": annotations },
            "spec": { "selector": { "app": selector }, "ports": [{ "port": 80, "targetPort": 8080 }] },
        }));
        let live: Service = live.unwrap();
        self.seen.returned.extend(Returned::of(&live, &self.seen.ours));
        self.seen.taken.extend(Taken::of(live, &self.seen.ours));
        if !self.seen.taken.is_empty() {
            self.seen.returned.clear();
        }
        self
    }

    async fn session(mut self, v: u32, lives: bool) -> Self {
        for look in 0..20 {
            let version = if lives { look.to_string() } else { "1".to_owned() };
            let note = SessionNote {
                v,
                who: "ana@laptop".into(),
                started: "then".into(),
                other: Default::default(),
            };
            let known =
                Known { version, note, name: LEASE.into(), ours: true, ..Known::of(&Default::default()) };
            self.jury.hear(SPACE, LEASE, Some(known), Instant::now());
            tokio::time::advance(Duration::from_secs(2)).await;
        }
        self
    }

    fn plan(self, all: bool) -> Told {
        let sweep = Sweep::plan(&self.jury, self.seen, all);
        let tell = sweep.tell.iter().flat_map(|returned| returned.leases.clone()).collect();
        let cleaned = sweep.told();
        let failed = cleaned.left.iter().filter(|left| left.error.is_some());
        Told {
            failed: failed.map(|left| left.why.clone()).collect(),
            stays: cleaned.left.iter().map(|left| left.object.clone()).collect(),
            done: cleaned
                .done
                .iter()
                .map(|done| match done {
                    Removal::Restored { object, .. } => format!("+{object}"),
                    Removal::Deleted { object, .. } => format!("-{object}"),
                })
                .collect(),
            tell,
        }
    }
}

/// What comes of it.
#[derive(Debug)]
struct Told {
    done: Vec<String>,
    stays: Vec<String>,
    failed: Vec<String>,
    tell: Vec<String>,
}

fn made(kind: Kind, name: &str) -> Ours {
    let meta = ObjectMeta {
        namespace: Some(SPACE.into()),
        name: Some(name.into()),
        labels: Some(names::labels(names::ROLE_INTERCEPTOR, INTERCEPTOR)),
        annotations: Some([(names::SESSION_LEASE.to_owned(), LEASE.to_owned())].into()),
        owner_references: Some(vec![
            serde_json::from_value(
                json!({ "apiVersion": "v1", "kind": "Service", "name": "orders", "uid": "u1" }),
            )
            .unwrap(),
        ]),
        ..ObjectMeta::default()
    };
    Ours::new(kind, &meta)
}

fn note(v: u32) -> Value {
    json!({
        "v": v,
        "original": { "selector": { "app": "orders" }, "targetPorts": { "80/TCP": 8080 } },
        "holders": [{ "lease": LEASE, "mode": "exchange", "ports": [80], "interceptor": INTERCEPTOR }],
    })
}

const OBJECTS: [&str; 2] = ["-deployments/kt-orders-0123456789", "-services/kt-orders-0123456789-orig"];

#[tokio::test(start_paused = true)]
async fn what_the_dead_left_goes_and_what_lives_stays() {
    let told = World::new().service(KT, Some(note(1))).session(1, false).await.plan(false);
    assert_eq!(told.done, ["+services/orders", OBJECTS[0], OBJECTS[1], "-leases/kubetether-1a2b3c4d"]);
    assert!(told.stays.is_empty(), "{told:?}");

    let told = World::new().service(KT, Some(note(1))).session(1, true).await.plan(false);
    assert!(told.done.is_empty() && told.failed.is_empty(), "{told:?}");
    assert_eq!(told.stays, ["leases/kubetether-1a2b3c4d", "services/orders"]);

    // All of it: but the Lease of one who lives stays with it.
    let told = World::new().service(KT, Some(note(1))).session(1, true).await.plan(true);
    assert_eq!(told.done, ["+services/orders", OBJECTS[0], OBJECTS[1]]);
}

#[tokio::test(start_paused = true)]
async fn an_interceptor_goes_when_its_service_leads_elsewhere_or_is_gone() {
    for world in [World::new(), World::new().service("orders", None)] {
        let told = world.session(1, false).await.plan(false);
        assert_eq!(told.done, [OBJECTS[0], OBJECTS[1], "-leases/kubetether-1a2b3c4d"]);
        assert!(told.stays.is_empty(), "{told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_spoilt_note_is_made_up_for_by_the_way_back() {
    for spoilt in [None, Some(json!("spoilt")), Some(json!({ "v": 1 }))] {
        let told = World::new().service(KT, spoilt).session(1, false).await.plan(false);
        assert_eq!(told.done[0], "+services/orders", "{told:?}");
        assert_eq!(told.done.len(), 4, "{told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_interceptor_stays_while_its_service_cannot_be_put_back() {
    for all in [false, true] {
        // Nothing tells what it was.
        let mut world = World::new();
        world.seen.ours.truncate(1);
        let told = world.service(KT, None).session(1, false).await.plan(all);
        assert!(told.done.is_empty(), "{told:?}");
        assert_eq!(told.stays, ["leases/kubetether-1a2b3c4d", &OBJECTS[0][1..], "services/orders"]);
        assert_eq!(told.failed.len(), 1, "{told:?}");

        // Who knows it is a later version.
        for (of_service, of_session) in [(2, 2), (2, 1)] {
            let world = World::new().service(KT, Some(note(of_service)));
            let told = world.session(of_session, false).await.plan(all);
            // It is dead, and nobody who is here can put its Service back.
            assert!(told.done.is_empty() && told.failed.len() == 1, "{told:?}");
            assert_eq!(told.stays.len(), 4, "{told:?}");
        }

        // It may not be looked at.
        let mut world = World::new();
        world.seen.services_unseen = true;
        let told = world.session(1, false).await.plan(all);
        assert!(told.done.is_empty(), "{told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_later_version_that_lives_is_left_in_peace() {
    for all in [false, true] {
        let told = World::new().service(KT, Some(note(2))).session(2, true).await.plan(all);
        assert!(told.done.is_empty() && told.failed.is_empty(), "{told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_put_it_back_for_a_moment_is_told_with_all() {
    let told = World::new().service("orders", None).session(1, true).await.plan(false);
    assert!(told.done.is_empty() && told.tell.is_empty(), "{told:?}");
    let told = World::new().service("orders", None).session(1, true).await.plan(true);
    assert_eq!(told.done, OBJECTS);
    assert_eq!(told.tell, [LEASE]);
}
