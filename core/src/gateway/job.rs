//! The gateway's Job: found, made, taken away.

use std::time::Duration;

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Preconditions, PropagationPolicy};

use crate::cluster::agent_file::Agent;
use crate::cluster::agent_pod::{self, Host};
use crate::cluster::api::{is_already_there, is_conflict, owner_reference};
use crate::cluster::{Cluster, agent_config_map, gone, names, pod_wait, quota};
use crate::session::Shared;
use crate::{Config, Deadline, Error, ErrorCode, Result};

/// A gateway without a client ends after this long.
const IDLE: Duration = Duration::from_secs(30);
/// Kubernetes takes a finished gateway's Job away after this long.
const FINISHED: i32 = 5;

/// Deletes the Job, if it still is this one, with its pods and its share of the ConfigMap.
pub(super) async fn remove(
    cluster: &Cluster,
    agent: &Agent,
    name: &str,
    uid: &str,
    deadline: Deadline,
) -> Result<()> {
    let this = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
    match cluster.delete::<Job>(name, Some(this), PropagationPolicy::Foreground, deadline).await {
        Ok(()) => gone::wait::<Job>(cluster, name, deadline).await?,
        // The name is another session's gateway's by now.
        Err(error) if is_conflict(&error) => {}
        Err(error) => return Err(error),
    }
    agent_config_map::disown(cluster, agent.piece(), uid, deadline).await
}

/// The Job, and whether it was made just now.
pub(super) async fn find_or_create(
    shared: &Shared,
    agent: &Agent,
    name: &str,
    deadline: Deadline,
) -> Result<(Job, bool)> {
    let cluster = &shared.cluster;
    loop {
        match cluster.find::<Job>(name, deadline).await? {
            Some(job) if is_over(&job) => {
                cluster.delete::<Job>(name, None, PropagationPolicy::Foreground, deadline).await?;
                gone::wait::<Job>(cluster, name, deadline).await?;
            }
            // Kubernetes would make its next pod after ten seconds and more.
            Some(job) if is_bereft(cluster, &job, deadline).await? => {
                discard(cluster, &job, deadline).await?
            }
            Some(job) => return Ok((job, false)),
            None => {}
        }
        let ((), host) = tokio::try_join!(
            agent_config_map::ensure(cluster, agent.piece(), deadline),
            host(cluster, agent, deadline)
        )?;
        match cluster.create(&job(name, agent, &host, &shared.config), deadline).await {
            Ok(job) => {
                agent_config_map::own(cluster, agent.piece(), owner_reference(&job), deadline).await?;
                return Ok((job, true));
            }
            // Another session was quicker: its gateway will do.
            Err(error) if is_already_there(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Takes the Job away without waiting for its pods: those that still end their flows go on with that.
pub(super) async fn discard(cluster: &Cluster, job: &Job, deadline: Deadline) -> Result<()> {
    let name = job.metadata.name.clone().unwrap_or_default();
    let this = Preconditions { uid: job.metadata.uid.clone(), resource_version: None };
    match cluster.delete::<Job>(&name, Some(this), PropagationPolicy::Background, deadline).await {
        // Another session was quicker.
        Err(error) if is_conflict(&error) => Ok(()),
        other => other,
    }
}

/// Whether the Job has had pods, and none is left that runs or will.
pub(super) async fn is_bereft(cluster: &Cluster, job: &Job, deadline: Deadline) -> Result<bool> {
    let name = job.metadata.name.clone().unwrap_or_default();
    let pods = cluster.list::<Pod>(&pod_wait::selector(&name), deadline).await?;
    let uid = job.metadata.uid.as_deref();
    let owned = |pod: &&Pod| {
        let owners = pod.metadata.owner_references.as_deref().unwrap_or_default();
        owners.iter().any(|owner| Some(owner.uid.as_str()) == uid)
    };
    let mut pods = pods.iter().filter(owned).peekable();
    if pods.peek().is_none() {
        let status = job.status.as_ref();
        return Ok(
            status.is_some_and(|status| status.failed.or(status.succeeded).is_some_and(|count| count > 0))
        );
    }
    Ok(pods.all(is_leaving))
}

/// The Job as it is now; `None` when it is gone, also where another one, somebody else's, has its name.
pub(super) async fn find_same(
    cluster: &Cluster,
    name: &str,
    uid: &str,
    deadline: Deadline,
) -> Result<Option<Job>> {
    let found = cluster.find::<Job>(name, deadline).await?;
    Ok(found.filter(|found| found.metadata.uid.as_deref() == Some(uid)))
}

/// Whether it is gone, or a pod of its name came to its end as a gateway does that was asked to.
pub(super) async fn has_ended_well(cluster: &Cluster, job: &Job, deadline: Deadline) -> Result<bool> {
    let name = job.metadata.name.clone().unwrap_or_default();
    let uid = job.metadata.uid.as_deref().unwrap_or_default();
    if find_same(cluster, &name, uid, deadline).await?.is_none() {
        return Ok(true);
    }
    let ended =
        |pod: &Pod| pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Succeeded");
    Ok(cluster.list::<Pod>(&pod_wait::selector(&name), deadline).await?.iter().any(ended))
}

fn is_leaving(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    pod.metadata.deletion_timestamp.is_some() || matches!(phase, Some("Failed" | "Succeeded"))
}

/// A pod of the namespace whose image the gateway can run on.
async fn host(cluster: &Cluster, agent: &Agent, deadline: Deadline) -> Result<Host> {
    let theirs = format!("{}!={}", names::MANAGED_BY, names::KUBETETHER);
    let (pods, cpu_limit) =
        tokio::join!(cluster.list::<Pod>(&theirs, deadline), quota::demands_cpu_limit(cluster, deadline));
    let host = match (pods?.iter().find_map(Host::of), agent) {
        (Some(host), _) => Ok(host),
        (None, Agent::Image { image, .. }) => Ok(Host::of_image(image)),
        (None, Agent::Carried { .. }) => Err(Error::new(
            ErrorCode::Unsupported,
            format!(
                "namespace {} has no running pod whose image the gateway could run on",
                cluster.namespace()
            ),
        )
        .try_this("start a workload there, or name an image of the agent in the settings")),
    };
    Ok(host?.limit_cpu(cpu_limit))
}

fn is_over(job: &Job) -> bool {
    let finished = job.status.as_ref().is_some_and(|status| {
        let conditions = status.conditions.as_deref().unwrap_or_default();
        conditions.iter().any(|one| {
            one.status == "True"
                && matches!(
                    one.type_.as_str(),
                    "Complete" | "Failed" | "SuccessCriteriaMet" | "FailureTarget"
                )
        })
    });
    finished || job.metadata.deletion_timestamp.is_some()
}

fn job(name: &str, agent: &Agent, host: &Host, config: &Config) -> Job {
    let labels = names::labels(names::ROLE_GATEWAY, name);
    let mut variables =
        vec![("KUBETETHER_ROLE", "gateway".to_owned()), ("KUBETETHER_IDLE", format!("{}s", IDLE.as_secs()))];
    variables.extend(agent_pod::times(config));
    let mut template = agent_pod::template(agent, host, labels.clone(), &variables, config.agent_memory);
    if let Some(spec) = &mut template.spec {
        spec.restart_policy = Some("Never".into());
    }
    Job {
        metadata: ObjectMeta { name: Some(name.into()), labels: Some(labels), ..Default::default() },
        spec: Some(JobSpec {
            backoff_limit: Some(2),
            ttl_seconds_after_finished: Some(FINISHED),
            template,
            ..Default::default()
        }),
        status: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster::api::fake::Fake;

    #[tokio::test(start_paused = true)]
    async fn a_gateway_that_another_session_had_end_is_no_failure() {
        let (fake, deadline) = (Fake::default(), Deadline::secs(5));
        let cluster = fake.cluster();
        fake.put::<Job>(json!({ "metadata": { "name": "gateway" } }));
        let job: Job = fake.get("gateway").unwrap();
        let pod = |name: &str, phase: &str| {
            let labels = names::labels(names::ROLE_GATEWAY, "gateway");
            fake.put::<Pod>(
                json!({ "metadata": { "name": name, "labels": labels }, "status": { "phase": phase } }),
            );
        };
        pod("one", "Failed");
        assert!(!has_ended_well(&cluster, &job, deadline).await.unwrap(), "it could not start");
        pod("two", "Succeeded");
        assert!(has_ended_well(&cluster, &job, deadline).await.unwrap());
        let mut other = job.clone();
        other.metadata.uid = Some("of another one".into());
        pod("two", "Failed");
        assert!(has_ended_well(&cluster, &other, deadline).await.unwrap(), "it is not there any more");
    }
}
