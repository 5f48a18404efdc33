//! Every object of a namespace: the user's as they were, and none of ours.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use futures_util::stream::{self, StreamExt};
use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use kube::discovery::{Discovery, Scope, verbs};
use kube::{Client, ResourceExt};
use serde_json::Value;
use tokio::sync::OnceCell;

/// Written by the cluster at its own pace, whoever causes it.
const NOT_THE_USERS: [&str; 3] = ["Event", "Endpoints", "EndpointSlice"];

/// Lists under way at once.
const AT_ONCE: usize = 8;

/// What a cluster's types are is asked once in a process.
static TYPES: OnceCell<Vec<ApiResource>> = OnceCell::const_new();

/// All objects of a namespace at one moment, without what changes by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    objects: BTreeMap<String, Value>,
}

impl Snapshot {
    /// Takes one.
    ///
    /// # Panics
    /// When the cluster does not answer.
    pub async fn take(client: &Client, namespace: &str) -> Self {
        let all = list_all(client, namespace).await;
        let objects = all
            .into_iter()
            .filter(|(kind, _)| !NOT_THE_USERS.contains(&kind.as_str()))
            .map(|(kind, object)| (format!("{kind}/{}", object.name_any()), normalised(&object)));
        Self { objects: objects.collect() }
    }

    /// How many objects of each kind there are.
    #[must_use]
    pub fn kinds(&self) -> BTreeMap<String, usize> {
        let mut kinds = BTreeMap::new();
        for name in self.objects.keys() {
            let kind = name.split('/').next().unwrap_or_default();
            *kinds.entry(kind.to_owned()).or_default() += 1;
        }
        kinds
    }

    /// Whether `now` is the same.
    ///
    /// # Errors
    /// Each difference as a line.
    pub fn same(&self, now: &Self) -> Result<(), String> {
        match self.differences(now) {
            none if none.is_empty() => Ok(()),
            differences => Err(format!("the user's objects are not as they were:\n{differences}")),
        }
    }

    fn differences(&self, now: &Self) -> String {
        let mut text = String::new();
        let mut tell = |sign: char, object: &str, path: &str, value: &str| {
            let _ = writeln!(text, "  {sign} {object}{path} {value}");
        };
        for (name, before) in &self.objects {
            let Some(after) = now.objects.get(name) else {
                tell('-', name, "", "is gone");
                continue;
            };
            let (mut old, mut new) = (BTreeMap::new(), BTreeMap::new());
            flatten(before, String::new(), &mut old);
            flatten(after, String::new(), &mut new);
            for (path, value) in &old {
                if new.get(path) != Some(value) {
                    tell('-', name, path, value);
                }
            }
            for (path, value) in &new {
                if old.get(path) != Some(value) {
                    tell('+', name, path, value);
                }
            }
        }
        for name in now.objects.keys().filter(|name| !self.objects.contains_key(*name)) {
            tell('+', name, "", "is new");
        }
        text
    }
}

/// The objects of kubetether in a namespace, and those of others that bear a mark of it; empty when all is
/// clean.
///
/// # Panics
/// When the cluster does not answer.
pub async fn nothing_of_ours(client: &Client, namespace: &str) -> Result<(), String> {
    let all = list_all(client, namespace).await;
    let ours: Vec<String> = all
        .iter()
        .filter(|(kind, _)| kind != "Event")
        .filter_map(|(kind, object)| {
            mark_of_ours(object).map(|mark| format!("{kind}/{} ({mark})", object.name_any()))
        })
        .collect();
    if ours.is_empty() { Ok(()) } else { Err(format!("kubetether has left: {}", ours.join(", "))) }
}

/// Why an object counts as kubetether's or as touched by it.
fn mark_of_ours(object: &DynamicObject) -> Option<String> {
    let name = object.name_any();
    if name.starts_with("kt-") || name.starts_with("kubetether-") {
        return Some("its name".into());
    }
    if object.labels().get("app.kubernetes.io/managed-by").is_some_and(|by| by == "kubetether") {
        return Some("its managed-by label".into());
    }
    let keys = object.labels().keys().chain(object.annotations().keys()).chain(object.finalizers());
    let mut ours = keys.filter(|key| key.contains("kubetether.dev/"));
    if let Some(key) = ours.next() {
        return Some(key.clone());
    }
    let selector = object.data.pointer("/spec/selector").and_then(Value::as_object);
    let taken = selector
        .is_some_and(|map| map.values().filter_map(Value::as_str).any(|value| value.starts_with("kt-")));
    taken.then(|| "its selector".into())
}

async fn list_all(client: &Client, namespace: &str) -> Vec<(String, DynamicObject)> {
    let types = TYPES.get_or_init(|| discover(client)).await;
    let lists = stream::iter(types).map(|kind| async move {
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, kind);
        let list = api.list(&ListParams::default()).await;
        let list = list.unwrap_or_else(|error| panic!("{} of {namespace}: {error}", kind.plural));
        list.items.into_iter().map(|object| (kind.kind.clone(), object)).collect::<Vec<_>>()
    });
    lists.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await.concat()
}

async fn discover(client: &Client) -> Vec<ApiResource> {
    let found = Discovery::new(client.clone()).run().await;
    let found = found.unwrap_or_else(|error| panic!("the cluster's types: {error}"));
    let groups =
        found.groups().filter(|group| group.name() != "events.k8s.io" && group.name() != "metrics.k8s.io");
    groups
        .flat_map(|group| group.recommended_resources())
        .filter(|(_, about)| about.scope == Scope::Namespaced && about.supports_operation(verbs::LIST))
        .map(|(kind, _)| kind)
        .collect()
}

fn normalised(object: &DynamicObject) -> Value {
    let mut value = serde_json::to_value(object).unwrap_or_default();
    if let Some(map) = value.as_object_mut() {
        map.remove("status");
    }
    if let Some(meta) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        for key in ["resourceVersion", "managedFields", "generation"] {
            meta.remove(key);
        }
    }
    value
}

fn flatten(value: &Value, path: String, into: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                flatten(value, format!("{path}.{key}"), into);
            }
        }
        Value::Array(list) if !list.is_empty() => {
            for (index, value) in list.iter().enumerate() {
                flatten(value, format!("{path}[{index}]"), into);
            }
        }
        leaf @ (Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_)) => {
            into.insert(path, leaf.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn snapshot(objects: &[(&str, Value)]) -> Snapshot {
        Snapshot {
            objects: objects.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
        }
    }

    #[test]
    fn differences_name_object_path_and_values() {
        let before =
            snapshot(&[("Service/a", json!({"spec": {"selector": {"app": "a"}}})), ("Pod/p", json!({}))]);
        let after = snapshot(&[
            ("Service/a", json!({"spec": {"selector": {"app": "kt-1"}, "ports": [{"port": 80}]}})),
            ("Pod/q", json!({})),
        ]);
        let told = before.differences(&after);
        for line in [
            "- Pod/p is gone",
            "+ Pod/q is new",
            "- Service/a.spec.selector.app \"a\"",
            "+ Service/a.spec.selector.app \"kt-1\"",
            "+ Service/a.spec.ports[0].port 80",
        ] {
            assert!(told.contains(line), "{line} is not in\n{told}");
        }
        assert_eq!(before.differences(&before), "");
    }

    #[test]
    fn what_is_ours_is_known_by_name_label_annotation_and_selector() {
        let object = |value: Value| serde_json::from_value::<DynamicObject>(value).unwrap();
        let mark = |value| mark_of_ours(&object(value)).is_some();
        assert!(mark(json!({"metadata": {"name": "kt-orders-1"}})));
        assert!(mark(
            json!({"metadata": {"name": "x", "labels": {"app.kubernetes.io/managed-by": "kubetether"}}})
        ));
        assert!(mark(json!({"metadata": {"name": "x", "annotations": {"kubetether.dev/exchange": "{}"}}})));
        assert!(mark(json!({"metadata": {"name": "x"}, "spec": {"selector": {"app": "kt-0123456789"}}})));
        assert!(!mark(
            json!({"metadata": {"name": "x", "labels": {"app": "kubetether"}}, "spec": {"selector": {"app": "x"}}})
        ));
    }
}
