//! What a pod of the user's lends to the agent beside it: image, node, and leave to be scheduled.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, LocalObjectReference, NodeAffinity, NodeSelectorRequirement, NodeSelectorTerm, Pod,
    PreferredSchedulingTerm, Toleration,
};

/// Seconds after which a pod leaves a node that went away; Kubernetes' own default is 300.
const NODE_LOSS_SECONDS: i64 = 10;

/// A running pod of the user's: the agent borrows its image, node and permissions to be scheduled.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) image: String,
    pub(crate) node: Option<String>,
    tolerations: Vec<Toleration>,
    pub(super) image_pull_secrets: Option<Vec<LocalObjectReference>>,
    injection: Injection,
    /// Set when a quota of the namespace refuses pods without one.
    pub(super) cpu_limit: bool,
}

/// Whether a service mesh puts its proxy into the user's pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Injection {
    Istio,
    Linkerd,
    None,
}

impl Host {
    /// No pod to borrow from, but an image of the user's choice.
    pub(crate) fn of_image(image: &str) -> Self {
        Self {
            image: image.to_owned(),
            node: None,
            tolerations: Vec::new(),
            image_pull_secrets: None,
            injection: Injection::None,
            cpu_limit: false,
        }
    }

    /// Gives the agent a limit of CPU.
    pub(crate) fn limit_cpu(self, cpu_limit: bool) -> Self {
        Self { cpu_limit, ..self }
    }

    /// `None` when the pod cannot lend anything: it does not run, or shares its node's network.
    pub(crate) fn of(pod: &Pod) -> Option<Self> {
        let spec = pod.spec.as_ref()?;
        let running = pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
        let leaving = pod.metadata.deletion_timestamp.is_some();
        if !running || leaving || spec.host_network == Some(true) {
            return None;
        }
        let container = spec.containers.iter().find(|container| !is_proxy(&container.name))?;
        let annotated =
            |key: &str| pod.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(key));
        let injection = if annotated("sidecar.istio.io/status") {
            Injection::Istio
        } else if annotated("linkerd.io/proxy-version") {
            Injection::Linkerd
        } else {
            Injection::None
        };
        Some(Self {
            image: container.image.clone()?,
            node: spec.node_name.clone(),
            tolerations: spec.tolerations.clone().unwrap_or_default(),
            image_pull_secrets: spec.image_pull_secrets.clone(),
            injection,
            cpu_limit: false,
        })
    }

    /// The node that has the image already; another will do when that one is full or gone.
    pub(super) fn affinity(&self) -> Option<Affinity> {
        self.node.as_deref().map(prefer_node)
    }

    /// Those of the pod, and a node that is lost is left sooner.
    pub(super) fn tolerations(&self) -> Vec<Toleration> {
        tolerations(&self.tolerations)
    }

    /// Annotations and labels that make a mesh treat the agent as it treats the user's pods.
    pub(super) fn injection(&self) -> (BTreeMap<String, String>, Vec<(String, String)>) {
        injection(self.injection)
    }
}

fn is_proxy(container: &str) -> bool {
    matches!(container, "istio-proxy" | "linkerd-proxy")
}

fn prefer_node(node: &str) -> Affinity {
    let term = PreferredSchedulingTerm {
        weight: 100,
        preference: NodeSelectorTerm {
            match_expressions: Some(vec![NodeSelectorRequirement {
                key: "kubernetes.io/hostname".into(),
                operator: "In".into(),
                values: Some(vec![node.into()]),
            }]),
            match_fields: None,
        },
    };
    let affinity = NodeAffinity {
        preferred_during_scheduling_ignored_during_execution: Some(vec![term]),
        required_during_scheduling_ignored_during_execution: None,
    };
    Affinity { node_affinity: Some(affinity), ..Default::default() }
}

fn tolerations(host: &[Toleration]) -> Vec<Toleration> {
    let lost = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];
    let kept = host.iter().filter(|one| !one.key.as_deref().is_some_and(|key| lost.contains(&key))).cloned();
    let ours = lost.iter().map(|key| Toleration {
        key: Some((*key).into()),
        operator: Some("Exists".into()),
        effect: Some("NoExecute".into()),
        toleration_seconds: Some(NODE_LOSS_SECONDS),
        ..Default::default()
    });
    kept.chain(ours).collect()
}

fn injection(injection: Injection) -> (BTreeMap<String, String>, Vec<(String, String)>) {
    let istio = if injection == Injection::Istio { "true" } else { "false" };
    let linkerd = if injection == Injection::Linkerd { "enabled" } else { "disabled" };
    let annotations = BTreeMap::from([
        ("sidecar.istio.io/inject".into(), istio.into()),
        ("linkerd.io/inject".into(), linkerd.into()),
    ]);
    (annotations, vec![("sidecar.istio.io/inject".into(), istio.into())])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(json: serde_json::Value) -> Pod {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_pod_of_the_hosts_network_lends_nothing() {
        let base = serde_json::json!({
            "spec": { "hostNetwork": true, "containers": [{ "name": "c", "image": "i" }] },
            "status": { "phase": "Running" },
        });
        assert!(Host::of(&pod(base.clone())).is_none());
        let mut ordinary = base;
        ordinary["spec"]["hostNetwork"] = false.into();
        assert_eq!(Host::of(&pod(ordinary)).unwrap().image, "i");
    }

    #[test]
    fn the_meshs_proxy_is_not_the_image_to_borrow() {
        let host = Host::of(&pod(serde_json::json!({
            "metadata": { "annotations": { "sidecar.istio.io/status": "{}" } },
            "spec": { "containers": [{ "name": "istio-proxy", "image": "p" }, { "name": "c", "image": "i" }] },
            "status": { "phase": "Running" },
        })))
        .unwrap();
        assert_eq!((host.image.as_str(), host.injection), ("i", Injection::Istio));
    }
}
