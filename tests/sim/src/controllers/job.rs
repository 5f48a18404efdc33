//! Jobs: pods until enough of them have succeeded, or too many failed.

use serde_json::{Value, json};

use super::pods;
use crate::kinds;
use crate::object::{
    age, has_condition, is_deleting, name, namespace, new_condition, now, number, text, uid,
};
use crate::store::{Deletion, Inner, Object};

/// After the first failed pod; doubled by each further one.
const BACK_OFF: f64 = 10.0;
const LONGEST_BACK_OFF: f64 = 360.0;

pub(super) fn reconcile(store: &mut Inner) {
    let kind = kinds::of("jobs");
    for job in store.list(kind, "") {
        if is_deleting(&job) {
            continue;
        }
        let is_over = has_condition(&job, "Complete") || has_condition(&job, "Failed");
        if is_over {
            expire(store, &job);
            continue;
        }
        let own = pods::of(store, &job);
        let over = |phase: &str| own.iter().filter(|pod| text(pod, "/status/phase") == phase).count() as i64;
        let (succeeded, failed) = (over("Succeeded"), over("Failed"));
        let mut active: Vec<Object> = own.iter().filter(|pod| pods::is_active(pod)).cloned().collect();
        let limit = |field: &str, usual: i64| number(&job, &format!("/spec/{field}")).unwrap_or(usual);
        let verdict = if succeeded >= limit("completions", 1) {
            Some(("Complete", "CompletionsReached", "SuccessCriteriaMet"))
        } else if failed > limit("backoffLimit", 6) {
            Some(("Failed", "BackoffLimitExceeded", "FailureTarget"))
        } else {
            None
        };
        let mut conditions = Vec::new();
        if let Some((condition, reason, before)) = verdict {
            active.drain(..).for_each(|pod| pods::end(store, &pod));
            conditions =
                vec![new_condition(None, before, true, reason), new_condition(None, condition, true, reason)];
        } else if job["spec"]["suspend"] != true {
            let wanted = limit("parallelism", 1).min(limit("completions", 1) - succeeded);
            while (active.len() as i64) < wanted && may_start(&own, failed) {
                match pods::create(store, kind, &job, &job["spec"]["template"], None) {
                    Ok(pod) => active.push(pod),
                    Err(_) => break,
                }
            }
        }
        let started = Some(text(&job, "/status/startTime")).filter(|time| !time.is_empty());
        let ready = active.iter().filter(|pod| pods::is_ready(pod)).count();
        let mut status = json!({
            "startTime": started.map_or_else(now, str::to_owned), "active": active.len(), "ready": ready,
            "succeeded": succeeded, "failed": failed, "uncountedTerminatedPods": {}, "conditions": conditions,
        });
        if verdict.is_some_and(|(condition, _, _)| condition == "Complete") {
            status["completionTime"] = now().into();
        }
        store.set_status(kind, &job, status);
    }
}

/// Whether enough time has passed since the last failure.
fn may_start(own: &[Object], failed: i64) -> bool {
    if failed == 0 {
        return true;
    }
    let doubled = BACK_OFF * 2_f64.powi(i32::try_from(failed - 1).unwrap_or(30).min(30));
    let ended = own.iter().filter(|pod| text(pod, "/status/phase") == "Failed").filter_map(|pod| ended(pod));
    ended.fold(f64::MAX, f64::min) >= doubled.min(LONGEST_BACK_OFF)
}

/// Seconds since the pod's containers ended.
fn ended(pod: &Value) -> Option<f64> {
    let statuses = crate::object::list(pod, "/status/containerStatuses");
    statuses.iter().filter_map(|one| age(text(one, "/state/terminated/finishedAt"))).reduce(f64::min)
}

/// Takes a finished Job away after its time.
fn expire(store: &mut Inner, job: &Value) {
    let Some(wait) = number(job, "/spec/ttlSecondsAfterFinished") else { return };
    let finished = ["Complete", "Failed"].iter().filter_map(|kind| crate::object::condition(job, kind));
    let since = finished.filter_map(|one| age(text(one, "/lastTransitionTime"))).reduce(f64::min);
    if since.is_some_and(|since| since >= wait as f64) {
        let how = Deletion::only(uid(job)).in_foreground();
        // Gone meanwhile is as good.
        let _ = store.delete(kinds::of("jobs"), namespace(job), name(job), &how);
    }
}
