//! Takes away what nobody owns any more, and completes deletions that wait for it.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use crate::kinds::{self, Kind};
use crate::object::{finalizers, is_deleting, is_set, list, map, name, namespace, set_meta, text, uid};
use crate::store::{Deletion, Inner, Object};

/// Held until what it owns is gone.
const FOREGROUND: &str = "foregroundDeletion";

/// One round; repeated by the caller as long as it changes something.
pub(crate) fn collect(store: &mut Inner) {
    let all = store.everything();
    let living: HashSet<&str> = all.iter().map(|(_, object)| uid(object)).collect();
    let waiting: BTreeMap<&str, bool> = all
        .iter()
        .filter(|(_, object)| is_deleting(object) && finalizers(object).iter().any(|one| one == FOREGROUND))
        .map(|(_, object)| (uid(object), false))
        .collect();
    let mut blocked = waiting.clone();
    for (kind, object) in &all {
        let owners = list(object, "/metadata/ownerReferences");
        if owners.is_empty() {
            continue;
        }
        let alive: Vec<&Value> = owners.iter().filter(|one| living.contains(text(one, "/uid"))).collect();
        let solid = alive.iter().any(|one| !waiting.contains_key(text(one, "/uid")));
        let foreground = alive.iter().any(|one| waiting.contains_key(text(one, "/uid")));
        if !solid {
            if !is_deleting(object) {
                end(store, kind, object, foreground && has_dependents(&all, object));
            }
            for one in alive.iter().filter(|one| is_set(one, "/blockOwnerDeletion")) {
                if let Some(is_blocked) = blocked.get_mut(text(one, "/uid")) {
                    *is_blocked = true;
                }
            }
        } else if alive.len() < owners.len() {
            let alive: Vec<Value> = alive.into_iter().cloned().collect();
            store.change(kind, namespace(object), name(object), |object| {
                set_meta(object, "ownerReferences", alive)
            });
        }
    }
    for (kind, object) in &all {
        if blocked.get(uid(object)) == Some(&false) {
            store.change(kind, namespace(object), name(object), |object| {
                let others: Vec<String> =
                    finalizers(object).into_iter().filter(|one| one != FOREGROUND).collect();
                if others.is_empty() {
                    map(object, "metadata").remove("finalizers");
                } else {
                    set_meta(object, "finalizers", others);
                }
            });
        }
    }
    namespaces(store);
}

fn has_dependents(all: &[(&'static Kind, Object)], owner: &Value) -> bool {
    all.iter().any(|(_, object)| crate::object::is_owned_by(object, uid(owner)))
}

fn end(store: &mut Inner, kind: &Kind, object: &Value, foreground: bool) {
    let how = Deletion::only(uid(object));
    let how = if foreground { how.in_foreground() } else { how };
    // Gone meanwhile is as good.
    let _ = store.delete(kind, namespace(object), name(object), &how);
}

/// Empties namespaces that are being deleted, and takes the empty ones away.
fn namespaces(store: &mut Inner) {
    let of_namespaces = kinds::of("namespaces");
    for one in store.list(of_namespaces, "") {
        if !is_deleting(&one) {
            continue;
        }
        for (kind, object) in store.everything() {
            if kind.namespaced && namespace(&object) == name(&one) && !is_deleting(&object) {
                let _ = store.delete(kind, name(&one), name(&object), &Deletion::background());
            }
        }
        if !store.is_held(of_namespaces, &one) && finalizers(&one).is_empty() {
            store.remove(of_namespaces, (*one).clone());
        }
    }
}
