//! A Service is put back without a fallback slice of ours beside its own.
//!
//! While both list the same pods, kube-proxy keeps for each of them the entry that it happens to read. Where ours counts,
//! no pod is ready, and callers are led to those that end as well.

use std::time::Duration;

use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::copy::is_ready;
use super::{Fallback, KEPT_BY, OF_SERVICE};
use crate::cluster::{Cluster, names};
use crate::exchange::plan::Plan;
use crate::exchange::service;
use crate::{Deadline, Result};

/// The slices may take this long to go, or a look at them, before a Service is put back without that.
const FIRST: Duration = Duration::from_secs(2);
/// The cluster's own slices may take this long to list the pods again where ours lead callers until then.
const OWN: Duration = Duration::from_secs(5);
/// Between two looks at them.
const LOOK: Duration = Duration::from_millis(100);

/// Puts a Service back by `put_back`, with our slices out of its way, which `clear` takes away: before, as long as the
/// nodes lead callers to an interceptor; where they lead them by our slices, as soon as they need not any more. What could
/// not be taken away keeps no Service from being put back.
pub(crate) async fn out_of_the_way<T, C>(
    cluster: &Cluster,
    service: &str,
    mut clear: impl FnMut(Deadline) -> C,
    put_back: impl Future<Output = Result<T>>,
    deadline: Deadline,
) -> Result<T>
where
    C: Future<Output = Result<()>>,
{
    let first = deadline.at_most(FIRST);
    let lead = leads(cluster, service, first).await.unwrap_or(false);
    let cleared = !lead && told(service, clear(first).await);
    let done = put_back.await?;
    if !cleared {
        let own = deadline.at_most(OWN);
        while lead && !own.left().is_zero() && leads(cluster, service, own).await.unwrap_or(false) {
            tokio::time::sleep(LOOK).await;
        }
        told(service, clear(deadline.at_most(FIRST)).await);
    }
    Ok(done)
}

/// Puts an exchanged Service back as [`service::restore`] does, with the slices of its exchange out of the way. Where it
/// cannot be put back they are kept again. Cancel-safe.
pub(in crate::exchange) async fn restore(
    cluster: &Cluster,
    plan: &Plan,
    lease: &str,
    fallback: Option<&Fallback>,
    deadline: Deadline,
) -> Result<bool> {
    let restore = service::restore(cluster, plan, lease, deadline);
    let Some(fallback) = fallback else { return restore.await };
    let clear = |deadline| fallback.aside(deadline);
    let restored = Box::pin(out_of_the_way(cluster, &plan.service, clear, restore, deadline)).await;
    if restored.is_err() {
        fallback.resume();
    }
    restored
}

/// Whether callers of a Service are led by slices of ours: those of nobody else list a pod that is ready.
async fn leads(cluster: &Cluster, service: &str, deadline: Deadline) -> Result<bool> {
    let all = cluster.list::<EndpointSlice>(&format!("{OF_SERVICE}={service}"), deadline).await?;
    let kept_by = |slice: &EndpointSlice| slice.metadata.labels.as_ref()?.get(KEPT_BY).cloned();
    let (ours, others): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|slice| kept_by(slice).as_deref() == Some(names::KUBETETHER));
    Ok(!ours.is_empty() && !others.iter().any(|slice| slice.endpoints.iter().any(is_ready)))
}

fn told(service: &str, cleared: Result<()>) -> bool {
    if let Err(error) = &cleared {
        tracing::debug!(error = error.report(), service, "a fallback slice is still there");
    }
    cleared.is_ok()
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use k8s_openapi::api::core::v1::Service;
    use kube::api::PropagationPolicy;
    use serde_json::json;

    use super::*;
    use crate::cluster::api::{self, fake::Fake};

    const KUBERNETES: &str = "endpointslice-controller.k8s.io";

    fn slice(fake: &Fake, name: &str, kept_by: &str, ready: bool) {
        let labels = json!({ OF_SERVICE: "orders", KEPT_BY: kept_by });
        let endpoints = json!([{ "addresses": ["10.0.0.7"], "conditions": { "ready": ready } }]);
        fake.put::<EndpointSlice>(json!({
            "metadata": { "name": name, "labels": labels }, "addressType": "IPv4", "endpoints": endpoints,
        }));
    }

    /// A Service with a slice of ours, and one of its own that lists an interceptor.
    fn orders(interceptor_is_ready: bool) -> Fake {
        let fake = Fake::default();
        fake.put::<Service>(json!({ "metadata": { "name": "orders" }, "spec": {} }));
        slice(&fake, "ours", "kubetether", false);
        slice(&fake, "own", KUBERNETES, interceptor_is_ready);
        fake
    }

    async fn put_back(fake: &Fake) -> Result<()> {
        let cluster = fake.cluster();
        let clear = |left| cluster.delete::<EndpointSlice>("ours", None, PropagationPolicy::Background, left);
        let work = async {
            let selector = json!([{ "op": "add", "path": "/spec/selector", "value": { "app": "orders" } }]);
            cluster.json_patch::<Service>("orders", api::patch(selector)?, Deadline::secs(5)).await?;
            Ok(())
        };
        out_of_the_way(&cluster, "orders", clear, work, Deadline::secs(20)).await
    }

    #[tokio::test(start_paused = true)]
    async fn they_go_before_the_service_is_put_back() {
        let fake = orders(true);
        put_back(&fake).await.unwrap();
        assert_eq!(fake.changes(), ["DELETE endpointslices/ours", "PATCH services/orders"]);
    }

    #[tokio::test(start_paused = true)]
    async fn where_they_lead_callers_they_stay_until_the_services_own_do() {
        let fake = orders(false);
        let cluster = fake.clone();
        let own = tokio::spawn(async move {
            while !cluster.changes().iter().any(|change| change == "PATCH services/orders") {
                tokio::time::sleep(LOOK).await;
            }
            tokio::time::sleep(3 * LOOK).await;
            let there = cluster.get::<EndpointSlice>("ours").is_some();
            slice(&cluster, "own", KUBERNETES, true);
            there
        });
        put_back(&fake).await.unwrap();
        assert!(own.await.unwrap(), "callers were led nowhere");
        assert!(fake.get::<EndpointSlice>("ours").is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_looked_at_or_taken_away_keeps_no_service_from_being_put_back() {
        for refused in ["GET", "DELETE"] {
            let fake = orders(true);
            fake.refuse(move |what| {
                (what.starts_with(refused) && what.contains("endpointslices"))
                    .then_some(StatusCode::FORBIDDEN)
            });
            put_back(&fake).await.unwrap();
            let changes = fake.changes();
            assert!(changes.contains(&"PATCH services/orders".to_owned()), "{changes:?}");
            assert_eq!(fake.get::<EndpointSlice>("ours").is_some(), refused == "DELETE");
        }
    }
}
