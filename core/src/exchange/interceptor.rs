//! The interceptor's objects: the Service that leads back to the originals, and the Deployment.
//!
//! All are owned by the Service they serve, and go with it.

mod upkeep;
mod way_back;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{Endpoints, PodTemplateSpec, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::{Preconditions, PropagationPolicy};
use tokio::time::Instant;

pub(super) use self::upkeep::Whole;
pub(crate) use self::way_back::outlive_pods;
use self::way_back::{keeps_affinity, originals, pass_through};
use super::companion;
use super::fallback::Fallback;
use super::nets::{Nets, pass_refusal};
use super::plan::Plan;
use super::removal::Unneeded;
use crate::cluster::agent_pod::{self, Host};
use crate::cluster::api::owner_reference;
use crate::cluster::{Cluster, agent_config_map, api, gone, names};
use crate::session::Shared;
use crate::{Deadline, Result};

/// An interceptor that is asked to go, but not by its client, goes on passing through for this long: until its
/// replacement is ready, on a busy node too.
const REPLACEMENT: Duration = Duration::from_secs(8);
/// Where the nodes lead callers elsewhere meanwhile: until they all know.
const NODES: Duration = Duration::from_secs(3);

/// An interceptor of ours in the cluster.
#[derive(Debug)]
pub(crate) struct Interceptor {
    pub(crate) name: String,
    /// The metadata of what it owns, once it is there.
    base: Option<ObjectMeta>,
    /// Its pod.
    template: Option<PodTemplateSpec>,
    pub(super) nets: Nets,
    /// Until when it goes on passing connections through.
    needed_until: Mutex<Option<Instant>>,
}

impl Interceptor {
    /// Nothing of it is there yet.
    pub(crate) fn new(name: String) -> Self {
        Self { name, base: None, template: None, nets: Nets::default(), needed_until: Mutex::new(None) }
    }

    /// One that a dead session has left, by its Deployment; `None` for one that is not an interceptor's. The name came
    /// from an annotation, which is anybody's to write: only what carries our labels is taken away.
    pub(super) fn left_behind(found: &Deployment) -> Option<Self> {
        let name = found.metadata.name.clone()?;
        let labels = found.metadata.labels.as_ref()?;
        let ours = names::labels(names::ROLE_INTERCEPTOR, &name);
        if !ours.iter().all(|(key, value)| labels.get(key) == Some(value)) {
            return None;
        }
        let owner_references = Some(vec![owner_reference(found)]);
        let base = ObjectMeta { name: Some(name.clone()), owner_references, ..Default::default() };
        Some(Self { base: Some(base), nets: Nets::UNKNOWN, ..Self::new(name) })
    }

    /// Creates the objects. What was created before an error is there: a removal takes it away.
    pub(crate) async fn create(
        &mut self,
        shared: &Shared,
        host: &Host,
        service: &Service,
        plan: &Plan,
        deadline: Deadline,
    ) -> Result<()> {
        let (cluster, agent) = (&shared.cluster, shared.agent()?);
        let lease = names::lease(&shared.id);
        let back = pass_through(&self.name, service, plan, &lease);
        let base = metadata(&self.name, service, &self.name, &lease);
        // Should it be given up in the middle.
        self.nets = Nets::BEGUN;
        let nets = async {
            self.nets = Box::pin(Nets::spread(shared, plan, &base, deadline)).await;
            Ok(())
        };
        let (back, (), ()) = tokio::try_join!(
            cluster.create(&back, deadline),
            agent_config_map::ensure(cluster, agent.piece(), deadline),
            nets,
        )?;
        let addresses = originals(&back)?;
        let linger = if self.nets.slice { NODES } else { REPLACEMENT };
        let mut variables = vec![
            ("KUBETETHER_ROLE", "interceptor".to_owned()),
            ("KUBETETHER_LINGER", format!("{}s", linger.as_secs())),
            ("KUBETETHER_PORTS", ports_variable(plan, &addresses, keeps_affinity(service, plan))),
        ];
        variables.extend(agent_pod::times(&shared.config));
        if self.nets.slice {
            variables.push(("KUBETETHER_FALLBACK", "slice".to_owned()));
        }
        let pod_labels = pod_labels(&self.name, plan);
        let mut template =
            agent_pod::template(agent, host, pod_labels, &variables, shared.config.agent_memory);
        self.nets.equip(shared, plan, &self.name, &mut template);
        self.template = Some(template.clone());
        let deployment = deployment(base.clone(), &self.name, template);
        let deployment = cluster.create(&deployment, deadline).await?;
        let owner = owner_reference(&deployment);
        self.base = Some(ObjectMeta { owner_references: Some(vec![owner.clone()]), ..base });
        tokio::try_join!(
            agent_config_map::own(cluster, agent.piece(), owner.clone(), deadline),
            Box::pin(self.nets.hand_over(shared, &self.name, &owner, deadline)),
        )
        .map(|_| ())
    }

    /// The net below it, where the rights allow it.
    pub(crate) fn fallback(&self, cluster: &Cluster, service: &str) -> Option<Fallback> {
        let base = self.base.clone().filter(|_| self.nets.slice)?;
        Some(Fallback::new(cluster, service, base))
    }

    /// What a second one beside it is made of, where it is to be had.
    pub(super) fn second(&self) -> Option<(ObjectMeta, PodTemplateSpec)> {
        let wanted = !self.nets.slice || self.nets.routed;
        Some((self.base.clone().filter(|_| wanted)?, self.template.clone()?))
    }

    /// The uid of its Deployment, once there is one.
    fn uid(&self) -> Option<&str> {
        Some(&self.base.as_ref()?.owner_references.as_ref()?.first()?.uid)
    }

    /// Keeps the interceptor for at least this long.
    pub(crate) fn needed_for(&self, duration: Duration) {
        let until = Instant::now() + duration;
        *self.needed_until.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(until);
    }

    pub(crate) async fn no_longer_needed(&self, deadline: Deadline) {
        let until = *self.needed_until.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(until) = until {
            tokio::time::sleep_until(until.min(deadline.instant())).await;
        }
    }

    /// Deletes the objects and waits until they and all they own are gone. Goes on after an error, and
    /// returns the first.
    pub(super) async fn delete(&self, shared: &Shared, _: Unneeded, deadline: Deadline) -> Result<()> {
        let (cluster, agent) = (&shared.cluster, shared.agent()?);
        let back = names::pass_through(&self.name);
        // Foreground: gone only when their pods and slices are.
        let foreground = PropagationPolicy::Foreground;
        // The way back goes last: until then a pod of the interceptor may need it.
        outlive_pods(cluster, &back, deadline).await;
        let deployment = self.delete_deployment(cluster, deadline).await;
        let service = cluster.delete::<Service>(&back, None, foreground, deadline).await;
        // Without a Deployment the ConfigMap may still have been made for it, and be nobody's.
        let owner = self.uid().unwrap_or_default();
        let config_map =
            pass_refusal(agent_config_map::disown(cluster, agent.piece(), owner, deadline)).await;
        let nets = self.nets.remove(shared, &self.name, owner, deadline).await;
        let second = match self.second() {
            Some(_) => companion::remove(shared, &self.name, deadline).await,
            None => Ok(()),
        };
        deployment.and(service).and(config_map).and(nets).and(second)?;
        gone::wait::<Service>(cluster, &back, deadline).await?;
        // Kubernetes keeps an Endpoints object beside each Service, owned by nobody.
        gone::wait_if_allowed::<Endpoints>(cluster, &back, deadline).await
    }

    async fn delete_deployment(&self, cluster: &Cluster, deadline: Deadline) -> Result<()> {
        let this = self.uid().map(|uid| Preconditions { uid: Some(uid.to_owned()), resource_version: None });
        let deleted =
            cluster.delete::<Deployment>(&self.name, this, PropagationPolicy::Foreground, deadline).await;
        match (deleted, self.uid()) {
            // Another one has that name by now.
            (Err(error), Some(_)) if api::is_conflict(&error) => Ok(()),
            (Err(error), _) => Err(error),
            (Ok(()), Some(uid)) => gone::wait_for::<Deployment>(cluster, &self.name, uid, deadline).await,
            (Ok(()), None) => gone::wait::<Deployment>(cluster, &self.name, deadline).await,
        }
    }
}

fn metadata(name: &str, service: &Service, instance: &str, lease: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.into()),
        labels: Some(names::labels(names::ROLE_INTERCEPTOR, instance)),
        annotations: Some([(names::SESSION_LEASE.to_owned(), lease.to_owned())].into()),
        owner_references: Some(vec![owner_reference(service)]),
        ..Default::default()
    }
}

/// The agent's `KUBETETHER_PORTS` (core/agent/src/config.rs has the form).
fn ports_variable(plan: &Plan, originals: &[String], headless_targets: bool) -> String {
    let entries = plan.ports.iter().map(|port| {
        let target =
            match plan.original.target_ports.get(&format!("{}/{}", port.number, port.protocol.as_str())) {
                // A headless Service has no ports of its own: the pods' count.
                Some(IntOrString::Int(number)) if headless_targets => *number,
                _ => i32::from(port.number),
            };
        let places: Vec<String> = originals
            .iter()
            .map(|address| match address.parse() {
                Ok(ip) => SocketAddr::new(ip, u16::try_from(target).unwrap_or(port.number)).to_string(),
                Err(_) => format!("{address}:{target}"),
            })
            .collect();
        format!("{}/{}={}>{}", port.number, port.protocol.as_str(), port.listen, places.join("|"))
    });
    entries.collect::<Vec<_>>().join(",")
}

/// The interceptor's own labels, and those by which the taken Service selects it.
pub(super) fn pod_labels(name: &str, plan: &Plan) -> BTreeMap<String, String> {
    let mut labels = names::labels(names::ROLE_INTERCEPTOR, name);
    labels.extend(plan.original.selector.keys().map(|key| (key.clone(), plan.value.clone())));
    labels
}

/// One pod of this template, whose pods are told apart by `instance`.
pub(super) fn deployment(metadata: ObjectMeta, instance: &str, template: PodTemplateSpec) -> Deployment {
    let selector = [(names::INSTANCE.to_owned(), instance.to_owned())].into();
    Deployment {
        metadata,
        spec: Some(DeploymentSpec {
            replicas: Some(1),
            selector: LabelSelector { match_labels: Some(selector), match_expressions: None },
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".into()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_unavailable: Some(IntOrString::Int(0)),
                    max_surge: Some(IntOrString::Int(1)),
                }),
            }),
            revision_history_limit: Some(0),
            template,
            ..Default::default()
        }),
        status: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::To;

    pub(super) fn service(affinity: &str) -> Service {
        serde_json::from_value(serde_json::json!({
            "metadata": { "name": "orders", "uid": "u1", "labels": { "app.kubernetes.io/instance": "argo" } },
            "spec": {
                "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"], "sessionAffinity": affinity,
                "type": "NodePort", "selector": { "app": "orders" },
                "ports": [{ "name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080, "nodePort": 30080 }],
            },
        }))
        .unwrap()
    }

    #[test]
    fn ports_are_told_as_the_agent_reads_them() {
        let service = service("None");
        let plan = Plan::new(&service, "kt-0123456789".into(), &To::port(1), None).unwrap();
        let told = ports_variable(&plan, &["10.96.3.4".into(), "fd00::34".into()], false);
        assert_eq!(told, "80/TCP=47200>10.96.3.4:80|[fd00::34]:80");
        assert_eq!(ports_variable(&plan, &["kt-x-orig".into()], true), "80/TCP=47200>kt-x-orig:8080");
    }
}
