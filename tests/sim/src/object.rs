//! Reading and changing objects, which are kept as JSON.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::kinds::Kind;

/// The text at a JSON pointer; empty when there is none.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The number at a JSON pointer.
pub(crate) fn number(object: &Value, pointer: &str) -> Option<i64> {
    object.pointer(pointer).and_then(Value::as_i64)
}

/// Whether `true` stands at a JSON pointer.
pub(crate) fn is_set(object: &Value, pointer: &str) -> bool {
    object.pointer(pointer).and_then(Value::as_bool).unwrap_or_default()
}

/// The list at a JSON pointer; empty when there is none.
pub(crate) fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The texts of the map at a JSON pointer.
pub(crate) fn texts(object: &Value, pointer: &str) -> BTreeMap<String, String> {
    let map = object.pointer(pointer).and_then(Value::as_object);
    map.into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

pub(crate) fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

pub(crate) fn namespace(object: &Value) -> &str {
    text(object, "/metadata/namespace")
}

pub(crate) fn uid(object: &Value) -> &str {
    text(object, "/metadata/uid")
}

pub(crate) fn is_deleting(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some()
}

pub(crate) fn finalizers(object: &Value) -> Vec<String> {
    let all = list(object, "/metadata/finalizers");
    all.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Whether the object of this identifier is among the owners.
pub(crate) fn is_owned_by(object: &Value, owner: &str) -> bool {
    list(object, "/metadata/ownerReferences").iter().any(|one| text(one, "/uid") == owner)
}

/// The identifier of the controller that made the object.
pub(crate) fn controller(object: &Value) -> Option<&str> {
    let all = list(object, "/metadata/ownerReferences");
    all.iter().find(|one| is_set(one, "/controller")).map(|one| text(one, "/uid"))
}

/// The reference by which a controller owns what it makes.
pub(crate) fn controlled_by(kind: &Kind, owner: &Value) -> Value {
    json!([{
        "apiVersion": kind.api_version(), "kind": kind.kind, "name": name(owner), "uid": uid(owner),
        "controller": true, "blockOwnerDeletion": true,
    }])
}

/// The map under a key, made when it is not there; anything else under that key is replaced.
pub(crate) fn map<'a>(object: &'a mut Value, key: &str) -> &'a mut Map<String, Value> {
    if !object.is_object() {
        *object = json!({});
    }
    if !object[key].is_object() {
        object[key] = json!({});
    }
    object[key].as_object_mut().unwrap_or_else(|| unreachable!("it was just made"))
}

/// Sets a value below `metadata`.
pub(crate) fn set_meta(object: &mut Value, key: &str, value: impl Into<Value>) {
    map(object, "metadata").insert(key.to_owned(), value.into());
}

/// Gives a field a value where it has none.
pub(crate) fn default(object: &mut Value, key: &str, value: impl Into<Value>) {
    if object.get(key).is_none_or(Value::is_null)
        && let Some(map) = object.as_object_mut()
    {
        map.insert(key.to_owned(), value.into());
    }
}

/// The condition of this type in `status.conditions`.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    list(object, "/status/conditions").iter().find(|one| text(one, "/type") == kind)
}

/// Whether the condition of this type is `True`.
pub(crate) fn has_condition(object: &Value, kind: &str) -> bool {
    condition(object, kind).is_some_and(|one| text(one, "/status") == "True")
}

/// A condition; its time of transition is kept while its status stays.
pub(crate) fn new_condition(before: Option<&Value>, kind: &str, holds: bool, reason: &str) -> Value {
    let status = if holds { "True" } else { "False" };
    let since =
        before.filter(|one| text(one, "/status") == status).map(|one| text(one, "/lastTransitionTime"));
    let since = since.map_or_else(now, str::to_owned);
    let mut new = json!({ "type": kind, "status": status, "lastTransitionTime": since });
    if !reason.is_empty() {
        new["reason"] = reason.into();
    }
    new
}

/// The present, as objects tell it.
pub(crate) fn now() -> String {
    at(jiff::Timestamp::now())
}

/// A time, as objects tell it.
pub(crate) fn at(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Seconds since a time of an object; none for what is no time.
pub(crate) fn age(time: &str) -> Option<f64> {
    let then: jiff::Timestamp = time.parse().ok()?;
    Some((jiff::Timestamp::now().as_millisecond() - then.as_millisecond()) as f64 / 1000.0)
}

/// The first ten digits of a hash.
pub(crate) fn hash(of: &str) -> String {
    Sha256::digest(of.as_bytes()).iter().take(5).map(|byte| format!("{byte:02x}")).collect()
}

/// Five letters and digits, as Kubernetes appends them to generated names.
pub(crate) fn suffix() -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    (0..5).map(|_| char::from(LETTERS[rand::random_range(0..LETTERS.len())])).collect()
}

/// A random identifier in the form of a UUID.
pub(crate) fn new_uid() -> String {
    let digits = format!("{:032x}", rand::random::<u128>());
    format!("{}-{}-4{}-a{}-{}", &digits[..8], &digits[8..12], &digits[13..16], &digits[17..20], &digits[20..])
}
