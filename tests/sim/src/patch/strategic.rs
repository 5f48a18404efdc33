//! Strategic merge: lists whose elements have keys are merged element by element.

use serde_json::{Map, Value};

/// What names an element of the list under a field; without an entry a list is replaced as a whole.
/// (The `patchMergeKey`s of k8s.io/api that the stored kinds use.)
pub(crate) fn merge_keys(field: &str) -> &'static [&'static str] {
    match field {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "env"
        | "volumes"
        | "imagePullSecrets"
        | "secrets" => &["name"],
        "volumeMounts" => &["mountPath"],
        "volumeDevices" => &["devicePath"],
        "hostAliases" | "podIPs" => &["ip"],
        "ownerReferences" => &["uid"],
        "conditions" => &["type"],
        "topologySpreadConstraints" => &["topologyKey"],
        // Of a Service by `port`, of a container by `containerPort`.
        "ports" => &["containerPort", "port"],
        _ => &[],
    }
}

/// Lists of plain values that are merged as sets.
fn is_set(field: &str) -> bool {
    field == "finalizers"
}

/// Changes `object` as the patch says.
pub(crate) fn merge(object: &mut Value, patch: Value) {
    let Value::Object(mut patch) = patch else {
        *object = patch;
        return;
    };
    if patch.remove("$patch").as_ref().and_then(Value::as_str) == Some("replace") {
        *object = Value::Object(patch);
        return;
    }
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    let Some(into) = object.as_object_mut() else { return };
    if let Some(retained) = patch.remove("$retainKeys") {
        let retained: Vec<&str> =
            retained.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        into.retain(|key, _| retained.contains(&key.as_str()));
    }
    for (key, value) in patch {
        if let Some(field) = key.strip_prefix("$deleteFromPrimitiveList/") {
            let gone = value.as_array().cloned().unwrap_or_default();
            if let Some(list) = into.get_mut(field).and_then(Value::as_array_mut) {
                list.retain(|one| !gone.contains(one));
            }
            continue;
        }
        // Only tells an order.
        if key.starts_with("$setElementOrder/") {
            continue;
        }
        if value.is_null() {
            into.remove(&key);
            continue;
        }
        let here = into.entry(key.clone()).or_insert(Value::Null);
        if let Value::Array(elements) = value {
            merge_list(&key, here, elements);
        } else {
            merge(here, value);
        }
    }
}

fn merge_list(field: &str, here: &mut Value, elements: Vec<Value>) {
    let replace = elements.iter().any(|one| one.get("$patch").and_then(Value::as_str) == Some("replace"));
    let keys = merge_keys(field);
    let keyed = elements.iter().all(|one| key_of(one, keys).is_some());
    if replace || !here.is_array() || !(is_set(field) || keyed && !keys.is_empty()) {
        let mut fresh = Vec::new();
        for element in elements.into_iter().filter(|one| one.get("$patch").is_none()) {
            let mut new = Value::Null;
            merge(&mut new, element);
            fresh.push(new);
        }
        *here = fresh.into();
        return;
    }
    let Some(list) = here.as_array_mut() else { return };
    for element in elements {
        if is_set(field) {
            if !list.contains(&element) {
                list.push(element);
            }
            continue;
        }
        let wanted = key_of(&element, keys).cloned();
        let found = list.iter().position(|one| key_of(one, keys) == wanted.as_ref());
        let delete = element.get("$patch").and_then(Value::as_str) == Some("delete");
        match (found, delete) {
            (Some(at), true) => drop(list.remove(at)),
            (Some(at), false) => merge(&mut list[at], element),
            (None, true) => {}
            (None, false) => {
                let mut new = Value::Null;
                merge(&mut new, element);
                list.push(new);
            }
        }
    }
}

/// What names this element.
pub(crate) fn key_of<'a>(element: &'a Value, keys: &[&str]) -> Option<&'a Value> {
    keys.iter().find_map(|key| element.get(*key))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn elements_are_merged_by_their_key() {
        let mut object = json!({ "spec": { "containers": [
            { "name": "a", "image": "1", "env": [{ "name": "X", "value": "1" }, { "name": "Y", "value": "1" }] },
            { "name": "b", "image": "1" },
        ] } });
        merge(
            &mut object,
            json!({ "spec": {
            "$setElementOrder/containers": [{ "name": "a" }, { "name": "c" }],
            "containers": [
                { "name": "a", "image": "2", "env": [{ "name": "X", "$patch": "delete" }, { "name": "Y", "value": "2" }] },
                { "name": "b", "$patch": "delete" },
                { "name": "c", "image": "3" },
            ],
        } }),
        );
        assert_eq!(
            object,
            json!({ "spec": { "containers": [
            { "name": "a", "image": "2", "env": [{ "name": "Y", "value": "2" }] },
            { "name": "c", "image": "3" },
        ] } })
        );
    }

    #[test]
    fn other_lists_are_replaced_and_null_removes() {
        let mut object = json!({ "args": [1, 2], "x": 1, "map": { "a": 1, "b": 2 }, "finalizers": ["f"] });
        merge(&mut object, json!({ "args": [3], "x": null, "map": { "a": null }, "finalizers": ["g"] }));
        assert_eq!(object, json!({ "args": [3], "map": { "b": 2 }, "finalizers": ["f", "g"] }));
        merge(
            &mut object,
            json!({ "map": { "$patch": "replace", "c": 1 }, "$deleteFromPrimitiveList/finalizers": ["f"] }),
        );
        assert_eq!(object, json!({ "args": [3], "map": { "c": 1 }, "finalizers": ["g"] }));
    }
}
