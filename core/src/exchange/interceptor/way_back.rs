//! The way back: the Service by which an interceptor reaches the original pods.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::json;

use super::{Interceptor, metadata};
use crate::cluster::{Cluster, api, names};
use crate::exchange::note::port_key;
use crate::exchange::plan::Plan;
use crate::{Deadline, Error, ErrorCode, Result};

impl Interceptor {
    /// Makes the way back lead to what is the original now.
    pub(crate) async fn follow(&self, cluster: &Cluster, plan: &Plan, deadline: Deadline) -> Result<()> {
        let name = names::pass_through(&self.name);
        let attempt = || async {
            let back: Service = cluster.get(&name, deadline).await?;
            let patch = api::patch(lead_to(&back, plan))?;
            cluster.json_patch::<Service>(&name, patch, deadline).await.map(|_| ())
        };
        cluster.on_conflict_again(attempt).await
    }
}

/// Makes the way back of an interceptor outlive it: Kubernetes deletes what a Deployment owns at once, while its pods go on
/// passing late callers through for some seconds. It goes by our own hand from here on.
///
/// Nothing fails for it: a way back that is not there, or not ours to change, goes as it would have.
pub(crate) async fn outlive_pods(cluster: &Cluster, name: &str, deadline: Deadline) {
    let alone = async {
        let patch =
            api::patch(json!([{ "op": "replace", "path": "/metadata/ownerReferences", "value": [] }]))?;
        cluster.json_patch::<Service>(name, patch, deadline).await
    };
    if let Err(error) = alone.await {
        tracing::debug!(error = error.report(), "the way back goes with its interceptor");
    }
}

/// The Service's own ports, with the original selector, under a name of ours.
pub(super) fn pass_through(interceptor: &str, service: &Service, plan: &Plan, lease: &str) -> Service {
    let spec = service.spec.clone().unwrap_or_default();
    let ports = spec.ports.unwrap_or_default().into_iter().map(|port| {
        let target = plan.original.target_ports.get(&port_key(port.port, port.protocol.as_deref()));
        ServicePort {
            name: port.name,
            app_protocol: port.app_protocol,
            port: port.port,
            protocol: port.protocol,
            target_port: target.cloned(),
            node_port: None,
        }
    });
    Service {
        metadata: metadata(&names::pass_through(interceptor), service, interceptor, lease),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".into()),
            selector: Some(plan.original.selector.clone()),
            ports: Some(ports.collect()),
            ip_families: spec.ip_families,
            ip_family_policy: spec.ip_family_policy,
            publish_not_ready_addresses: spec.publish_not_ready_addresses,
            // With session affinity the interceptor picks the pod by the caller's address, since
            // seen from the Service all callers would have the interceptor's.
            cluster_ip: keeps_affinity(service, plan).then(|| "None".into()),
            ..Default::default()
        }),
        status: None,
    }
}

/// The JSON patch that gives the way back the plan's original selector and target ports.
fn lead_to(back: &Service, plan: &Plan) -> serde_json::Value {
    let mut operations = vec![
        json!({ "op": "test", "path": "/metadata/resourceVersion", "value": back.metadata.resource_version }),
        json!({ "op": "add", "path": "/spec/selector", "value": plan.original.selector }),
    ];
    let ports = back.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    for (at, port) in ports.iter().enumerate() {
        if let Some(target) = plan.original.target_ports.get(&port_key(port.port, port.protocol.as_deref())) {
            let path = format!("/spec/ports/{at}/targetPort");
            operations.push(json!({ "op": "add", "path": path, "value": target }));
        }
    }
    operations.into()
}

/// Whether callers are led back to the same pod each. Needs ports by number, since a headless Service
/// has no others.
pub(super) fn keeps_affinity(service: &Service, plan: &Plan) -> bool {
    let wanted = service.spec.as_ref().and_then(|spec| spec.session_affinity.as_deref()) == Some("ClientIP");
    wanted && plan.original.target_ports.values().all(|target| matches!(target, IntOrString::Int(_)))
}

/// Where the pass-through Service is reached: its addresses, or its name when it is headless.
pub(super) fn originals(back: &Service) -> Result<Vec<String>> {
    let spec = back.spec.clone().unwrap_or_default();
    let addresses: Vec<String> =
        spec.cluster_ips.unwrap_or_default().into_iter().filter(|ip| ip != "None").collect();
    let name = back.metadata.name.clone().unwrap_or_default();
    if !addresses.is_empty() {
        return Ok(addresses);
    }
    if spec.cluster_ip.as_deref() == Some("None") {
        // The pod's search domains complete it.
        return Ok(vec![name]);
    }
    Err(Error::new(ErrorCode::Cluster, format!("services/{name} was given no address")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::To;
    use crate::exchange::interceptor::tests::service;

    #[test]
    fn the_way_back_has_the_original_selector_and_no_label_of_the_users() {
        let service = service("None");
        let plan = Plan::new(&service, "kt-0123456789".into(), &To::port(1), None).unwrap();
        let back = pass_through("kt-orders-0123456789", &service, &plan, "kubetether-1a2b3c4d");
        let labels = back.metadata.labels.unwrap();
        assert!(!labels.contains_key("app.kubernetes.io/instance"));
        let spec = back.spec.unwrap();
        assert_eq!(spec.selector.unwrap()["app"], "orders");
        let port = &spec.ports.unwrap()[0];
        assert_eq!((port.target_port.clone(), port.node_port), (Some(IntOrString::Int(8080)), None));
        assert_eq!(spec.cluster_ip, None);
    }
}
