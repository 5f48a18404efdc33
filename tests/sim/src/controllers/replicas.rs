//! ReplicaSets: so many pods of a template.

use serde_json::json;

use super::pods;
use crate::kinds;
use crate::object::{is_deleting, list, number, text};
use crate::store::{Inner, Object};

pub(super) fn reconcile(store: &mut Inner) {
    let kind = kinds::of("replicasets");
    for set in store.list(kind, "") {
        let mut own = pods::of(store, &set);
        own.retain(|pod| pods::is_active(pod));
        let wanted = usize::try_from(number(&set, "/spec/replicas").unwrap_or(1)).unwrap_or_default();
        if !is_deleting(&set) {
            while own.len() < wanted {
                match pods::create(store, kind, &set, &set["spec"]["template"], None) {
                    Ok(pod) => own.push(pod),
                    Err(_) => break,
                }
            }
            if own.len() > wanted {
                let leaving = rank(&own);
                for pod in leaving.iter().take(own.len() - wanted) {
                    pods::end(store, pod);
                }
                let left: Vec<Object> = leaving.into_iter().skip(own.len() - wanted).collect();
                own = left;
            }
        }
        let ready = own.iter().filter(|pod| pods::is_ready(pod)).count();
        let status = json!({
            "replicas": own.len(), "fullyLabeledReplicas": own.len(), "readyReplicas": ready, "availableReplicas": ready,
            "observedGeneration": number(&set, "/metadata/generation"),
            "conditions": list(&set, "/status/conditions"),
        });
        store.set_status(kind, &set, status);
    }
}

/// Those that go first: not scheduled, not ready, youngest.
fn rank(pods: &[Object]) -> Vec<Object> {
    let mut all = pods.to_vec();
    all.sort_by(|a, b| {
        let key = |pod: &Object| (!text(pod, "/spec/nodeName").is_empty(), pods::is_ready(pod));
        let age = |pod: &Object| text(pod, "/metadata/creationTimestamp").to_owned();
        key(a).cmp(&key(b)).then_with(|| age(b).cmp(&age(a)))
    });
    all
}
