//! What the downward API tells.

use serde_json::Value;

use crate::object::{list, text, texts};

/// The value at a field path of a pod; none for a field that the downward API does not know or that is not there.
pub(crate) fn field(pod: &Value, path: &str) -> Option<String> {
    for (prefix, pointer) in
        [("metadata.labels", "/metadata/labels"), ("metadata.annotations", "/metadata/annotations")]
    {
        if let Some(key) = path.strip_prefix(prefix) {
            let all = texts(pod, pointer);
            if key.is_empty() {
                let lines: Vec<String> = all.iter().map(|(key, value)| format!("{key}={value:?}")).collect();
                return Some(lines.join("\n"));
            }
            let key = key.strip_prefix("['")?.strip_suffix("']")?;
            return Some(all.get(key).cloned().unwrap_or_default());
        }
    }
    match path {
        "status.podIPs" => {
            let all = list(pod, "/status/podIPs").iter();
            Some(all.map(|one| text(one, "/ip")).collect::<Vec<_>>().join(","))
        }
        "status.hostIPs" => Some(text(pod, "/status/hostIP").to_owned()),
        "metadata.name"
        | "metadata.namespace"
        | "metadata.uid"
        | "spec.nodeName"
        | "spec.serviceAccountName"
        | "status.podIP"
        | "status.hostIP" => Some(text(pod, &format!("/{}", path.replace('.', "/"))).to_owned()),
        _ => None,
    }
}
