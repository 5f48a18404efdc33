//! What somebody may do to the objects of an interceptor that serves: it is noticed, and made good.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use serde_json::json;

use super::Interceptor;
use crate::cluster::agent_file::Restorer;
use crate::cluster::{Cluster, agent_config_map, api, names};
use crate::session::Shared;
use crate::{Deadline, Result};

/// Whether an interceptor is as it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::exchange) enum Whole {
    Yes,
    /// Nothing leads from it to the original pods.
    NoWayBack,
    /// It has so many pods, of which one leads to this machine.
    Scaled(i32),
}

impl Interceptor {
    /// Makes the files again that its pods are made from, should somebody have deleted them.
    pub(in crate::exchange) async fn restock(&self, shared: &Shared, deadline: Deadline) -> Result<()> {
        let owners = self.base.as_ref().and_then(|base| base.owner_references.as_ref());
        let Some(owner) = owners.and_then(|owners| owners.first()) else { return Ok(()) };
        let restorer = shared.restorer().filter(|_| self.nets.restore).map(Restorer::piece);
        for piece in [shared.agent()?.piece(), restorer] {
            agent_config_map::ensure(&shared.cluster, piece, deadline).await?;
            agent_config_map::own(&shared.cluster, piece, owner.clone(), deadline).await?;
        }
        Ok(())
    }

    /// What somebody has done to it.
    pub(in crate::exchange) async fn inspect(&self, cluster: &Cluster, deadline: Deadline) -> Result<Whole> {
        let back = names::pass_through(&self.name);
        let (way_back, deployment) = tokio::try_join!(
            cluster.find::<Service>(&back, deadline),
            cluster.find::<Deployment>(&self.name, deadline),
        )?;
        if way_back.is_none_or(|back| back.metadata.deletion_timestamp.is_some()) {
            return Ok(Whole::NoWayBack);
        }
        let replicas = deployment.and_then(|found| found.spec?.replicas).unwrap_or(1);
        Ok(if replicas > 1 { Whole::Scaled(replicas) } else { Whole::Yes })
    }

    /// One pod again.
    pub(in crate::exchange) async fn one_pod(&self, cluster: &Cluster, deadline: Deadline) -> Result<()> {
        let patch = api::patch(json!([{ "op": "replace", "path": "/spec/replicas", "value": 1 }]))?;
        cluster.json_patch::<Deployment>(&self.name, patch, deadline).await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;
    use crate::cluster::api::fake::Fake;
    use crate::{AgentSource, Config};

    #[tokio::test(start_paused = true)]
    async fn the_agents_file_is_made_again() {
        let fake = Fake::default();
        let source = AgentSource::Bytes(b"\x7fELF and so on".to_vec().into());
        let shared = Shared::over(Config::new().agent(source), fake.cluster(), None);
        let labels = names::labels(names::ROLE_INTERCEPTOR, "kt-orders-0123456789");
        fake.put::<Deployment>(
            json!({ "metadata": { "name": "kt-orders-0123456789", "uid": "d1", "labels": labels } }),
        );
        let interceptor = Interceptor::left_behind(&fake.get("kt-orders-0123456789").unwrap()).unwrap();
        for _ in 0..2 {
            interceptor.restock(&shared, Deadline::secs(5)).await.unwrap();
        }
        let name = names::agent_config_map(shared.agent().unwrap().hash());
        assert_eq!(fake.changes(), [format!("POST configmaps/{name}"), format!("PATCH configmaps/{name}")]);
        let owners = fake.get::<ConfigMap>(&name).unwrap().metadata.owner_references.unwrap();
        assert_eq!(owners.iter().map(|owner| owner.uid.as_str()).collect::<Vec<_>>(), ["d1"]);
    }
}
