//! Deleting: preconditions, propagation, grace.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Inner, Object, What};
use crate::failure::Failure;
use crate::kinds::{self, Kind};
use crate::object::{at, finalizers, is_deleting, list, map, name, namespace, number, set_meta, text, uid};

/// Held until what it owns is gone.
pub(crate) const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// How an object is to be deleted: the API's `DeleteOptions`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Deletion {
    pub(crate) grace_period_seconds: Option<i64>,
    pub(crate) propagation_policy: Option<String>,
    preconditions: Preconditions,
    pub(crate) dry_run: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Preconditions {
    uid: Option<String>,
    resource_version: Option<String>,
}

impl Deletion {
    /// At once, without regard to what it owns.
    pub(crate) fn background() -> Self {
        Self::default()
    }

    /// Only the object of this identifier.
    pub(crate) fn only(uid: &str) -> Self {
        let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        Self { preconditions, ..Self::default() }
    }

    /// It goes only after what it owns.
    pub(crate) fn in_foreground(self) -> Self {
        Self { propagation_policy: Some("Foreground".into()), ..self }
    }

    pub(crate) fn with_grace(self, seconds: i64) -> Self {
        Self { grace_period_seconds: Some(seconds), ..self }
    }
}

impl Inner {
    /// Begins or completes the end of an object; gives it as it is then, and whether it is gone.
    pub(crate) fn delete(
        &mut self,
        kind: &Kind,
        of: &str,
        called: &str,
        how: &Deletion,
    ) -> Result<(Object, bool), Failure> {
        let old = self.need(kind, of, called)?;
        check(kind, &old, &how.preconditions)?;
        if !how.dry_run.is_empty() {
            return Ok((old, false));
        }
        let mut new = (*old).clone();
        let policy = how.propagation_policy.as_deref().unwrap_or("Background");
        let finalizer = match policy {
            "Foreground" => Some(FOREGROUND),
            "Orphan" => Some(ORPHAN),
            _ => None,
        };
        if policy == "Orphan" {
            self.orphan(uid(&old));
        } else if policy == "Foreground" && !finalizers(&old).iter().any(|one| one == FOREGROUND) {
            let mut all = finalizers(&old);
            all.extend(finalizer.map(str::to_owned));
            set_meta(&mut new, "finalizers", all);
        }
        if kind.plural == "namespaces" {
            new["status"]["phase"] = "Terminating".into();
        }
        let grace = self.grace(kind, &old, how.grace_period_seconds);
        let shorter = is_deleting(&old)
            && number(&old, "/metadata/deletionGracePeriodSeconds").is_some_and(|now| grace < now);
        if !is_deleting(&old) || shorter {
            let until = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(grace);
            set_meta(&mut new, "deletionTimestamp", at(until));
            set_meta(&mut new, "deletionGracePeriodSeconds", grace);
            if kind.status {
                let generation = number(&old, "/metadata/generation").unwrap_or(1) + 1;
                set_meta(&mut new, "generation", generation);
            }
        }
        if finalizers(&new).is_empty() && !self.is_held(kind, &new) {
            return Ok((self.remove(kind, new), true));
        }
        if new == *old {
            return Ok((old, false));
        }
        Ok((self.commit(kind, What::Modified, new), false))
    }

    /// Takes an object away for good.
    pub(crate) fn remove(&mut self, kind: &Kind, object: Value) -> Object {
        self.applied.forget(uid(&object));
        match kind.plural {
            "services" => self.addresses.free(text(&object, "/spec/clusterIP")),
            "pods" => self.addresses.free(text(&object, "/status/podIP")),
            _ => {}
        }
        self.commit(kind, What::Deleted, object)
    }

    /// Whether something besides finalizers holds a deleted object: a pod's processes, a namespace's content.
    pub(crate) fn is_held(&self, kind: &Kind, object: &Value) -> bool {
        match kind.plural {
            "namespaces" => self.everything().iter().any(|(_, one)| namespace(one) == name(object)),
            "pods" => number(object, "/metadata/deletionGracePeriodSeconds").is_some_and(|grace| grace > 0),
            _ => false,
        }
    }

    fn grace(&self, kind: &Kind, object: &Value, asked: Option<i64>) -> i64 {
        if kind.plural != "pods" {
            return 0;
        }
        let over = matches!(text(object, "/status/phase"), "Succeeded" | "Failed");
        if text(object, "/spec/nodeName").is_empty() || over {
            return 0;
        }
        let own = number(object, "/spec/terminationGracePeriodSeconds").unwrap_or(30);
        match asked {
            Some(asked) => asked.max(0),
            // A second at least: with none, the object would go before its processes.
            None => own.max(1),
        }
    }

    /// Takes the owner out of all that it owns.
    fn orphan(&mut self, owner: &str) {
        for (kind, object) in self.everything() {
            if crate::object::is_owned_by(&object, owner) {
                self.change(kind, namespace(&object), name(&object), |object| disown(object, owner));
            }
        }
    }

    /// What the kubelet does at the very end of a pod, if it still is the pod of this identifier.
    pub(crate) fn pod_is_over(&mut self, of: &str, called: &str, id: &str) {
        let pods = kinds::of("pods");
        let Some(pod) = self.get(pods, of, called).filter(|pod| uid(pod) == id) else { return };
        let mut last = (*pod).clone();
        set_meta(&mut last, "deletionGracePeriodSeconds", 0);
        if finalizers(&last).is_empty() {
            self.remove(pods, last);
        } else if last != *pod {
            self.commit(pods, What::Modified, last);
        }
    }
}

/// Takes one owner out of an object.
pub(crate) fn disown(object: &mut Value, owner: &str) {
    let others: Vec<Value> = list(object, "/metadata/ownerReferences")
        .iter()
        .filter(|one| text(one, "/uid") != owner)
        .cloned()
        .collect();
    if others.is_empty() {
        map(object, "metadata").remove("ownerReferences");
    } else {
        set_meta(object, "ownerReferences", json!(others));
    }
}

fn check(kind: &Kind, object: &Value, wanted: &Preconditions) -> Result<(), Failure> {
    let checks = [
        ("UID", wanted.uid.as_deref(), uid(object)),
        ("ResourceVersion", wanted.resource_version.as_deref(), text(object, "/metadata/resourceVersion")),
    ];
    for (what, wanted, found) in checks {
        if let Some(wanted) = wanted.filter(|wanted| *wanted != found) {
            let why = format!(
                "Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}"
            );
            return Err(Failure::conflict(kind, name(object), &why));
        }
    }
    Ok(())
}
