//! Deployments: a ReplicaSet for each template they had, rolled from one to the next.

use serde_json::{Value, json};

use super::pods::{self, share};
use crate::kinds;
use crate::object::{
    condition, controlled_by, controller, hash, is_deleting, list, map, name, namespace, new_condition,
    number, text, uid,
};
use crate::store::{Deletion, Inner, Object};

const HASH: &str = "pod-template-hash";
const REVISION: &str = "deployment.kubernetes.io/revision";

pub(super) fn reconcile(store: &mut Inner) {
    let sets = kinds::of("replicasets");
    for deployment in store.list(kinds::of("deployments"), "") {
        if is_deleting(&deployment) {
            continue;
        }
        let mut own: Vec<Object> = store.list(sets, namespace(&deployment));
        own.retain(|set| controller(set) == Some(uid(&deployment)));
        let digest = hash(&deployment["spec"]["template"].to_string());
        let current =
            own.iter().find(|set| text(set, "/metadata/labels/pod-template-hash") == digest).cloned();
        let old: Vec<Object> = own
            .iter()
            .filter(|set| text(set, "/metadata/labels/pod-template-hash") != digest)
            .cloned()
            .collect();
        let current = match current {
            Some(current) => current,
            None => match make(store, &deployment, &digest, &own) {
                Some(made) => made,
                None => continue,
            },
        };
        roll(store, &deployment, &current, &old);
        forget(store, &deployment, &old);
        tell(store, &deployment, &current, &old);
    }
}

fn replicas(set: &Value) -> i64 {
    number(set, "/spec/replicas").unwrap_or(1)
}

fn make(store: &mut Inner, deployment: &Value, digest: &str, own: &[Object]) -> Option<Object> {
    let kind = kinds::of("deployments");
    let revision = |set: &Object| -> u32 {
        set["metadata"]["annotations"][REVISION].as_str().and_then(|text| text.parse().ok()).unwrap_or(0)
    };
    let next = own.iter().map(revision).max().unwrap_or(0) + 1;
    let mut template = deployment["spec"]["template"].clone();
    map(map_of(&mut template, "metadata"), "labels").insert(HASH.into(), digest.into());
    let mut selector = deployment["spec"]["selector"].clone();
    map(&mut selector, "matchLabels").insert(HASH.into(), digest.into());
    let set = json!({
        "metadata": {
            "name": format!("{}-{digest}", name(deployment)), "namespace": namespace(deployment),
            "labels": template["metadata"]["labels"], "annotations": { REVISION: next.to_string() },
            "ownerReferences": controlled_by(kind, deployment),
        },
        "spec": { "replicas": 0, "selector": selector, "template": template },
    });
    store.change(kind, namespace(deployment), name(deployment), |deployment| {
        map(map_of(deployment, "metadata"), "annotations").insert(REVISION.into(), next.to_string().into());
    });
    store.create(kinds::of("replicasets"), set).ok()
}

fn map_of<'a>(object: &'a mut Value, key: &str) -> &'a mut Value {
    let _ = map(object, key);
    &mut object[key]
}

/// Takes one step from the old ReplicaSets to the current one.
fn roll(store: &mut Inner, deployment: &Value, current: &Value, old: &[Object]) {
    let wanted = number(deployment, "/spec/replicas").unwrap_or(1);
    let olds: i64 = old.iter().map(|set| replicas(set)).sum();
    if text(deployment, "/spec/strategy/type") == "Recreate" {
        old.iter().filter(|set| replicas(set) > 0).for_each(|set| scale(store, set, 0));
        let living = old.iter().any(|set| !pods::of(store, set).is_empty());
        if !living {
            scale(store, current, wanted);
        }
        return;
    }
    let rolling = &deployment["spec"]["strategy"]["rollingUpdate"];
    let surge = share(&rolling["maxSurge"], wanted, true);
    let mut missing = share(&rolling["maxUnavailable"], wanted, false);
    if surge == 0 && missing == 0 {
        missing = 1;
    }
    let now = replicas(current);
    if now > wanted || olds == 0 {
        scale(store, current, wanted);
    } else {
        let room = (wanted + surge - now - olds).max(0);
        scale(store, current, wanted.min(now + room));
    }
    let ready = |set: &Value| number(set, "/status/availableReplicas").unwrap_or(0);
    let available =
        ready(current).min(now) + old.iter().map(|set| ready(set).min(replicas(set))).sum::<i64>();
    let mut spare = (available - (wanted - missing)).max(0);
    for set in old.iter().filter(|set| replicas(set) > 0) {
        // Those that are not ready are nobody's loss.
        let broken = (replicas(set) - ready(set)).max(0);
        let gone = (broken + spare).min(replicas(set));
        spare -= (gone - broken).max(0);
        if gone > 0 {
            scale(store, set, replicas(set) - gone);
        }
    }
}

fn scale(store: &mut Inner, set: &Value, to: i64) {
    if replicas(set) != to {
        store.change(kinds::of("replicasets"), namespace(set), name(set), |set| {
            set["spec"]["replicas"] = to.into()
        });
    }
}

/// Deletes empty ReplicaSets beyond the history that is wanted.
fn forget(store: &mut Inner, deployment: &Value, old: &[Object]) {
    let kept =
        usize::try_from(number(deployment, "/spec/revisionHistoryLimit").unwrap_or(10)).unwrap_or_default();
    let mut empty: Vec<&Object> = old
        .iter()
        .filter(|set| replicas(set) == 0 && number(set, "/status/replicas").unwrap_or(0) == 0)
        .collect();
    empty.sort_by_key(|set| std::cmp::Reverse(text(set, "/metadata/creationTimestamp").to_owned()));
    for set in empty.into_iter().skip(kept) {
        let _ = store.delete(kinds::of("replicasets"), namespace(set), name(set), &Deletion::only(uid(set)));
    }
}

fn tell(store: &mut Inner, deployment: &Value, current: &Value, old: &[Object]) {
    let kind = kinds::of("deployments");
    let sets = kinds::of("replicasets");
    let fresh = |set: &Value| store.get(sets, namespace(set), name(set));
    let sum = |key: &str| -> i64 {
        let all = old.iter().map(|set| fresh(set)).chain([fresh(current)]).flatten();
        all.map(|set| number(&set, &format!("/status/{key}")).unwrap_or(0)).sum()
    };
    let wanted = number(deployment, "/spec/replicas").unwrap_or(1);
    let (total, ready, available) = (sum("replicas"), sum("readyReplicas"), sum("availableReplicas"));
    let updated = fresh(current).and_then(|set| number(&set, "/status/replicas")).unwrap_or(0);
    let missing = share(&deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"], wanted, false);
    let is_available = available >= wanted - missing;
    let is_done = updated == wanted && total == wanted && available == wanted;
    let enough = if is_available { "MinimumReplicasAvailable" } else { "MinimumReplicasUnavailable" };
    let progress = if is_done { "NewReplicaSetAvailable" } else { "ReplicaSetUpdated" };
    let mut conditions = vec![
        new_condition(condition(deployment, "Available"), "Available", is_available, enough),
        new_condition(condition(deployment, "Progressing"), "Progressing", true, progress),
    ];
    for one in &mut conditions {
        one["lastUpdateTime"] = one["lastTransitionTime"].clone();
    }
    let others = list(deployment, "/status/conditions").iter();
    conditions
        .extend(others.filter(|one| !matches!(text(one, "/type"), "Available" | "Progressing")).cloned());
    let status = json!({
        "observedGeneration": number(deployment, "/metadata/generation"),
        "replicas": total, "updatedReplicas": updated, "readyReplicas": ready, "availableReplicas": available,
        "unavailableReplicas": (wanted.max(total) - available).max(0), "conditions": conditions,
    });
    // What is counted tells of the newest generation only if nothing changed meanwhile.
    store.set_status(kind, deployment, status);
}
