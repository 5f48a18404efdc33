//! What the quotas of a namespace demand of a pod.

use k8s_openapi::api::core::v1::ResourceQuota;

use super::Cluster;
use crate::Deadline;

/// Whether a pod without a limit of CPU is refused. A user who may not read quotas finds out by the
/// refusal itself.
pub(crate) async fn demands_cpu_limit(cluster: &Cluster, deadline: Deadline) -> bool {
    let quotas: Vec<ResourceQuota> = cluster.list("", deadline).await.unwrap_or_default();
    quotas.iter().any(|quota| {
        quota
            .spec
            .as_ref()
            .and_then(|spec| spec.hard.as_ref())
            .is_some_and(|hard| hard.contains_key("limits.cpu"))
    })
}
