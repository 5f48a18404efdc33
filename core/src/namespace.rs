//! Namespaces for tests: made, and taken away with everything in them.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{DeleteParams, ObjectMeta, PostParams, Preconditions};

use crate::cluster::Cluster;
use crate::cluster::names::{KUBETETHER, MANAGED_BY};
use crate::{Config, Deadline, Error, ErrorCode, Result};

/// Between two looks whether it is gone.
const LOOK: Duration = Duration::from_millis(250);

/// Makes a namespace of this name, for a test. Needs the right to create namespaces. Not cancel-safe: a namespace may be there
/// that nobody knows of.
///
/// # Errors
/// [`Kubeconfig`](ErrorCode::Kubeconfig), [`Unreachable`](ErrorCode::Unreachable), [`Forbidden`](ErrorCode::Forbidden),
/// [`Cluster`](ErrorCode::Cluster) when there is one of that name; [`Deadline`](ErrorCode::Deadline) within the
/// [`start_deadline`](Config::start_deadline).
pub async fn create_namespace(config: &Config, name: &str) -> Result<()> {
    let deadline = Deadline::after(config.start_deadline);
    let (cluster, _) = Cluster::connect(config, deadline).await?;
    let labels = [(MANAGED_BY.to_owned(), KUBETETHER.to_owned())].into();
    let new = Namespace {
        metadata: ObjectMeta { name: Some(name.to_owned()), labels: Some(labels), ..ObjectMeta::default() },
        ..Namespace::default()
    };
    let params = PostParams { field_manager: Some(KUBETETHER.into()), ..PostParams::default() };
    let api = Api::<Namespace>::all(cluster.client().clone());
    cluster.request("create", &object(name), deadline, api.create(&params, &new)).await?;
    Ok(())
}

/// Takes a namespace away that [`create_namespace`] made, and returns when it is gone. Idempotent. Cancel-safe: the cluster goes
/// on with it.
///
/// # Errors
/// [`Unsupported`](ErrorCode::Unsupported) for a namespace of somebody else; else as [`create_namespace`].
pub async fn delete_namespace(config: &Config, name: &str, deadline: impl Into<Deadline>) -> Result<()> {
    let deadline = deadline.into();
    let (cluster, _) = Cluster::connect(config, deadline).await?;
    let api = Api::<Namespace>::all(cluster.client().clone());
    let object = object(name);
    let find = || cluster.request("get", &object, deadline, api.get_opt(name));
    let Some(found) = find().await? else { return Ok(()) };
    let ours = found.metadata.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY));
    if ours.is_none_or(|by| by != KUBETETHER) {
        return Err(Error::new(
            ErrorCode::Unsupported,
            format!("the namespace {name} was not made by kubetether"),
        )
        .on(object)
        .try_this("delete it by the means by which it was made"));
    }
    // That one, not another of its name.
    let preconditions = Preconditions { uid: found.metadata.uid.clone(), resource_version: None };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    let deleted = cluster.request("delete", &object, deadline, api.delete(name, &params)).await;
    if let Err(error) = deleted
        && error.code() != ErrorCode::NoSuchTarget
        && find().await?.is_some_and(|left| left.metadata.deletion_timestamp.is_none())
    {
        return Err(error);
    }
    while find().await?.is_some_and(|left| left.metadata.uid == found.metadata.uid) {
        if deadline.left() <= LOOK {
            return Err(Error::deadline(format_args!("the end of the namespace {name}")).on(object));
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

fn object(name: &str) -> String {
    format!("namespaces/{name}")
}
