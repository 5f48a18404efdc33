//! Server-side apply, without its conflicts: what a manager applied before and leaves out now goes.

use std::collections::HashMap;

use serde_json::Value;

use super::strategic::{key_of, merge, merge_keys};

/// What each manager applied last, by the object's identifier. Real clusters keep it in `managedFields`.
#[derive(Debug, Default)]
pub(crate) struct Applied(HashMap<(String, String), Value>);

impl Applied {
    /// Remembers what a manager applied; gives what it applied before.
    pub(crate) fn remember(&mut self, uid: &str, manager: &str, applied: Value) -> Option<Value> {
        self.0.insert((uid.to_owned(), manager.to_owned()), applied)
    }

    /// What a manager applied last.
    pub(crate) fn last(&self, uid: &str, manager: &str) -> Option<&Value> {
        self.0.get(&(uid.to_owned(), manager.to_owned()))
    }

    /// The object is gone.
    pub(crate) fn forget(&mut self, uid: &str) {
        self.0.retain(|(of, _), _| of != uid);
    }
}

/// The object after a manager, whose last configuration is `before`, has applied `wanted`.
pub(crate) fn apply(object: &Value, before: Option<&Value>, wanted: &Value) -> Value {
    let mut new = object.clone();
    if let Some(before) = before {
        remove_missing(&mut new, before, wanted, "");
    }
    merge(&mut new, wanted.clone());
    new
}

/// Removes from `object` what `before` has and `wanted` has not.
fn remove_missing(object: &mut Value, before: &Value, wanted: &Value, field: &str) {
    if let (Some(map), Some(before), Some(wanted)) =
        (object.as_object_mut(), before.as_object(), wanted.as_object())
    {
        for (key, old) in before {
            match (wanted.get(key), map.get_mut(key)) {
                (None, _) => drop(map.remove(key)),
                (Some(new), Some(here)) => remove_missing(here, old, new, key),
                (Some(_), None) => {}
            }
        }
    } else if let (Some(list), Some(before), Some(wanted)) =
        (object.as_array_mut(), before.as_array(), wanted.as_array())
    {
        let keys = merge_keys(field);
        for old in before {
            let Some(key) = key_of(old, keys) else { continue };
            let same = |one: &Value| key_of(one, keys) == Some(key);
            match (wanted.iter().find(|one| same(one)), list.iter().position(same)) {
                (None, Some(at)) => drop(list.remove(at)),
                (Some(new), Some(at)) => remove_missing(&mut list[at], old, new, ""),
                (_, None) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_manager_leaves_out_goes_and_what_others_wrote_stays() {
        let object =
            json!({ "spec": { "a": 1, "b": 2, "theirs": 3, "ports": [{ "port": 80 }, { "port": 81 }] } });
        let before = json!({ "spec": { "a": 1, "b": 2, "ports": [{ "port": 80 }, { "port": 81 }] } });
        let wanted = json!({ "spec": { "a": 5, "ports": [{ "port": 81, "name": "x" }] } });
        let after = apply(&object, Some(&before), &wanted);
        assert_eq!(after, json!({ "spec": { "a": 5, "theirs": 3, "ports": [{ "port": 81, "name": "x" }] } }));
    }
}
