//! As little OpenAPI as `kubectl apply` and `create` ask for: that the server checks fields itself. No schemas.

use serde_json::{Map, Value, json};

use crate::kinds::{self, Kind};

/// The answer to `/openapi/...`; version 2 is not served.
pub(super) fn answer(rest: &[&str]) -> Option<Value> {
    match rest {
        ["v3"] => Some(index()),
        ["v3", "api", version] => document("", version),
        ["v3", "apis", group, version] => document(group, version),
        _ => None,
    }
}

fn index() -> Value {
    let mut paths = Map::new();
    let groups = kinds::groups().into_iter().map(|(group, version)| format!("apis/{group}/{version}"));
    for path in groups.chain(["api/v1".to_owned()]) {
        let url = format!("/openapi/v3/{path}");
        paths.insert(path, json!({ "serverRelativeURL": url }));
    }
    json!({ "paths": paths })
}

fn document(group: &str, version: &str) -> Option<Value> {
    let kinds: Vec<&Kind> =
        kinds::all().iter().filter(|kind| kind.group == group && kind.version == version).collect();
    let paths: Map<String, Value> = kinds.iter().map(|kind| (path(kind), operations(kind))).collect();
    let document = json!({
        "openapi": "3.0.0", "info": { "title": "kubetether-sim", "version": "v1" }, "paths": paths, "components": {},
    });
    (!kinds.is_empty()).then_some(document)
}

fn path(kind: &Kind) -> String {
    let prefix = if kind.group.is_empty() { "/api/" } else { "/apis/" };
    let namespace = if kind.namespaced { "namespaces/{namespace}/" } else { "" };
    format!("{prefix}{}/{namespace}{}/{{name}}", kind.api_version(), kind.plural)
}

fn operations(kind: &Kind) -> Value {
    let parameter = |name: &str| json!({ "name": name, "in": "query", "schema": { "type": "string", "uniqueItems": true } });
    let operation = json!({
        "x-kubernetes-group-version-kind": { "group": kind.group, "version": kind.version, "kind": kind.kind },
        "parameters": [parameter("dryRun"), parameter("fieldManager"), parameter("fieldValidation"), parameter("force")],
        "requestBody": { "content": {} },
        "responses": { "200": { "description": "OK" } },
    });
    json!({ "patch": operation, "put": operation })
}
