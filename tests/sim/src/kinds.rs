//! The kinds of objects that are stored, as discovery tells them.

use serde_json::{Value, json};

/// A kind of object.
#[derive(Debug)]
pub(crate) struct Kind {
    /// Empty for the core group.
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    pub(crate) kind: &'static str,
    /// Its name in paths; no two kinds share one.
    pub(crate) plural: &'static str,
    pub(crate) short: &'static [&'static str],
    pub(crate) namespaced: bool,
    /// Has a `status` of its own, so that changes of the rest count as a generation.
    pub(crate) status: bool,
    pub(crate) scale: bool,
}

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        self.plural == other.plural
    }
}

impl Eq for Kind {}

impl Kind {
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    pub(crate) fn singular(&self) -> String {
        self.kind.to_lowercase()
    }
}

const NONE: &[&str] = &[];

const fn kind(
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    short: &'static [&'static str],
    status: bool,
) -> Kind {
    Kind { group, version: "v1", kind, plural, short, namespaced: true, status, scale: false }
}

const fn scaled(kind: &'static str, plural: &'static str, short: &'static [&'static str]) -> Kind {
    Kind { group: "apps", version: "v1", kind, plural, short, namespaced: true, status: true, scale: true }
}

const fn global(kind: &'static str, plural: &'static str, short: &'static [&'static str]) -> Kind {
    Kind { group: "", version: "v1", kind, plural, short, namespaced: false, status: true, scale: false }
}

static KINDS: [Kind; 27] = [
    global("Namespace", "namespaces", &["ns"]),
    global("Node", "nodes", &["no"]),
    kind("", "Service", "services", &["svc"], true),
    kind("", "Endpoints", "endpoints", &["ep"], false),
    kind("", "Pod", "pods", &["po"], true),
    kind("", "ConfigMap", "configmaps", &["cm"], false),
    kind("", "Secret", "secrets", NONE, false),
    kind("", "Event", "events", &["ev"], false),
    kind("", "ServiceAccount", "serviceaccounts", &["sa"], false),
    kind("", "ResourceQuota", "resourcequotas", &["quota"], true),
    kind("", "LimitRange", "limitranges", &["limits"], false),
    kind("", "PersistentVolumeClaim", "persistentvolumeclaims", &["pvc"], true),
    scaled("Deployment", "deployments", &["deploy"]),
    scaled("ReplicaSet", "replicasets", &["rs"]),
    scaled("StatefulSet", "statefulsets", &["sts"]),
    kind("apps", "DaemonSet", "daemonsets", &["ds"], true),
    kind("apps", "ControllerRevision", "controllerrevisions", NONE, false),
    kind("batch", "Job", "jobs", NONE, true),
    kind("batch", "CronJob", "cronjobs", &["cj"], true),
    kind("coordination.k8s.io", "Lease", "leases", NONE, false),
    kind("discovery.k8s.io", "EndpointSlice", "endpointslices", NONE, false),
    kind("networking.k8s.io", "NetworkPolicy", "networkpolicies", &["netpol"], false),
    kind("networking.k8s.io", "Ingress", "ingresses", &["ing"], true),
    kind("policy", "PodDisruptionBudget", "poddisruptionbudgets", &["pdb"], true),
    kind("rbac.authorization.k8s.io", "Role", "roles", NONE, false),
    kind("rbac.authorization.k8s.io", "RoleBinding", "rolebindings", NONE, false),
    Kind {
        version: "v2",
        ..kind("autoscaling", "HorizontalPodAutoscaler", "horizontalpodautoscalers", &["hpa"], true)
    },
];

/// All kinds.
pub(crate) fn all() -> &'static [Kind] {
    &KINDS
}

/// The kind of a path `group`, `version`, `plural`.
pub(crate) fn find(group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.group == group && kind.version == version && kind.plural == plural)
}

/// The kind of this plural, which has to be one of the table.
///
/// # Panics
/// When it is none.
pub(crate) fn of(plural: &str) -> &'static Kind {
    KINDS
        .iter()
        .find(|kind| kind.plural == plural)
        .unwrap_or_else(|| panic!("{plural} is no kind of the table"))
}

/// The kind that a manifest names.
pub(crate) fn named(api_version: &str, name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.kind == name && kind.api_version() == api_version)
}

/// The groups besides the core's, in the table's order.
pub(crate) fn groups() -> Vec<(&'static str, &'static str)> {
    let mut all: Vec<_> = KINDS.iter().map(|kind| (kind.group, kind.version)).collect();
    all.push(("authorization.k8s.io", "v1"));
    all.dedup();
    all.retain(|(group, _)| !group.is_empty());
    all.sort_unstable();
    all.dedup();
    all
}

/// The answer to `/api/v1` or `/apis/GROUP/VERSION`; `None` when there is no such group.
pub(crate) fn resources(group: &str, version: &str) -> Option<Value> {
    const VERBS: [&str; 8] =
        ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
    let mut list = Vec::new();
    for kind in KINDS.iter().filter(|kind| kind.group == group && kind.version == version) {
        list.push(json!({
            "name": kind.plural, "singularName": kind.singular(), "namespaced": kind.namespaced,
            "kind": kind.kind, "verbs": VERBS, "shortNames": kind.short,
            "categories": if matches!(kind.plural, "pods" | "services" | "deployments" | "replicasets" | "statefulsets" | "daemonsets" | "jobs") { vec!["all"] } else { vec![] },
        }));
        let mut sub = |name: &str, of: &str, verbs: &[&str]| {
            list.push(json!({
                "name": format!("{}/{name}", kind.plural), "singularName": "", "namespaced": kind.namespaced,
                "kind": of, "verbs": verbs,
            }));
        };
        if kind.status {
            sub("status", kind.kind, &["get", "patch", "update"]);
        }
        if kind.scale {
            sub("scale", "Scale", &["get", "patch", "update"]);
        }
        match kind.plural {
            "pods" => {
                sub("log", "Pod", &["get"]);
                sub("portforward", "PodPortForwardOptions", &["create", "get"]);
                sub("exec", "PodExecOptions", &["create", "get"]);
                sub("eviction", "Eviction", &["create"]);
            }
            "serviceaccounts" => sub("token", "TokenRequest", &["create"]),
            _ => {}
        }
    }
    if (group, version) == ("authorization.k8s.io", "v1") {
        for (name, kind) in [
            ("selfsubjectaccessreviews", "SelfSubjectAccessReview"),
            ("selfsubjectrulesreviews", "SelfSubjectRulesReview"),
        ] {
            list.push(json!({
                "name": name, "singularName": kind.to_lowercase(), "namespaced": false, "kind": kind,
                "verbs": ["create"],
            }));
        }
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    (!list.is_empty()).then(|| {
        json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": list })
    })
}
