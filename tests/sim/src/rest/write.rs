//! Creating, replacing, patching, deleting, scaling.

use bytes::Bytes;
use http::{Request, header};
use serde_json::{Value, json};

use super::answer::{json_answer, read_json};
use super::{Answer, Asked};
use crate::cluster::Shared;
use crate::failure::Failure;
use crate::kinds::Kind;
use crate::object::{map, name, namespace, now, number, set_meta, text, uid};
use crate::patch::{self, Form};
use crate::select::Selector;
use crate::store::{Deletion, Inner, Object};

/// Namespace and name.
type Place<'a> = (&'a str, &'a str);

pub(super) fn form<B>(request: &Request<B>) -> Result<Form, Failure> {
    let media_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = media_type.unwrap_or_default();
    Form::of(media_type).ok_or_else(|| {
        Failure::new(
            415,
            "UnsupportedMediaType",
            format!("the body of the request was in an unknown format: {media_type}"),
        )
    })
}

pub(super) fn create(
    shared: &Shared,
    asked: &Asked,
    kind: &Kind,
    of: &str,
    body: Bytes,
) -> Result<Answer, Failure> {
    let mut object = read_json(&body)?;
    place(kind, &mut object, of, None)?;
    sign(&mut object, asked.manager(), "Update");
    let made = shared.store.with(|store| {
        if asked.is_dry_run() {
            let made = store.prepared(kind, object)?;
            if kind.plural == "services" {
                store.addresses.free(text(&made, "/spec/clusterIP"));
            }
            return Ok(made.into());
        }
        store.create(kind, object)
    })?;
    Ok(json_answer(201, &made))
}

pub(super) fn replace(
    shared: &Shared,
    asked: &Asked,
    kind: &Kind,
    (of, called): Place<'_>,
    body: Bytes,
    status: bool,
) -> Result<Answer, Failure> {
    let mut object = read_json(&body)?;
    place(kind, &mut object, of, Some(called))?;
    let stored = shared.store.with(|store| {
        let old = store.need(kind, of, called)?;
        keep_signatures(&mut object, &old);
        sign_change(&mut object, &old, asked.manager(), status);
        write(store, asked, kind, object, status)
    })?;
    Ok(json_answer(200, &stored))
}

pub(super) fn patch(
    shared: &Shared,
    asked: &Asked,
    kind: &Kind,
    (of, called): Place<'_>,
    (form, body): (Form, Bytes),
    status: bool,
) -> Result<Answer, Failure> {
    let patch = read_json(&body)?;
    let (created, stored) = shared.store.with(|store| {
        let old = store.get(kind, of, called);
        if form == Form::Apply {
            return apply(store, asked, kind, (of, called), old, patch, status);
        }
        let old = old.ok_or_else(|| Failure::not_found(kind, called))?;
        let mut new = patch::patched(form, &old, patch)?;
        if name(&new) != called || (kind.namespaced && namespace(&new) != of) {
            return Err(Failure::bad_request("the name or namespace of an object may not be changed"));
        }
        // The version that a patch names is one it demands; the old one says nothing.
        if text(&new, "/metadata/resourceVersion") == text(&old, "/metadata/resourceVersion") {
            map(&mut new, "metadata").remove("resourceVersion");
        }
        sign_change(&mut new, &old, asked.manager(), status);
        write(store, asked, kind, new, status).map(|stored| (false, stored))
    })?;
    Ok(json_answer(if created { 201 } else { 200 }, &stored))
}

fn apply(
    store: &mut Inner,
    asked: &Asked,
    kind: &Kind,
    (of, called): Place<'_>,
    old: Option<Object>,
    mut wanted: Value,
    status: bool,
) -> Result<(bool, Object), Failure> {
    place(kind, &mut wanted, of, Some(called))?;
    map(&mut wanted, "metadata").remove("managedFields");
    let manager = asked.param("fieldManager");
    if manager.is_empty() {
        return Err(Failure::bad_request("fieldManager is required for apply patch"));
    }
    let Some(old) = old else {
        let mut new = wanted.clone();
        sign(&mut new, manager, "Apply");
        if asked.is_dry_run() {
            return store.prepared(kind, new).map(|object| (true, object.into()));
        }
        let made = store.create(kind, new)?;
        store.applied.remember(uid(&made), manager, wanted);
        return Ok((true, made));
    };
    let mut new = patch::apply(&old, store.applied.last(uid(&old), manager), &wanted);
    if new["metadata"]["resourceVersion"] == old["metadata"]["resourceVersion"] {
        map(&mut new, "metadata").remove("resourceVersion");
    }
    if new != *old {
        let mut same = new.clone();
        set_meta(&mut same, "resourceVersion", old["metadata"]["resourceVersion"].clone());
        if same != *old {
            sign(&mut new, manager, "Apply");
        }
    }
    let stored = write(store, asked, kind, new, status)?;
    if !asked.is_dry_run() {
        store.applied.remember(uid(&old), manager, wanted);
    }
    Ok((false, stored))
}

fn write(
    store: &mut Inner,
    asked: &Asked,
    kind: &Kind,
    object: Value,
    status: bool,
) -> Result<Object, Failure> {
    if asked.is_dry_run() {
        return store.prepared_update(kind, object, status).map(Object::new);
    }
    store.update(kind, object, status)
}

/// Makes sure that the object is of this kind, place and name.
fn place(kind: &Kind, object: &mut Value, of: &str, called: Option<&str>) -> Result<(), Failure> {
    let said = text(object, "/kind");
    if !said.is_empty() && said != kind.kind {
        return Err(Failure::bad_request(format!("the object is a {said}, not a {}", kind.kind)));
    }
    if !object.is_object() {
        return Err(Failure::bad_request("the body is no object"));
    }
    let mut demand = |key: &str, wanted: &str| {
        let found = text(object, &format!("/metadata/{key}"));
        if !found.is_empty() && found != wanted {
            return Err(Failure::bad_request(format!(
                "the {key} of the provided object does not match the {key} sent on the request"
            )));
        }
        set_meta(object, key, wanted);
        Ok(())
    };
    if kind.namespaced {
        demand("namespace", of)?;
    }
    if let Some(called) = called {
        demand("name", called)?;
    }
    Ok(())
}

/// Who wrote an object last, and when. Which fields is not kept: the real `fieldsV1` is empty here.
fn sign(object: &mut Value, manager: &str, operation: &str) {
    let mut entries: Vec<Value> = crate::object::list(object, "/metadata/managedFields").to_vec();
    let is_same =
        |entry: &Value| text(entry, "/manager") == manager && text(entry, "/operation") == operation;
    entries.retain(|entry| !is_same(entry));
    let version = object["apiVersion"].clone();
    entries.push(json!({
        "manager": manager, "operation": operation, "apiVersion": version, "time": now(), "fieldsType": "FieldsV1",
        "fieldsV1": {},
    }));
    set_meta(object, "managedFields", entries);
}

fn sign_change(new: &mut Value, old: &Value, manager: &str, status: bool) {
    let mut same = new.clone();
    set_meta(&mut same, "resourceVersion", old["metadata"]["resourceVersion"].clone());
    if !status && same != *old {
        sign(new, manager, "Update");
    }
}

fn keep_signatures(object: &mut Value, old: &Value) {
    if let Some(entries) = old["metadata"].get("managedFields") {
        set_meta(object, "managedFields", entries.clone());
    }
}

pub(super) fn delete(
    shared: &Shared,
    asked: &Asked,
    kind: &Kind,
    (of, called): Place<'_>,
    body: &[u8],
) -> Result<Answer, Failure> {
    let how = options(asked, body)?;
    let (object, gone) = shared.store.with(|store| store.delete(kind, of, called, &how))?;
    if !gone {
        return Ok(json_answer(200, &object));
    }
    Ok(json_answer(
        200,
        &json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
            "details": { "name": called, "group": kind.group, "kind": kind.plural, "uid": uid(&object) },
        }),
    ))
}

pub(super) fn delete_all(
    shared: &Shared,
    asked: &Asked,
    kind: &Kind,
    of: &str,
    body: &[u8],
) -> Result<Answer, Failure> {
    let how = options(asked, body)?;
    let selector = Selector::parse(asked.param("labelSelector"), asked.param("fieldSelector"))?;
    let items: Vec<Value> = shared.store.with(|store| {
        let mut all = store.list(kind, of);
        all.retain(|object| selector.matches(object));
        all.iter()
            .filter_map(|object| store.delete(kind, namespace(object), name(object), &how).ok())
            .map(|(object, _)| (*object).clone())
            .collect()
    });
    let meta = json!({ "resourceVersion": shared.store.with(|store| store.version().to_string()) });
    let list = json!({
        "kind": format!("{}List", kind.kind), "apiVersion": kind.api_version(), "metadata": meta, "items": items,
    });
    Ok(json_answer(200, &list))
}

/// How to delete, from the body and, where that says nothing, the parameters.
pub(super) fn options(asked: &Asked, body: &[u8]) -> Result<Deletion, Failure> {
    let value = read_json(body)?;
    let mut how: Deletion = serde_json::from_value(value)
        .map_err(|error| Failure::bad_request(format!("delete options: {error}")))?;
    how.grace_period_seconds =
        how.grace_period_seconds.or_else(|| asked.param("gracePeriodSeconds").parse().ok());
    if how.propagation_policy.is_none() && !asked.param("propagationPolicy").is_empty() {
        how.propagation_policy = Some(asked.param("propagationPolicy").to_owned());
    }
    if asked.is_dry_run() {
        how.dry_run = vec!["All".into()];
    }
    Ok(how)
}

pub(super) fn scale_of(shared: &Shared, kind: &Kind, of: &str, called: &str) -> Result<Answer, Failure> {
    let object = shared.store.with(|store| store.need(kind, of, called))?;
    Ok(json_answer(200, &scale_object(&object)))
}

fn scale_object(object: &Value) -> Value {
    let selector: Vec<String> = crate::object::texts(object, "/spec/selector/matchLabels")
        .into_iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let meta = &object["metadata"];
    json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": meta["name"], "namespace": meta["namespace"], "uid": meta["uid"],
            "resourceVersion": meta["resourceVersion"], "creationTimestamp": meta["creationTimestamp"],
        },
        "spec": { "replicas": number(object, "/spec/replicas").unwrap_or(0) },
        "status": { "replicas": number(object, "/status/replicas").unwrap_or(0), "selector": selector.join(",") },
    })
}

pub(super) fn scale(
    shared: &Shared,
    kind: &Kind,
    (of, called): Place<'_>,
    form: Option<Form>,
    body: &[u8],
) -> Result<Answer, Failure> {
    let body = read_json(body)?;
    let object = shared.store.with(|store| {
        let old = store.need(kind, of, called)?;
        let scale = match form {
            Some(form) => patch::patched(form, &scale_object(&old), body)?,
            None => body,
        };
        let replicas = number(&scale, "/spec/replicas")
            .ok_or_else(|| Failure::bad_request("spec.replicas: Required value"))?;
        let mut new = (*old).clone();
        new["spec"]["replicas"] = replicas.into();
        store.update(kind, new, false)
    })?;
    Ok(json_answer(200, &scale_object(&object)))
}
