//! kubetether's own objects in a namespace: found, told apart, taken away.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Endpoints, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Preconditions, PropagationPolicy};

use super::Unseen;
use super::survey::Taken;
use crate::cluster::api::{self, Object};
use crate::cluster::{Cluster, gone, names};
use crate::exchange::fallback::aside;
use crate::exchange::interceptor::outlive_pods;
use crate::{Deadline, ErrorCode, Result};

/// On slices that Kubernetes makes by itself, with the labels of their Service.
const SLICE_OF: &str = "endpointslice.kubernetes.io/managed-by";
/// Its value there.
const KUBERNETES: &str = "endpointslice-controller.k8s.io";

/// What an object of ours is, in the order in which they are taken away: what owns others first, what leads back to the
/// original pods after what uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Deployment,
    Job,
    EndpointSlice,
    Service,
    PodDisruptionBudget,
    RoleBinding,
    Role,
    ServiceAccount,
    ConfigMap,
}

/// Does something with the type of a kind.
macro_rules! typed {
    ($kind:expr, $K:ident => $work:expr) => {
        match $kind {
            Kind::Deployment => {
                type $K = Deployment;
                $work
            }
            Kind::Job => {
                type $K = Job;
                $work
            }
            Kind::EndpointSlice => {
                type $K = EndpointSlice;
                $work
            }
            Kind::Service => {
                type $K = Service;
                $work
            }
            Kind::PodDisruptionBudget => {
                type $K = PodDisruptionBudget;
                $work
            }
            Kind::RoleBinding => {
                type $K = RoleBinding;
                $work
            }
            Kind::Role => {
                type $K = Role;
                $work
            }
            Kind::ServiceAccount => {
                type $K = ServiceAccount;
                $work
            }
            Kind::ConfigMap => {
                type $K = ConfigMap;
                $work
            }
        }
    };
}

/// All kinds.
pub(crate) const KINDS: [Kind; 9] = [
    Kind::Deployment,
    Kind::Job,
    Kind::EndpointSlice,
    Kind::Service,
    Kind::PodDisruptionBudget,
    Kind::RoleBinding,
    Kind::Role,
    Kind::ServiceAccount,
    Kind::ConfigMap,
];

/// An object of ours.
#[derive(Clone, Debug)]
pub(crate) struct Ours {
    pub(crate) kind: Kind,
    pub(crate) namespace: String,
    pub(crate) name: String,
    uid: String,
    version: String,
    /// `interceptor` or `gateway`; none on what several share.
    pub(crate) role: Option<String>,
    /// Which interceptor or gateway it belongs to.
    pub(crate) instance: Option<String>,
    /// The Lease of the one session it serves, where it says so.
    pub(crate) lease: Option<String>,
    /// Its owners' uids.
    owners: Vec<String>,
    /// How many of its pods are ready, of those that have pods.
    pub(crate) ready: Option<i32>,
    /// The Service itself, of those that lead back to original pods.
    pub(crate) service: Option<Box<Service>>,
}

impl Ours {
    pub(super) fn new(kind: Kind, meta: &ObjectMeta) -> Self {
        let label = |key: &str| meta.labels.as_ref().and_then(|all| all.get(key)).cloned();
        Self {
            kind,
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
            version: meta.resource_version.clone().unwrap_or_default(),
            role: label(names::ROLE),
            instance: label(names::INSTANCE),
            lease: meta.annotations.as_ref().and_then(|all| all.get(names::SESSION_LEASE)).cloned(),
            owners: meta.owner_references.iter().flatten().map(|owner| owner.uid.clone()).collect(),
            ready: None,
            service: None,
        }
    }

    /// Whether it is of a form that a kubetether makes: the label alone may stand on anything.
    fn is_of_our_form(&self) -> bool {
        let instance = self.instance.as_deref().unwrap_or_default();
        match self.role.as_deref() {
            None => self.kind == Kind::ConfigMap && names::is_program(&self.name),
            Some(names::ROLE_GATEWAY) => {
                self.kind == Kind::Job && self.name == instance && names::is_gateway(instance)
            }
            Some(names::ROLE_INTERCEPTOR) => {
                let session = self.lease.as_deref().and_then(names::session_of_lease);
                let suffix = self.name.strip_prefix(instance);
                !matches!(self.kind, Kind::ConfigMap | Kind::Job)
                    && names::is_interceptor(instance)
                    && suffix.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
                    && session.is_some()
            }
            Some(_) => false,
        }
    }

    /// `plural/name`, as the API server names it.
    pub(crate) fn object(&self) -> String {
        typed!(self.kind, K => api::object::<K>(&self.name))
    }

    /// Whether this is one of its owners.
    pub(super) fn is_owned_by(&self, uid: &str) -> bool {
        self.owners.iter().any(|owner| owner == uid)
    }

    /// Whether it has owners that are none of these.
    pub(crate) fn has_owners_but(&self, others: &[&Self]) -> bool {
        self.owners.iter().any(|owner| !others.iter().any(|other| other.uid == *owner))
    }

    /// Deletes it, if it still is this one; `false` when it is somebody's by now.
    pub(crate) async fn delete(&self, cluster: &Cluster, deadline: Deadline) -> Result<bool> {
        // Whoever made a shared one theirs meanwhile changed it; what only counts its pods changes all the time.
        let version = (self.kind == Kind::ConfigMap).then(|| self.version.clone());
        let this = Preconditions { uid: Some(self.uid.clone()), resource_version: version };
        let how = match self.kind {
            // It owns nothing, and leads callers until it is gone, not until it is marked for that.
            Kind::EndpointSlice => PropagationPolicy::Background,
            // Gone only when all they own is.
            _ => PropagationPolicy::Foreground,
        };
        let deleted =
            typed!(self.kind, K => cluster.delete::<K>(&self.name, Some(this), how, deadline).await);
        match deleted {
            Err(error) if api::is_conflict(&error) => Ok(false),
            deleted => deleted.map(|()| true),
        }
    }

    /// Deletes it and waits until it is gone: marked for deletion is not gone, since somebody's finalizer may hold it. `false`
    /// when it is somebody's by now.
    async fn take_away(&self, cluster: &Cluster, deadline: Deadline) -> Result<bool> {
        if !self.delete(cluster, deadline).await? {
            return Ok(false);
        }
        self.gone(cluster, deadline).await.map(|()| true)
    }

    /// Waits until it is gone, or is another one.
    pub(crate) async fn gone(&self, cluster: &Cluster, deadline: Deadline) -> Result<()> {
        typed!(self.kind, K => gone::wait_for::<K>(cluster, &self.name, &self.uid, deadline).await)?;
        if self.kind == Kind::Service {
            // Kubernetes keeps one beside each Service, owned by nobody.
            gone::wait_if_allowed::<Endpoints>(cluster, &self.name, deadline).await?;
        }
        Ok(())
    }
}

/// All objects of ours that may be seen, in a namespace or everywhere; what may not be is told.
pub(crate) async fn find(
    cluster: &Cluster,
    everywhere: bool,
    kinds: &[Kind],
    deadline: Deadline,
) -> Result<(Vec<Ours>, Vec<Unseen>)> {
    let ours = format!("{}={}", names::MANAGED_BY, names::KUBETETHER);
    let lists = kinds.iter().map(|kind| list(cluster, everywhere, *kind, &ours, deadline));
    let (mut found, mut unseen) = (Vec::new(), Vec::new());
    for (kind, listed) in kinds.iter().zip(futures_util::future::join_all(lists).await) {
        match listed {
            Ok(objects) => found.extend(objects.into_iter().filter(Ours::is_of_our_form)),
            Err(error) if error.code() == ErrorCode::Forbidden => {
                // Others are owned by those, or could not have been made without the same right.
                if matches!(kind, Kind::Deployment | Kind::Job | Kind::Service | Kind::ConfigMap) {
                    unseen.push(Unseen::new(&error));
                }
            }
            // A cluster without that kind.
            Err(error) if error.code() == ErrorCode::NoSuchTarget => {}
            Err(error) => return Err(error),
        }
    }
    Ok((found, unseen))
}

async fn list(
    cluster: &Cluster,
    everywhere: bool,
    kind: Kind,
    selector: &str,
    deadline: Deadline,
) -> Result<Vec<Ours>> {
    async fn metas<K: Object>(
        cluster: &Cluster,
        everywhere: bool,
        selector: &str,
        deadline: Deadline,
    ) -> Result<Vec<K>> {
        cluster.list_in::<K>(everywhere, selector, deadline).await
    }
    let made_by_kubernetes = |meta: &ObjectMeta| {
        meta.labels.as_ref().and_then(|all| all.get(SLICE_OF)).is_some_and(|by| by == KUBERNETES)
    };
    Ok(match kind {
        Kind::Deployment => {
            let all = metas::<Deployment>(cluster, everywhere, selector, deadline).await?;
            let ready = |one: &Deployment| one.status.as_ref().and_then(|status| status.ready_replicas);
            let new = |one: Deployment| Ours {
                ready: Some(ready(&one).unwrap_or(0)),
                ..Ours::new(kind, &one.metadata)
            };
            all.into_iter().map(new).collect()
        }
        Kind::Service => {
            let all = metas::<Service>(cluster, everywhere, selector, deadline).await?;
            let new = |one: Service| Ours {
                service: Some(Box::new(one.clone())),
                ..Ours::new(kind, &one.metadata)
            };
            all.into_iter().map(new).collect()
        }
        _ => typed!(kind, K => {
            let all = metas::<K>(cluster, everywhere, selector, deadline).await?;
            let ours = all.iter().filter(|one| !made_by_kubernetes(&one.metadata));
            ours.map(|one| Ours::new(kind, &one.metadata)).collect()
        }),
    })
}

/// Takes objects away and waits until they are gone; what came of each: `false` for what is somebody else's by now. Goes on
/// after errors.
pub(crate) async fn remove<'a>(
    cluster: &Cluster,
    objects: &[&'a Ours],
    deadline: Deadline,
) -> Vec<(&'a Ours, Result<bool>)> {
    let ways_back = objects.iter().filter(|ours| ours.kind == Kind::Service);
    let kept = ways_back.map(|ours| async move {
        outlive_pods(&cluster.in_namespace(&ours.namespace), &ours.name, deadline).await;
    });
    futures_util::future::join_all(kept).await;
    let mut done = Vec::new();
    let mut in_order: Vec<&'a Ours> = objects.to_vec();
    in_order.sort_by_key(|ours| ours.kind);
    for same in in_order.chunk_by(|a, b| a.kind == b.kind) {
        let removals = same.iter().map(|ours| async move {
            ours.take_away(&cluster.in_namespace(&ours.namespace), deadline).await
        });
        let came = futures_util::future::join_all(removals).await;
        done.extend(same.iter().copied().zip(came));
    }
    done
}

/// Puts a Service back by `put_back`, with the fallback slices that are `found` for it out of the way.
pub(super) async fn clear_the_way<T>(
    cluster: &Cluster,
    taken: &Taken,
    found: &[Ours],
    put_back: impl Future<Output = Result<T>>,
    deadline: Deadline,
) -> Result<T> {
    let slices = found.iter().filter(|ours| ours.kind == Kind::EndpointSlice && taken.is_served_by(ours));
    let slices: Vec<&Ours> = slices.collect();
    if slices.is_empty() {
        return put_back.await;
    }
    let clear = |deadline| {
        let removals: Vec<_> = slices.iter().map(|slice| slice.take_away(cluster, deadline)).collect();
        // All of them, whatever becomes of one.
        async {
            futures_util::future::join_all(removals).await.into_iter().collect::<Result<Vec<_>>>().map(drop)
        }
    };
    Box::pin(aside::out_of_the_way(cluster, &taken.name, clear, put_back, deadline)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERCEPTOR: &str = "kt-orders-0123456789";
    const GATEWAY: &str = "kubetether-gateway-0123456789";

    fn made(kind: Kind, name: &str, role: Option<(&str, &str)>, lease: Option<&str>) -> bool {
        let label = [(names::MANAGED_BY.to_owned(), names::KUBETETHER.to_owned())].into();
        let labels = role.map_or(label, |(role, instance)| names::labels(role, instance));
        let annotations = lease.map(|lease| [(names::SESSION_LEASE.to_owned(), lease.to_owned())].into());
        let name = Some(name.to_owned());
        Ours::new(kind, &ObjectMeta { name, labels: Some(labels), annotations, ..Default::default() })
            .is_of_our_form()
    }

    #[test]
    fn what_is_made_is_known_again() {
        let (role, lease) = (Some((names::ROLE_INTERCEPTOR, INTERCEPTOR)), Some("kubetether-1a2b3c4d"));
        for (kind, suffix) in [
            (Kind::Deployment, ""),
            (Kind::Deployment, "-b"),
            (Kind::Service, "-orig"),
            (Kind::EndpointSlice, "-v4-0"),
            (Kind::EndpointSlice, "-x2v4z"),
            (Kind::PodDisruptionBudget, ""),
            (Kind::Role, ""),
            (Kind::RoleBinding, ""),
            (Kind::ServiceAccount, ""),
        ] {
            assert!(made(kind, &format!("{INTERCEPTOR}{suffix}"), role, lease), "{kind:?}");
        }
        assert!(made(Kind::Job, GATEWAY, Some((names::ROLE_GATEWAY, GATEWAY)), None));
        for name in ["kubetether-agent-0123456789", "kubetether-restore-0123456789"] {
            assert!(made(Kind::ConfigMap, name, None, None));
        }
    }

    #[test]
    fn a_label_alone_makes_nothing_ours() {
        let lease = Some("kubetether-1a2b3c4d");
        for kind in KINDS {
            for name in ["precious", INTERCEPTOR, "kt-precious"] {
                assert!(!made(kind, name, None, None), "{kind:?} {name}");
                assert!(!made(kind, name, None, lease), "{kind:?} {name}");
            }
            for role in [names::ROLE_INTERCEPTOR, names::ROLE_GATEWAY, "other"] {
                for instance in ["precious", INTERCEPTOR, GATEWAY] {
                    assert!(
                        !made(kind, "precious", Some((role, instance)), lease),
                        "{kind:?} {role} {instance}"
                    );
                }
                assert!(!made(kind, "precious", Some((role, "precious")), lease), "{kind:?} {role}");
            }
            // No session, no interceptor's.
            assert!(!made(kind, INTERCEPTOR, Some((names::ROLE_INTERCEPTOR, INTERCEPTOR)), None), "{kind:?}");
        }
    }
}
