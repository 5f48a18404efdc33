use serde_json::{Value, json};

use super::*;
use crate::object::{is_deleting, uid};

fn store() -> Store {
    let store = Store::new(Addresses::claim().unwrap());
    store.with(|store| {
        store.create(kinds::of("namespaces"), json!({ "metadata": { "name": "shop" } })).unwrap();
    });
    store
}

fn config_map(called: &str, owner: Option<&Value>) -> Value {
    let mut object = json!({ "metadata": { "name": called, "namespace": "shop" }, "data": { "a": "1" } });
    if let Some(owner) = owner {
        object["metadata"]["ownerReferences"] = json!([{ "kind": "ConfigMap", "name": name(owner), "uid": uid(owner), "blockOwnerDeletion": true }]);
    }
    object
}

fn settle(store: &mut Inner) {
    crate::controllers::settle(store);
}

#[test]
fn a_write_of_an_old_version_is_a_conflict_and_one_that_changes_nothing_is_none() {
    store().with(|store| {
        let kind = kinds::of("configmaps");
        let first = store.create(kind, config_map("a", None)).unwrap();
        let mut new = (*first).clone();
        new["data"]["a"] = "2".into();
        let second = store.update(kind, new.clone(), false).unwrap();
        assert_ne!(first["metadata"]["resourceVersion"], second["metadata"]["resourceVersion"]);
        assert_eq!(store.update(kind, new, false).unwrap_err().code, 409);
        let same = store.update(kind, (*second).clone(), false).unwrap();
        assert_eq!(same, second);
    });
}

#[test]
fn what_is_owned_goes_with_its_owner() {
    store().with(|store| {
        let kind = kinds::of("configmaps");
        let owner = store.create(kind, config_map("owner", None)).unwrap();
        store.create(kind, config_map("owned", Some(&owner))).unwrap();
        store.delete(kind, "shop", "owner", &Deletion::background()).unwrap();
        settle(store);
        assert!(store.get(kind, "shop", "owned").is_none());
    });
}

#[test]
fn an_owner_that_is_deleted_in_the_foreground_goes_last() {
    store().with(|store| {
        let kind = kinds::of("configmaps");
        let owner = store.create(kind, config_map("owner", None)).unwrap();
        let mut owned = config_map("owned", Some(&owner));
        owned["metadata"]["finalizers"] = json!(["test/stays"]);
        store.create(kind, owned).unwrap();
        let (owner, gone) =
            store.delete(kind, "shop", "owner", &Deletion::background().in_foreground()).unwrap();
        assert!(!gone && is_deleting(&owner));
        settle(store);
        assert!(is_deleting(&store.get(kind, "shop", "owned").unwrap()));
        assert!(store.get(kind, "shop", "owner").is_some());
        store.change(kind, "shop", "owned", |owned| owned["metadata"]["finalizers"] = json!([]));
        settle(store);
        assert!(store.list(kind, "shop").is_empty());
    });
}

#[test]
fn orphans_lose_their_owner_and_stay() {
    store().with(|store| {
        let kind = kinds::of("configmaps");
        let owner = store.create(kind, config_map("owner", None)).unwrap();
        store.create(kind, config_map("owned", Some(&owner))).unwrap();
        let how: Deletion = serde_json::from_value(json!({ "propagationPolicy": "Orphan" })).unwrap();
        store.delete(kind, "shop", "owner", &how).unwrap();
        settle(store);
        let left = store.get(kind, "shop", "owned").unwrap();
        assert!(left["metadata"].get("ownerReferences").is_none());
    });
}

#[test]
fn a_namespace_goes_after_its_content_and_takes_nothing_new() {
    store().with(|store| {
        let (namespaces, kind) = (kinds::of("namespaces"), kinds::of("configmaps"));
        let mut stays = config_map("stays", None);
        stays["metadata"]["finalizers"] = json!(["test/stays"]);
        store.create(kind, stays).unwrap();
        store.delete(namespaces, "", "shop", &Deletion::background()).unwrap();
        settle(store);
        assert!(store.get(namespaces, "", "shop").is_some());
        assert_eq!(store.create(kind, config_map("new", None)).unwrap_err().code, 403);
        store.change(kind, "shop", "stays", |one| one["metadata"]["finalizers"] = json!([]));
        settle(store);
        assert!(store.get(namespaces, "", "shop").is_none());
    });
}

#[test]
fn a_deletion_is_only_of_the_object_that_is_meant() {
    store().with(|store| {
        let kind = kinds::of("configmaps");
        store.create(kind, config_map("a", None)).unwrap();
        let refused = store.delete(kind, "shop", "a", &Deletion::only("another")).unwrap_err();
        assert_eq!(refused.code, 409);
        assert_eq!(store.delete(kind, "shop", "b", &Deletion::background()).unwrap_err().code, 404);
    });
}

#[test]
fn changes_are_told_in_order_until_they_are_forgotten() {
    store().with(|store| {
        let kind = kinds::of("configmaps");
        let before = store.version();
        store.create(kind, config_map("a", None)).unwrap();
        store.delete(kind, "shop", "a", &Deletion::background()).unwrap();
        let told: Vec<_> = store.since(before).unwrap().iter().map(|change| change.what).collect();
        assert_eq!(told, [What::Added, What::Deleted]);
        store.compact();
        assert_eq!(store.since(before).unwrap_err().code, 410);
        assert!(store.since(store.version()).unwrap().is_empty());
    });
}

#[test]
fn a_services_address_is_its_own_and_comes_back() {
    store().with(|store| {
        let kind = kinds::of("services");
        let service = |called: &str, address: &str| {
            json!({
                "metadata": { "name": called, "namespace": "shop" },
                "spec": { "clusterIP": address, "ports": [{ "port": 80 }] },
            })
        };
        let first = store.create(kind, service("a", "")).unwrap();
        let address = first["spec"]["clusterIP"].as_str().unwrap();
        assert_eq!(store.create(kind, service("b", address)).unwrap_err().code, 422);
        assert_eq!(store.create(kind, service("b", "10.0.0.1")).unwrap_err().code, 422);
        store.delete(kind, "shop", "a", &Deletion::background()).unwrap();
        store.create(kind, service("b", address)).unwrap();
    });
}
