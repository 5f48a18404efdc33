//! What controllers know about pods.

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::kinds::{self, Kind};
use crate::object::{
    controlled_by, controller, has_condition, is_deleting, list, name, namespace, number, text, uid,
};
use crate::select::label_selector_matches;
use crate::store::{Deletion, Inner, Object};

/// The pods that this controller made.
pub(super) fn of(store: &Inner, owner: &Value) -> Vec<Object> {
    let all = store.list(kinds::of("pods"), namespace(owner));
    all.into_iter().filter(|pod| controller(pod) == Some(uid(owner))).collect()
}

/// Neither over nor leaving.
pub(super) fn is_active(pod: &Value) -> bool {
    !is_deleting(pod) && !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
}

pub(super) fn is_ready(pod: &Value) -> bool {
    has_condition(pod, "Ready")
}

/// Makes a pod of a template.
pub(super) fn create(
    store: &mut Inner,
    kind: &Kind,
    owner: &Value,
    template: &Value,
    called: Option<String>,
) -> Result<Object, Failure> {
    let mut pod = json!({ "metadata": template["metadata"], "spec": template["spec"] });
    if !pod["metadata"].is_object() {
        pod["metadata"] = json!({});
    }
    match called {
        Some(called) => pod["metadata"]["name"] = called.into(),
        None => pod["metadata"]["generateName"] = format!("{}-", name(owner)).into(),
    }
    pod["metadata"]["namespace"] = namespace(owner).into();
    pod["metadata"]["ownerReferences"] = controlled_by(kind, owner);
    let made = store.create(kinds::of("pods"), pod);
    if let Err(failure) = &made {
        let message = format!("Error creating: {}", failure.message());
        crate::store::tell(store, kind, owner, true, "FailedCreate", &message);
    }
    made
}

/// Ends a pod.
pub(super) fn end(store: &mut Inner, pod: &Value) {
    // Gone meanwhile is as good.
    let _ = store.delete(kinds::of("pods"), namespace(pod), name(pod), &Deletion::only(uid(pod)));
}

/// The status of PodDisruptionBudgets, by which evictions are judged.
pub(super) fn budgets(store: &mut Inner) {
    let kind = kinds::of("poddisruptionbudgets");
    for budget in store.list(kind, "") {
        let pods = store.list(kinds::of("pods"), namespace(&budget));
        let pods: Vec<_> = pods
            .iter()
            .filter(|pod| is_active(pod) && label_selector_matches(&budget["spec"]["selector"], pod))
            .collect();
        let healthy = pods.iter().filter(|pod| is_ready(pod)).count() as i64;
        let expected = pods.len() as i64;
        let wanted = match (budget["spec"].get("minAvailable"), budget["spec"].get("maxUnavailable")) {
            (Some(least), _) => share(least, expected, true),
            (None, Some(most)) => (expected - share(most, expected, true)).max(0),
            (None, None) => 0,
        };
        let status = json!({
            "currentHealthy": healthy, "desiredHealthy": wanted, "expectedPods": expected,
            "disruptionsAllowed": (healthy - wanted).max(0),
            "observedGeneration": number(&budget, "/metadata/generation"),
            "conditions": list(&budget, "/status/conditions"),
        });
        store.set_status(kind, &budget, status);
    }
}

/// A number, or a percentage of `whole`.
pub(super) fn share(value: &Value, whole: i64, up: bool) -> i64 {
    let percent = value.as_str().and_then(|text| text.trim_end_matches('%').parse::<i64>().ok());
    match (value.as_i64(), percent) {
        (Some(number), _) => number,
        (None, Some(percent)) if up => (whole * percent + 99) / 100,
        (None, Some(percent)) => whole * percent / 100,
        (None, None) => 0,
    }
}
