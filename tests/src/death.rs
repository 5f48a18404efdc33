//! The ways in which a pod dies.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{DeleteParams, EvictParams, ListParams};

use crate::exec;
use crate::scenario::Scenario;
use crate::wait::{LONG, eventually};

/// How an agent's pod dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// It is asked to go, with its own time to do so.
    Deleted,
    /// It is gone at once.
    ForceDeleted,
    /// By the request of a drain, which disruption budgets may refuse for a while.
    Evicted,
    /// The kernel ends its process, since its container has reached its memory limit; the kubelet starts it again.
    OutOfMemory,
}

impl Death {
    /// The memory limit with which an agent can run out of memory: what its pod's shared memory can hold.
    pub const MEMORY: u64 = 64 << 20;

    /// Brings it about for the one agent of this `role`, `interceptor` or `gateway`.
    ///
    /// # Panics
    /// When there is none or several, or it does not come.
    pub async fn of(self, at: &Scenario, role: &str) {
        let pods = at.namespace().api::<Pod>();
        let ours = ListParams::default().labels(&format!("kubetether.dev/role={role}"));
        let found = pods.list(&ours).await.unwrap_or_else(|error| panic!("pods: {error}")).items;
        assert_eq!(found.len(), 1, "one {role}");
        let name = found[0].name_any();
        match self {
            Self::Deleted => drop(pods.delete(&name, &DeleteParams::default()).await),
            Self::ForceDeleted => drop(pods.delete(&name, &DeleteParams::default().grace_period(0)).await),
            Self::Evicted => {
                eventually(format!("the eviction of {name}"), LONG, async || {
                    pods.evict(&name, &EvictParams::default()).await
                })
                .await;
            }
            Self::OutOfMemory => {
                // It dies with the process that it is in the container of.
                let _ = exec::run(&pods, &name, &["hog", &Self::MEMORY.to_string()]).await;
                eventually(format!("{name} has run out of memory"), LONG, async || {
                    let pod = pods.get_opt(&name).await.map_err(|error| error.to_string())?;
                    // One that is not started again is deleted by whoever finds it dead.
                    let Some(pod) = pod else { return Ok(()) };
                    let containers =
                        pod.status.and_then(|status| status.container_statuses).unwrap_or_default();
                    let states = containers.into_iter().flat_map(|one| [one.state, one.last_state]).flatten();
                    let reasons: Vec<String> = states.filter_map(|state| state.terminated?.reason).collect();
                    if reasons.iter().any(|one| one == "OOMKilled") {
                        Ok(())
                    } else {
                        Err(format!("{reasons:?}"))
                    }
                })
                .await;
            }
        }
    }
}
