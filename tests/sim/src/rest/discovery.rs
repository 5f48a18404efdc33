//! What the server knows: versions, groups, resources.

use serde_json::{Value, json};

use super::answer::{json_answer, text_answer};
use super::{Answer, Asked, openapi};
use crate::cluster::Shared;
use crate::failure::Failure;
use crate::kinds;

/// What it says it is; `+sim` tells that it is not quite.
const VERSION: &str = "v1.34.0+sim";

pub(super) fn answer(shared: &Shared, asked: &Asked) -> Result<Answer, Failure> {
    let parts: Vec<&str> = asked.path().split('/').filter(|part| !part.is_empty()).collect();
    let value = match parts.as_slice() {
        [] => {
            json!({ "paths": ["/api", "/api/v1", "/apis", "/healthz", "/livez", "/openapi/v3", "/readyz", "/version"] })
        }
        ["healthz" | "livez" | "readyz", ..] => {
            return Ok(text_answer(200, "text/plain; charset=utf-8", "ok"));
        }
        ["version"] => json!({
            "major": "1", "minor": "34", "gitVersion": VERSION, "gitCommit": "", "gitTreeState": "clean",
            "buildDate": "2025-01-01T00:00:00Z", "goVersion": "none", "compiler": "none", "platform": "linux/amd64",
        }),
        ["api"] => json!({
            "kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{ "clientCIDR": "0.0.0.0/0", "serverAddress": shared.address.to_string() }],
        }),
        ["apis"] => json!({
            "kind": "APIGroupList", "apiVersion": "v1",
            "groups": kinds::groups().into_iter().map(|(name, version)| group(name, version)).collect::<Vec<_>>(),
        }),
        ["apis", name] => {
            let found = kinds::groups().into_iter().find(|(known, _)| known == name);
            let (name, version) = found.ok_or_else(Failure::no_such_path)?;
            let mut group = group(name, version);
            group["kind"] = "APIGroup".into();
            group["apiVersion"] = "v1".into();
            group
        }
        ["api", version] => kinds::resources("", version).ok_or_else(Failure::no_such_path)?,
        ["apis", group, version] => kinds::resources(group, version).ok_or_else(Failure::no_such_path)?,
        ["openapi", rest @ ..] => openapi::answer(rest).ok_or_else(Failure::no_such_path)?,
        _ => return Err(Failure::no_such_path()),
    };
    Ok(json_answer(200, &value))
}

fn group(name: &str, version: &str) -> Value {
    let one = json!({ "groupVersion": format!("{name}/{version}"), "version": version });
    json!({ "name": name, "versions": [one], "preferredVersion": one })
}
