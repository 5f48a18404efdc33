//! Getting and listing.

use serde_json::{Value, json};

use super::answer::json_answer;
use super::{Answer, Asked, table};
use crate::cluster::Shared;
use crate::failure::Failure;
use crate::kinds::Kind;
use crate::object::{name, namespace};
use crate::select::Selector;
use crate::store::Object;

pub(super) fn get(
    shared: &Shared,
    asked: &Asked,
    kind: &Kind,
    of: &str,
    called: &str,
) -> Result<Answer, Failure> {
    let found = shared.store.with(|store| store.need(kind, of, called))?;
    if asked.wants_table() {
        return Ok(json_answer(200, &table::table(kind, &[found], None)));
    }
    Ok(json_answer(200, &found))
}

pub(super) fn list(shared: &Shared, asked: &Asked, kind: &Kind, of: &str) -> Result<Answer, Failure> {
    let selector = Selector::parse(asked.param("labelSelector"), asked.param("fieldSelector"))?;
    let (mut found, version) = shared.store.with(|store| (store.list(kind, of), store.version()));
    found.retain(|object| selector.matches(object));
    let after = asked.param("continue");
    if !after.is_empty() {
        let last = after.split_once('/').unwrap_or(("", after));
        found.retain(|object| (namespace(object), name(object)) > last);
    }
    let limit: usize = asked.param("limit").parse().unwrap_or(0);
    let mut meta = json!({ "resourceVersion": version.to_string() });
    if limit > 0 && found.len() > limit {
        meta["remainingItemCount"] = (found.len() - limit).into();
        found.truncate(limit);
        meta["continue"] = found.last().map(|last| format!("{}/{}", namespace(last), name(last))).into();
    }
    if asked.wants_table() {
        return Ok(json_answer(200, &table::table(kind, &found, Some(meta))));
    }
    Ok(json_answer(200, &as_list(kind, meta, &found)))
}

/// The `List` object of a kind.
fn as_list(kind: &Kind, meta: Value, found: &[Object]) -> Value {
    // Without kind and version in each, as the API does.
    let items = found.iter().map(|object| {
        let mut item = (**object).clone();
        if let Some(map) = item.as_object_mut() {
            map.remove("kind");
            map.remove("apiVersion");
        }
        item
    });
    json!({
        "kind": format!("{}List", kind.kind), "apiVersion": kind.api_version(), "metadata": meta,
        "items": items.collect::<Vec<_>>(),
    })
}
