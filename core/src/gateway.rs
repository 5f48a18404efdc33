//! The gateway: the agent that dials out into the cluster, shared by the sessions of a namespace.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Preconditions, PropagationPolicy};
use kubetether_link::Link;
use tokio::sync::{Mutex, oneshot};

use crate::cluster::agent_file::Agent;
use crate::cluster::agent_pod::{self, Host};
use crate::cluster::api::{is_already_there, is_conflict, owner_reference};
use crate::cluster::pod_wait::{self, Controller};
use crate::cluster::{Cluster, agent_config_map, agent_link, calls, gone, names, quota};
use crate::session::Shared;
use crate::{Config, Deadline, Error, ErrorCode, Result};

/// A gateway without a client ends after this long.
const IDLE: Duration = Duration::from_secs(30);
/// A gateway that did not start is taken away within this time.
const UNDO: Duration = Duration::from_secs(45);
/// Kubernetes takes a finished gateway's Job away after this long.
const FINISHED: i32 = 5;

/// The session's gateway, once something needed one.
#[derive(Debug, Default)]
pub(crate) struct GatewaySlot(Arc<Mutex<Option<Gateway>>>);

#[derive(Clone, Debug)]
struct Gateway {
    name: String,
    link: Link,
    /// The Job's, which the agent's ConfigMap knows as an owner.
    uid: String,
}

impl GatewaySlot {
    /// The link to a gateway that is up: the session's, or another one if that is gone.
    pub(crate) async fn link(&self, shared: &Arc<Shared>, deadline: Deadline) -> Result<Link> {
        let mut slot = tokio::time::timeout_at(deadline.instant(), self.0.clone().lock_owned())
            .await
            .map_err(|_| Error::deadline("waiting for the gateway"))?;
        if let Some(gateway) = slot.as_ref().filter(|gateway| gateway.link.close_reason().is_none()) {
            return Ok(gateway.link.clone());
        }
        // A task of the session goes on when the caller gives up, so that what it makes is not lost.
        let (tell, told) = oneshot::channel();
        let owner = shared.clone();
        shared.tasks.spawn("start of the gateway", async move {
            let started = attach(&owner, deadline).await;
            *slot = started.as_ref().ok().cloned();
            let _ = tell.send(started.map(|gateway| gateway.link));
        });
        told.await.unwrap_or_else(|_| Err(Error::closed("the session")))
    }

    /// Takes the gateway away unless other sessions use it.
    pub(crate) async fn release(&self, shared: &Arc<Shared>, deadline: Deadline) -> Result<()> {
        let slot = tokio::time::timeout_at(deadline.instant(), self.0.lock()).await;
        let mut slot = slot.map_err(|_| Error::deadline("waiting for the gateway that is being started"))?;
        let Some(gateway) = slot.take() else { return Ok(()) };
        match calls::drain(&gateway.link, deadline).await {
            Ok(true) => {}
            // Others use it, and the last of them takes it away.
            Ok(false) => {
                gateway.link.close(kubetether_link::GoodbyeCode::Closed, "the session ended");
                return Ok(());
            }
            // One that cannot be asked is without clients soon, and ends by itself.
            Err(error) => {
                tracing::debug!(error = error.report(), "the gateway was not drained");
                return Ok(());
            }
        }
        remove(&shared.cluster, shared.agent()?, &gateway.name, &gateway.uid, deadline).await
    }
}

/// Finds or makes the namespace's gateway for this agent, and links to it.
async fn attach(shared: &Shared, deadline: Deadline) -> Result<Gateway> {
    let agent = shared.agent()?;
    let (cluster, name) = (&shared.cluster, names::gateway(agent.hash()));
    loop {
        let (job, ours) = match Box::pin(find_or_create(shared, agent, &name, deadline)).await {
            Ok(found) => found,
            Err(error) => {
                // The ConfigMap may be there for nobody now.
                if let Err(left) = agent_config_map::disown(cluster, agent, "", Deadline::after(UNDO)).await {
                    tracing::warn!(error = left.report(), "a ConfigMap that nobody uses is left behind");
                }
                return Err(error);
            }
        };
        let uid = job.metadata.uid.clone().unwrap_or_default();
        let controller = Controller { kind: "Job", instance: &name };
        let linked = async {
            let pod = pod_wait::running(cluster, controller, deadline).await?;
            agent_link::connect(cluster, &pod, &shared.config, &shared.who, &shared.tasks, deadline).await
        };
        match linked.await {
            Ok(link) => return Ok(Gateway { name, link, uid }),
            // Its last session is taking it away right now, or its pod has just gone.
            Err(error) if agent_link::is_leaving(&error) => {
                gone::wait::<Job>(cluster, &name, deadline).await?;
            }
            Err(error) => {
                // One that does not start for us does not start for others; one that runs may be theirs.
                let useless = ours || error.code() == ErrorCode::AgentStart;
                if useless && let Err(left) = remove(cluster, agent, &name, &uid, Deadline::after(UNDO)).await
                {
                    tracing::warn!(
                        error = left.report(),
                        "a gateway that could not be started is left behind"
                    );
                }
                return Err(error);
            }
        }
    }
}

/// Deletes the Job, if it still is this one, with its pods and its share of the ConfigMap.
async fn remove(cluster: &Cluster, agent: &Agent, name: &str, uid: &str, deadline: Deadline) -> Result<()> {
    let this = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
    match cluster.delete::<Job>(name, Some(this), PropagationPolicy::Foreground, deadline).await {
        Ok(()) => gone::wait::<Job>(cluster, name, deadline).await?,
        // The name is another session's gateway's by now.
        Err(error) if is_conflict(&error) => {}
        Err(error) => return Err(error),
    }
    agent_config_map::disown(cluster, agent, uid, deadline).await
}

/// The Job, and whether it was made just now.
async fn find_or_create(
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
            Some(job) => return Ok((job, false)),
            None => {}
        }
        let ((), host) = tokio::try_join!(
            agent_config_map::ensure(cluster, agent, deadline),
            host(cluster, agent, deadline)
        )?;
        match cluster.create(&job(name, agent, &host, &shared.config), deadline).await {
            Ok(job) => {
                agent_config_map::own(cluster, agent, owner_reference(&job), deadline).await?;
                return Ok((job, true));
            }
            // Another session was quicker: its gateway will do.
            Err(error) if is_already_there(&error) => {}
            Err(error) => return Err(error),
        }
    }
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
    let mut template = agent_pod::template(agent, host, labels.clone(), &variables);
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
