//! Which node a pod runs on, and what becomes of pods whose node is gone.

use serde_json::{Value, json};

use crate::kinds;
use crate::object::{
    age, condition, has_condition, is_deleting, list, name, namespace, new_condition, number, text, texts,
    uid,
};
use crate::store::{Deletion, Inner, Object};

/// The condition of a node that runs.
pub(crate) const NODE_READY: &str = "Ready";

/// Gives pods a node: the one they prefer, else the one with the fewest pods.
pub(super) fn schedule(store: &mut Inner) {
    let (pods, nodes) = (kinds::of("pods"), kinds::of("nodes"));
    let all = store.list(pods, "");
    let new: Vec<&Object> =
        all.iter().filter(|pod| text(pod, "/spec/nodeName").is_empty() && !is_deleting(pod)).collect();
    if new.is_empty() {
        return;
    }
    let fit: Vec<Object> =
        store.list(nodes, "").into_iter().filter(|node| has_condition(node, NODE_READY)).collect();
    let mut counts: Vec<(usize, &Object)> = fit
        .iter()
        .map(|node| (all.iter().filter(|pod| text(pod, "/spec/nodeName") == name(node)).count(), node))
        .collect();
    for pod in new {
        let preferred = preferred(pod);
        let selected = texts(pod, "/spec/nodeSelector");
        let fits = |node: &Value| {
            let labels = texts(node, "/metadata/labels");
            selected.iter().all(|(key, value)| labels.get(key) == Some(value))
        };
        let best = counts
            .iter_mut()
            .filter(|(_, node)| fits(node))
            .min_by_key(|(count, node)| (preferred != Some(name(node)), *count));
        let Some((count, node)) = best else {
            if condition(pod, "PodScheduled").is_none() {
                let message = format!("0/{} nodes are available: none fits the pod", fit.len());
                crate::store::tell(store, pods, pod, true, "FailedScheduling", &message);
                let mut status = pod["status"].clone();
                let mut unscheduled = new_condition(None, "PodScheduled", false, "Unschedulable");
                unscheduled["message"] = message.into();
                status["conditions"] = json!([unscheduled]);
                store.set_status(pods, pod, status);
            }
            continue;
        };
        *count += 1;
        let node = name(node).to_owned();
        store.change(pods, namespace(pod), name(pod), |pod| {
            pod["spec"]["nodeName"] = node.into();
            pod["status"]["conditions"] = json!([new_condition(None, "PodScheduled", true, "")]);
        });
    }
}

/// The node that an affinity by host name prefers.
fn preferred(pod: &Value) -> Option<&str> {
    let terms = list(pod, "/spec/affinity/nodeAffinity/preferredDuringSchedulingIgnoredDuringExecution");
    let expressions = terms.iter().flat_map(|term| list(term, "/preference/matchExpressions"));
    expressions
        .filter(|one| text(one, "/key") == "kubernetes.io/hostname" && text(one, "/operator") == "In")
        .find_map(|one| list(one, "/values").first()?.as_str())
}

/// Pods of a node that does not run are not ready; after the time they tolerate that they are deleted, and stay
/// until the node is back.
pub(super) fn leave_lost_nodes(store: &mut Inner) {
    let pods = kinds::of("pods");
    for node in store.list(kinds::of("nodes"), "") {
        let Some(ready) = condition(&node, NODE_READY).filter(|one| text(one, "/status") != "True") else {
            continue;
        };
        let lost = age(text(ready, "/lastTransitionTime")).unwrap_or_default();
        for pod in store.list(pods, "") {
            if text(&pod, "/spec/nodeName") != name(&node) {
                continue;
            }
            if has_condition(&pod, "Ready") {
                store.change(pods, namespace(&pod), name(&pod), |pod| {
                    for one in pod["status"]["conditions"].as_array_mut().into_iter().flatten() {
                        if text(one, "/type") == "Ready" {
                            *one = new_condition(None, "Ready", false, "NodeNotReady");
                        }
                    }
                });
            }
            let tolerated = list(&pod, "/spec/tolerations")
                .iter()
                .filter(|one| text(one, "/key") == "node.kubernetes.io/unreachable")
                .find_map(|one| number(one, "/tolerationSeconds"));
            if !is_deleting(&pod) && tolerated.is_some_and(|tolerated| lost >= tolerated as f64) {
                // Gone meanwhile is as good.
                let _ = store.delete(pods, namespace(&pod), name(&pod), &Deletion::only(uid(&pod)));
            }
        }
    }
}
