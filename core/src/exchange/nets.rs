//! What the user's rights allow beside the interceptor itself, and what is made in the cluster for it.
//!
//! Nothing of it is worth failing an exchange: what is refused is not had, and the handle says so.

use k8s_openapi::api::core::v1::{PodTemplateSpec, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, PropagationPolicy};
use serde_json::json;

use super::fallback;
use super::plan::Plan;
use crate::cluster::agent_file::Restorer;
use crate::cluster::api::{self, Object};
use crate::cluster::{Cluster, agent_config_map, agent_pod, gone, names};
use crate::session::Shared;
use crate::{Deadline, ErrorCode, Result};

/// The nets of one interceptor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Nets {
    /// The nodes can be told to fall back to the original pods.
    pub(super) slice: bool,
    /// The interceptor may put its Service back by itself.
    pub(super) restore: bool,
    /// That can take the slices out of the way.
    pub(super) clears: bool,
    /// What that takes may have been made, whatever became of it.
    pub(super) begun: bool,
    /// Something other than the nodes leads callers to the Service, and does not fall back as they do.
    pub(super) routed: bool,
}

impl Nets {
    /// Those of an interceptor that somebody else made: whatever there may be.
    pub(super) const UNKNOWN: Self =
        Self { slice: true, restore: true, clears: false, begun: true, routed: false };
    /// While it is found out what can be had.
    pub(super) const BEGUN: Self =
        Self { slice: false, restore: false, clears: false, begun: true, routed: false };

    /// Finds out what can be had, and makes what the pod needs before it is made.
    pub(super) async fn spread(shared: &Shared, plan: &Plan, base: &ObjectMeta, deadline: Deadline) -> Self {
        let cluster = &shared.cluster;
        let (slice, given, routed) = tokio::join!(
            fallback::is_permitted(cluster, &plan.service, base.clone(), deadline),
            let_restore(shared, plan, base, deadline),
            is_routed(cluster, &plan.service, deadline),
        );
        Self { slice, routed, ..given }
    }

    /// Lets the pod do what it may.
    pub(super) fn equip(self, shared: &Shared, plan: &Plan, name: &str, template: &mut PodTemplateSpec) {
        if !self.restore {
            return;
        }
        let Some(restorer) = shared.restorer() else { return };
        let mut variables = vec![
            ("KUBETETHER_NAMESPACE", shared.cluster.namespace().to_owned()),
            ("KUBETETHER_SERVICE", plan.service.clone()),
            ("KUBETETHER_SERVICE_UID", plan.uid.clone()),
            ("KUBETETHER_LEASE", names::lease(&shared.id)),
            ("KUBETETHER_DEPLOYMENT", name.to_owned()),
        ];
        if self.clears {
            variables.push(("KUBETETHER_SLICES", names::fallback_slices(name).join(",")));
        }
        let config_map = agent_config_map::name(restorer.piece());
        agent_pod::with_restorer(template, &config_map, name, &variables);
    }

    /// Hands what was made over to the interceptor, so that it goes with it.
    pub(super) async fn hand_over(
        self,
        shared: &Shared,
        name: &str,
        owner: &OwnerReference,
        deadline: Deadline,
    ) -> Result<()> {
        let cluster = &shared.cluster;
        let back = names::pass_through(name);
        let back = give::<Service>(cluster, &back, owner, deadline);
        let rights = async {
            if !self.restore {
                return Ok(());
            }
            let restorer = shared.restorer().map(Restorer::piece);
            tokio::try_join!(
                give::<Role>(cluster, name, owner, deadline),
                give::<RoleBinding>(cluster, name, owner, deadline),
                give::<ServiceAccount>(cluster, name, owner, deadline),
                agent_config_map::own(cluster, restorer, owner.clone(), deadline),
            )
            .map(|_| ())
        };
        tokio::try_join!(back, rights).map(|_| ())
    }

    /// Takes away what the interceptor's own deletion has left.
    pub(super) async fn remove(
        self,
        shared: &Shared,
        name: &str,
        owner: &str,
        deadline: Deadline,
    ) -> Result<()> {
        let cluster = &shared.cluster;
        let slices = async {
            if !self.slice {
                return Ok(());
            }
            pass_refusal(fallback::delete_all(cluster, name, deadline)).await
        };
        let rights = async {
            if !self.begun {
                return Ok(());
            }
            // First what gives the right.
            let binding = take::<RoleBinding>(cluster, name, deadline).await;
            let role = take::<Role>(cluster, name, deadline).await;
            let account = take::<ServiceAccount>(cluster, name, deadline).await;
            let restorer = shared.restorer().map(Restorer::piece);
            let file = pass_refusal(agent_config_map::disown(cluster, restorer, owner, deadline)).await;
            binding.and(role).and(account).and(file)
        };
        let (slices, rights) = tokio::join!(slices, rights);
        slices.and(rights)
    }
}

/// A Role for this one Service and this one interceptor, bound to an account of its own. Whether all of it stands, and
/// whether some of it may.
async fn let_restore(shared: &Shared, plan: &Plan, base: &ObjectMeta, deadline: Deadline) -> Nets {
    let Some(restorer) = shared.restorer() else { return Nets::default() };
    let cluster = &shared.cluster;
    let name = base.name.clone().unwrap_or_default();
    // Kubernetes lets nobody give rights that he has not himself.
    let rule = |group: &str, kind: &str, objects: Vec<String>, verbs: &[&str]| PolicyRule {
        api_groups: Some(vec![group.into()]),
        resources: Some(vec![kind.into()]),
        resource_names: Some(objects),
        verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
        ..Default::default()
    };
    let rules = vec![
        rule("", "services", vec![plan.service.clone()], &["get", "patch"]),
        rule("apps", "deployments", vec![name.clone()], &["delete"]),
        rule("coordination.k8s.io", "leases", vec![names::lease(&shared.id)], &["get", "delete"]),
    ];
    let slices = rule("discovery.k8s.io", "endpointslices", names::fallback_slices(&name), &["delete"]);
    let with_slices = rules.iter().cloned().chain([slices]).collect();
    let role = |rules| Role { metadata: base.clone(), rules: Some(rules) };
    // Alone and first: under `edit` it is refused, and nothing else is made.
    let mut clears = true;
    let mut made = cluster.create(&role(with_slices), deadline).await;
    if matches!(&made, Err(error) if error.code() == ErrorCode::Forbidden) {
        // `admin` may give the rest.
        clears = false;
        made = cluster.create(&role(rules), deadline).await;
    }
    if let Err(error) = made {
        tracing::debug!(error = error.report(), "the interceptor may not put its Service back by itself");
        // Who is not refused, but waits too long, does not know.
        return Nets { begun: error.code() != ErrorCode::Forbidden, ..Nets::default() };
    }
    let account = ServiceAccount {
        metadata: base.clone(),
        automount_service_account_token: Some(false),
        ..Default::default()
    };
    let binding = RoleBinding {
        metadata: base.clone(),
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".into(),
            kind: "Role".into(),
            name: name.clone(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".into(),
            name: name.clone(),
            namespace: Some(cluster.namespace().to_owned()),
            api_group: None,
        }]),
    };
    let (account, binding, file) = tokio::join!(
        cluster.create(&account, deadline),
        cluster.create(&binding, deadline),
        agent_config_map::ensure(cluster, Some(restorer.piece()), deadline),
    );
    if let Err(error) = account.and(binding).and(file) {
        tracing::debug!(error = error.report(), "the interceptor may not put its Service back by itself");
        let removed = Nets::BEGUN.remove(shared, &name, "", deadline).await;
        return Nets { begun: removed.is_err(), ..Nets::default() };
    }
    Nets { restore: true, clears, begun: true, ..Nets::default() }
}

/// Whether an Ingress or a route of the Gateway API leads to the Service. Who may not look finds none.
async fn is_routed(cluster: &Cluster, service: &str, deadline: Deadline) -> bool {
    let ingresses = async {
        let all: Vec<Ingress> = cluster.list("", deadline).await.unwrap_or_default();
        all.iter().any(|ingress| names_service(&json!(ingress.spec), service))
    };
    let routes = async {
        let kind = GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "HTTPRoute");
        let kind = ApiResource::from_gvk(&kind);
        let routes: kube::Api<DynamicObject> =
            kube::Api::namespaced_with(cluster.client().clone(), cluster.namespace(), &kind);
        let all = ListParams::default();
        let found = cluster.request("list", "httproutes", deadline, routes.list(&all)).await;
        found.is_ok_and(|all| all.items.iter().any(|route| backs_onto(&route.data, service)))
    };
    let (ingresses, routes) = tokio::join!(ingresses, routes);
    ingresses || routes
}

/// Whether an Ingress's spec has `service: {name}` somewhere.
fn names_service(value: &serde_json::Value, service: &str) -> bool {
    match value {
        serde_json::Value::Object(map) => {
            map.get("service").is_some_and(|backend| backend["name"] == service)
                || map.values().any(|value| names_service(value, service))
        }
        serde_json::Value::Array(list) => list.iter().any(|value| names_service(value, service)),
        _ => false,
    }
}

/// Whether a route has the Service among its `backendRefs` somewhere.
fn backs_onto(value: &serde_json::Value, service: &str) -> bool {
    match value {
        serde_json::Value::Object(map) => map.iter().any(|(key, value)| {
            let refs = value.as_array().filter(|_| key == "backendRefs");
            refs.is_some_and(|refs| refs.iter().any(|one| one["name"] == service))
                || backs_onto(value, service)
        }),
        serde_json::Value::Array(list) => list.iter().any(|value| backs_onto(value, service)),
        _ => false,
    }
}

async fn give<K: Object>(
    cluster: &Cluster,
    name: &str,
    owner: &OwnerReference,
    deadline: Deadline,
) -> Result<()> {
    let patch = api::patch(json!([
        { "op": "replace", "path": "/metadata/ownerReferences", "value": [owner] },
    ]))?;
    cluster.json_patch::<K>(name, patch, deadline).await.map(|_| ())
}

/// Deletes an object and waits until it is gone. A user who may not has not made it.
async fn take<K: Object>(cluster: &Cluster, name: &str, deadline: Deadline) -> Result<()> {
    let taken = async {
        cluster.delete::<K>(name, None, PropagationPolicy::Background, deadline).await?;
        gone::wait::<K>(cluster, name, deadline).await
    };
    pass_refusal(taken).await
}

/// Of a kind that this cluster does not have, or this user may not touch, there is nothing of ours.
pub(super) async fn pass_refusal(work: impl Future<Output = Result<()>>) -> Result<()> {
    match work.await {
        Err(error) if matches!(error.code(), ErrorCode::Forbidden | ErrorCode::NoSuchTarget) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ingress_that_leads_to_the_service_is_seen() {
        let spec = json!({ "rules": [{ "http": { "paths": [
            { "path": "/", "pathType": "Prefix", "backend": { "service": { "name": "orders", "port": { "number": 80 } } } },
        ] } }] });
        assert!(names_service(&spec, "orders"));
        assert!(!names_service(&spec, "order"));
        let default = json!({ "defaultBackend": { "service": { "name": "orders" } } });
        assert!(names_service(&default, "orders"));
    }

    #[test]
    fn a_route_that_leads_to_the_service_is_seen() {
        let route = json!({ "spec": { "rules": [{ "backendRefs": [{ "name": "orders", "port": 80 }] }] } });
        assert!(backs_onto(&route, "orders"));
        assert!(!backs_onto(&route, "shop"));
    }
}
