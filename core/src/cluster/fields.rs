//! The cluster's record of who holds which field of an object.
//!
//! Whoever writes a field is recorded as its manager, and stays so when the value is what it was before. A later
//! server-side apply by the object's owner would then be refused in our name.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use super::api::Object;
use super::{Cluster, api, names};
use crate::{Deadline, Result};

/// Takes us out of the record of an object that is as it was before; a second request, since the one that changes a
/// field is recorded. Does nothing where we are not in it. Fails with a conflict when the object is changed meanwhile.
pub(crate) async fn give_up<K: Object>(cluster: &Cluster, live: &K, deadline: Deadline) -> Result<()> {
    let meta = live.meta();
    let Some(operations) = without_us(meta) else { return Ok(()) };
    let name = meta.name.clone().unwrap_or_default();
    cluster.json_patch::<K>(&name, api::patch(operations)?, deadline).await.map(|_| ())
}

fn without_us(meta: &ObjectMeta) -> Option<Value> {
    let all = meta.managed_fields.as_deref().unwrap_or_default();
    let ours: Vec<usize> = (0..all.len()).filter(|at| is_ours(all[*at].manager.as_deref())).collect();
    if ours.is_empty() {
        return None;
    }
    let mut operations = vec![
        json!({ "op": "test", "path": "/metadata/uid", "value": meta.uid }),
        json!({ "op": "test", "path": "/metadata/resourceVersion", "value": meta.resource_version }),
    ];
    if ours.len() == all.len() {
        // An empty list would be taken for a client that does not know of the record: this is how it is cleared.
        operations.push(json!({ "op": "replace", "path": "/metadata/managedFields", "value": [{}] }));
    } else {
        // From the end: each removal moves those behind it.
        let removals = ours.iter().rev().map(|at| format!("/metadata/managedFields/{at}"));
        operations.extend(removals.map(|path| json!({ "op": "remove", "path": path })));
    }
    Some(operations.into())
}

fn is_ours(manager: Option<&str>) -> bool {
    manager == Some(names::KUBETETHER)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(managers: &[&str]) -> ObjectMeta {
        let fields: Vec<Value> = managers.iter().map(|manager| json!({ "manager": manager })).collect();
        let meta = json!({ "name": "orders", "uid": "u", "resourceVersion": "7", "managedFields": fields });
        serde_json::from_value(meta).unwrap()
    }

    #[test]
    fn only_our_entries_are_taken_out() {
        assert_eq!(without_us(&meta(&[])), None);
        assert_eq!(without_us(&meta(&["helm", "argocd-controller"])), None);
        let told = without_us(&meta(&["kubetether", "helm", "kubetether"])).unwrap();
        let told = told.as_array().unwrap();
        assert_eq!(told[..2].iter().map(|one| &one["op"]).collect::<Vec<_>>(), ["test", "test"]);
        assert_eq!(told[2]["path"], "/metadata/managedFields/2");
        assert_eq!(told[3]["path"], "/metadata/managedFields/0");
        let told = without_us(&meta(&["kubetether"])).unwrap();
        assert_eq!(told[2]["value"], json!([{}]));
    }
}
