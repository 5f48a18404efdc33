//! Creating and updating.

use serde_json::{Value, json};

use super::{Inner, Object, What};
use crate::admission;
use crate::failure::Failure;
use crate::kinds::{self, Kind};
use crate::object::{
    finalizers, is_deleting, map, name, namespace, new_uid, now, set_meta, suffix, text, uid,
};
use crate::patch::{Form, patched};

/// Longest name that is generated.
const NAME: usize = 63;

impl Inner {
    /// Stores a new object, completed with defaults.
    pub(crate) fn create(&mut self, kind: &Kind, object: Value) -> Result<Object, Failure> {
        let object = self.prepared(kind, object)?;
        Ok(self.commit(kind, What::Added, object))
    }

    /// What would be stored: checked and completed, but not stored.
    pub(crate) fn prepared(&mut self, kind: &Kind, mut object: Value) -> Result<Value, Failure> {
        object["apiVersion"] = kind.api_version().into();
        object["kind"] = kind.kind.into();
        let prefix = text(&object, "/metadata/generateName").to_owned();
        if name(&object).is_empty() && !prefix.is_empty() {
            let prefix: String = prefix.chars().take(NAME - 5).collect();
            set_meta(&mut object, "name", format!("{prefix}{}", suffix()));
        }
        let (of, called) = (namespace(&object).to_owned(), name(&object).to_owned());
        if kind.namespaced {
            self.check_namespace(kind, &of, &called)?;
        } else if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("namespace");
        }
        if self.get(kind, &of, &called).is_some() {
            return Err(Failure::already_exists(kind, &called));
        }
        let metadata = map(&mut object, "metadata");
        for key in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"] {
            metadata.remove(key);
        }
        metadata.insert("uid".into(), new_uid().into());
        metadata.insert("creationTimestamp".into(), now().into());
        metadata.remove("resourceVersion");
        if kind.status {
            metadata.insert("generation".into(), 1.into());
        }
        admission::complete(self, kind, &mut object, None)?;
        Ok(object)
    }

    fn check_namespace(&self, kind: &Kind, of: &str, called: &str) -> Result<(), Failure> {
        let namespaces = kinds::of("namespaces");
        let found = self.need(namespaces, "", of)?;
        if is_deleting(&found) {
            let message = format!(
                "{} \"{called}\" is forbidden: unable to create new content in namespace {of} because it is being terminated",
                kind.plural
            );
            return Err(Failure::forbidden(message));
        }
        Ok(())
    }

    /// Stores an object anew. Unless `status` is meant, the status stays as it is; otherwise only it changes.
    /// `uid` and `resourceVersion`, where the new object has them, must be those of the old one.
    pub(crate) fn update(&mut self, kind: &Kind, object: Value, status: bool) -> Result<Object, Failure> {
        let new = self.prepared_update(kind, object, status)?;
        let (of, called) = (namespace(&new).to_owned(), name(&new).to_owned());
        let old = self.need(kind, &of, &called)?;
        if *old == new {
            return Ok(old);
        }
        // The last finalizer is gone: so is the object.
        if is_deleting(&new) && finalizers(&new).is_empty() && !self.is_held(kind, &new) {
            return Ok(self.remove(kind, new));
        }
        Ok(self.commit(kind, What::Modified, new))
    }

    /// What an update would store.
    pub(crate) fn prepared_update(
        &mut self,
        kind: &Kind,
        mut object: Value,
        status: bool,
    ) -> Result<Value, Failure> {
        let (of, called) = (namespace(&object).to_owned(), name(&object).to_owned());
        let old = self.need(kind, &of, &called)?;
        let (version, of_old) =
            (text(&object, "/metadata/resourceVersion"), text(&old, "/metadata/resourceVersion"));
        if !version.is_empty() && version != of_old {
            let why =
                "the object has been modified; please apply your changes to the latest version and try again";
            return Err(Failure::conflict(kind, &called, why));
        }
        if !uid(&object).is_empty() && uid(&object) != uid(&old) {
            let why = format!(
                "Precondition failed: UID in precondition: {}, UID in object meta: {}",
                uid(&object),
                uid(&old)
            );
            return Err(Failure::conflict(kind, &called, &why));
        }
        if status {
            let mut new = (*old).clone();
            match object.get_mut("status").map(Value::take) {
                Some(status) => new["status"] = status,
                None => drop(new.as_object_mut().and_then(|map| map.remove("status"))),
            }
            return Ok(new);
        }
        object["apiVersion"] = kind.api_version().into();
        object["kind"] = kind.kind.into();
        // What only the server sets.
        for key in [
            "uid",
            "creationTimestamp",
            "resourceVersion",
            "generation",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "generateName",
        ] {
            match old["metadata"].get(key) {
                Some(value) => set_meta(&mut object, key, value.clone()),
                None => drop(map(&mut object, "metadata").remove(key)),
            }
        }
        if kind.status {
            match old.get("status") {
                Some(status) => object["status"] = status.clone(),
                None => drop(object.as_object_mut().and_then(|map| map.remove("status"))),
            }
        }
        for key in ["labels", "annotations", "finalizers", "ownerReferences"] {
            let empty = object["metadata"].get(key).is_some_and(|value| {
                value.is_null()
                    || value.as_object().is_some_and(serde_json::Map::is_empty)
                    || value.as_array().is_some_and(Vec::is_empty)
            });
            if empty {
                map(&mut object, "metadata").remove(key);
            }
        }
        admission::complete(self, kind, &mut object, Some(&old))?;
        if kind.status && differs_beyond_metadata(&old, &object) {
            let generation = old["metadata"]["generation"].as_i64().unwrap_or(1) + 1;
            set_meta(&mut object, "generation", generation);
        }
        Ok(object)
    }

    /// Creates an object, or merges it into the one that is there.
    pub(crate) fn apply(&mut self, kind: &Kind, object: Value) -> Result<Object, Failure> {
        match self.get(kind, namespace(&object), name(&object)) {
            None => self.create(kind, object),
            Some(old) => {
                let new = patched(Form::Strategic, &old, object)?;
                self.update(kind, new, false)
            }
        }
    }

    /// Changes an object that a controller has just seen; nothing when it is gone.
    pub(crate) fn change(&mut self, kind: &Kind, of: &str, called: &str, change: impl FnOnce(&mut Value)) {
        let Some(old) = self.get(kind, of, called) else { return };
        let mut new = (*old).clone();
        change(&mut new);
        if new == *old {
            return;
        }
        if kind.status && differs_beyond_metadata(&old, &new) {
            let generation = old["metadata"]["generation"].as_i64().unwrap_or(1) + 1;
            set_meta(&mut new, "generation", generation);
        }
        if is_deleting(&new) && finalizers(&new).is_empty() && !self.is_held(kind, &new) {
            self.remove(kind, new);
        } else {
            self.commit(kind, What::Modified, new);
        }
    }

    /// Sets the whole status of an object, by its controller.
    pub(crate) fn set_status(&mut self, kind: &Kind, object: &Value, status: Value) {
        self.change(kind, namespace(object), name(object), |object| object["status"] = status);
    }
}

fn differs_beyond_metadata(old: &Value, new: &Value) -> bool {
    let rest = |object: &Value| {
        let mut rest = object.clone();
        if let Some(map) = rest.as_object_mut() {
            map.remove("metadata");
            map.remove("status");
        }
        rest
    };
    rest(old) != rest(new)
}

/// An event of the cluster's own about an object; one that is told again is counted.
pub(crate) fn tell(
    store: &mut Inner,
    kind: &Kind,
    about: &Value,
    warning: bool,
    reason: &str,
    message: &str,
) {
    let (of, called) = (namespace(about), name(about));
    let of = if of.is_empty() { "default" } else { of };
    let events = kinds::of("events");
    let id = format!("{called}.{}", crate::object::hash(&format!("{}{reason}{message}", uid(about))));
    if store.get(events, of, &id).is_some() {
        store.change(events, of, &id, |event| {
            event["count"] = (event["count"].as_i64().unwrap_or(1) + 1).into();
            event["lastTimestamp"] = now().into();
        });
        return;
    }
    let event = json!({
        "metadata": { "name": id, "namespace": of },
        "involvedObject": {
            "apiVersion": kind.api_version(), "kind": kind.kind, "name": called, "namespace": of, "uid": uid(about),
        },
        "reason": reason, "message": message, "type": if warning { "Warning" } else { "Normal" },
        "source": { "component": "kubetether-sim" }, "reportingComponent": "kubetether-sim", "reportingInstance": "",
        "firstTimestamp": now(), "lastTimestamp": now(), "eventTime": null, "count": 1,
    });
    // A namespace that ends takes no more of them.
    let _ = store.create(events, event);
}
