//! StatefulSets and DaemonSets, as far as they can be targets: pods with fixed names, a pod for each node.

use serde_json::{Value, json};

use super::pods;
use crate::kinds::{self, Kind};
use crate::object::{hash, is_deleting, map, name, number, text};
use crate::store::{Inner, Object};

const REVISION: &str = "controller-revision-hash";

pub(super) fn reconcile(store: &mut Inner) {
    let kind = kinds::of("statefulsets");
    for set in store.list(kind, "") {
        let own = pods::of(store, &set);
        let wanted = number(&set, "/spec/replicas").unwrap_or(1);
        if !is_deleting(&set) {
            let ordered = text(&set, "/spec/podManagementPolicy") != "Parallel";
            step(store, kind, &set, &own, wanted, ordered);
        }
        let revision = hash(&set["spec"]["template"].to_string());
        let count = |right: &dyn Fn(&Object) -> bool| own.iter().filter(|pod| right(pod)).count();
        let ready = count(&|pod| pods::is_active(pod) && pods::is_ready(pod));
        let updated = count(&|pod| pods::is_active(pod) && revision_of(pod) == revision);
        let full = format!("{}-{revision}", name(&set));
        store.set_status(kind, &set, json!({
            "replicas": count(&|pod| pods::is_active(pod)), "readyReplicas": ready, "availableReplicas": ready,
            "currentReplicas": updated, "updatedReplicas": updated, "currentRevision": full, "updateRevision": full,
            "observedGeneration": number(&set, "/metadata/generation"), "collisionCount": 0,
        }));
    }
}

fn revision_of(pod: &Value) -> &str {
    pod["metadata"]["labels"][REVISION].as_str().unwrap_or_default()
}

/// Makes or ends pods: one after another when `ordered`.
fn step(store: &mut Inner, kind: &Kind, set: &Value, own: &[Object], wanted: i64, ordered: bool) {
    let revision = hash(&set["spec"]["template"].to_string());
    for number in 0..wanted {
        let called = format!("{}-{number}", name(set));
        match own.iter().find(|pod| name(pod) == called) {
            // One that is over is made anew under its name.
            Some(pod) if !is_deleting(pod) && !pods::is_active(pod) => {
                pods::end(store, pod);
                return;
            }
            Some(pod) if !ordered || pods::is_ready(pod) && pods::is_active(pod) => {}
            Some(_) => return,
            None => {
                let mut template = set["spec"]["template"].clone();
                let labels = labels_of(&mut template);
                labels.insert(REVISION.into(), revision.clone().into());
                labels.insert("statefulset.kubernetes.io/pod-name".into(), called.clone().into());
                labels.insert("apps.kubernetes.io/pod-index".into(), number.to_string().into());
                template["spec"]["hostname"] = called.clone().into();
                template["spec"]["subdomain"] = set["spec"]["serviceName"].clone();
                if pods::create(store, kind, set, &template, Some(called)).is_err() || ordered {
                    return;
                }
            }
        }
    }
    let index = |pod: &Object| -> i64 {
        name(pod).rsplit('-').next().and_then(|number| number.parse().ok()).unwrap_or(0)
    };
    let mut all = own.to_vec();
    all.sort_by_key(|pod| std::cmp::Reverse(index(pod)));
    if all.iter().any(|pod| is_deleting(pod)) {
        return;
    }
    let surplus = all.iter().find(|pod| index(pod) >= wanted);
    let outdated = || all.iter().find(|pod| revision_of(pod) != revision);
    if let Some(pod) = surplus.or_else(outdated) {
        pods::end(store, pod);
    }
}

fn labels_of(template: &mut Value) -> &mut serde_json::Map<String, Value> {
    let _ = map(template, "metadata");
    map(&mut template["metadata"], "labels")
}

pub(super) fn reconcile_daemons(store: &mut Inner) {
    let kind = kinds::of("daemonsets");
    for set in store.list(kind, "") {
        let own = pods::of(store, &set);
        let nodes: Vec<String> =
            store.list(kinds::of("nodes"), "").iter().map(|node| name(node).to_owned()).collect();
        let revision = hash(&set["spec"]["template"].to_string());
        if !is_deleting(&set) {
            for node in &nodes {
                let here = own.iter().find(|pod| text(pod, "/spec/nodeName") == node);
                match here {
                    Some(pod)
                        if !is_deleting(pod) && (revision_of(pod) != revision || !pods::is_active(pod)) =>
                    {
                        pods::end(store, pod);
                        break;
                    }
                    Some(_) => {}
                    None => {
                        let mut template = set["spec"]["template"].clone();
                        labels_of(&mut template).insert(REVISION.into(), revision.clone().into());
                        template["spec"]["nodeName"] = node.clone().into();
                        // Told by an event.
                        let _ = pods::create(store, kind, &set, &template, None);
                    }
                }
            }
        }
        let ready = own.iter().filter(|pod| pods::is_active(pod) && pods::is_ready(pod)).count();
        store.set_status(kind, &set, json!({
            "desiredNumberScheduled": nodes.len(), "currentNumberScheduled": own.len(), "numberMisscheduled": 0,
            "numberReady": ready, "numberAvailable": ready, "updatedNumberScheduled": own.len(),
            "observedGeneration": number(&set, "/metadata/generation"),
        }));
    }
}
