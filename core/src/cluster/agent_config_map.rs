//! The ConfigMaps that carry the agent's files, each shared by all who use a file of that content.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{Preconditions, PropagationPolicy};
use serde_json::json;

use super::agent_file::{Piece, PieceKind};
use super::agent_pod::{FILE_KEY, RESTORER_KEY};
use super::api::{is_already_there, is_conflict, is_unanswered};
use super::{Cluster, names};
use crate::{Deadline, Error, ErrorCode, Result};

/// Tries to become an owner while others make it and take it away.
const ATTEMPTS: u32 = 10;

/// Before it is made again. An API server that refuses a megabyte before it has read it all (429) closes the connection, and
/// what it said is lost with that: it may look as if it could not be reached.
const PAUSES: [Duration; 3] = [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(2)];

/// Makes sure that the ConfigMap is there. It has no owner until [`own`] gives it one.
pub(crate) async fn ensure(cluster: &Cluster, piece: Option<Piece<'_>>, deadline: Deadline) -> Result<()> {
    let Some(piece) = piece else { return Ok(()) };
    let name = name(piece);
    // A deletion under way would take it from under the pod.
    let found = cluster.find::<ConfigMap>(&name, deadline).await?;
    if found.is_some_and(|map| map.metadata.deletion_timestamp.is_none()) {
        return Ok(());
    }
    create(cluster, &name, piece, None, deadline).await.map(|_| ())
}

/// Adds an owner: the ConfigMap lives as long as the last of them.
pub(crate) async fn own(
    cluster: &Cluster,
    piece: Option<Piece<'_>>,
    owner: OwnerReference,
    deadline: Deadline,
) -> Result<()> {
    let Some(piece) = piece else { return Ok(()) };
    let name = name(piece);
    // Other sessions' ends may take it away at any moment since `ensure`, and their starts make it anew.
    let attempt = || async {
        let Some(map) = cluster.find::<ConfigMap>(&name, deadline).await? else {
            return create(cluster, &name, piece, Some(owner.clone()), deadline).await;
        };
        let mut owners = map.metadata.owner_references.unwrap_or_default();
        if owners.iter().any(|one| one.uid == owner.uid) {
            return Ok(true);
        }
        owners.push(owner.clone());
        let patch = patch_owners(map.metadata.resource_version.as_deref(), &owners)?;
        match cluster.json_patch::<ConfigMap>(&name, patch, deadline).await {
            Err(error) if error.code() == ErrorCode::NoSuchTarget => Ok(false),
            other => other.map(|_| true),
        }
    };
    for _ in 0..ATTEMPTS {
        if cluster.on_conflict_again(attempt).await? {
            return Ok(());
        }
    }
    let text = format!("configmaps/{name} was made and taken away by others {ATTEMPTS} times in a row");
    Err(Error::new(ErrorCode::Cluster, text).on(format!("configmaps/{name}")).try_this("try again"))
}

/// Takes an owner off; the last one takes the ConfigMap along.
pub(crate) async fn disown(
    cluster: &Cluster,
    piece: Option<Piece<'_>>,
    owner_uid: &str,
    deadline: Deadline,
) -> Result<()> {
    let Some(piece) = piece else { return Ok(()) };
    let name = name(piece);
    let attempt = || async {
        let Some(map) = cluster.find::<ConfigMap>(&name, deadline).await? else { return Ok(()) };
        let version = map.metadata.resource_version;
        let mut owners = map.metadata.owner_references.unwrap_or_default();
        owners.retain(|one| one.uid != owner_uid);
        if !owners.is_empty() {
            let patch = patch_owners(version.as_deref(), &owners)?;
            return match cluster.json_patch::<ConfigMap>(&name, patch, deadline).await {
                Err(error) if error.code() == ErrorCode::NoSuchTarget => Ok(()),
                other => other.map(|_| ()),
            };
        }
        // Whoever became an owner meanwhile changed the version, and this is tried again.
        let unchanged = Preconditions { resource_version: version, uid: map.metadata.uid };
        cluster.delete::<ConfigMap>(&name, Some(unchanged), PropagationPolicy::Background, deadline).await
    };
    cluster.on_conflict_again(attempt).await
}

/// The ConfigMap's name.
pub(crate) fn name(piece: Piece<'_>) -> String {
    match piece.kind {
        PieceKind::Agent => names::agent_config_map(piece.hash),
        PieceKind::Restorer => names::restorer_config_map(piece.hash),
    }
}

fn key(piece: Piece<'_>) -> &'static str {
    match piece.kind {
        PieceKind::Agent => FILE_KEY,
        PieceKind::Restorer => RESTORER_KEY,
    }
}

/// Makes it; `false` when it is there already.
async fn create(
    cluster: &Cluster,
    name: &str,
    piece: Piece<'_>,
    owner: Option<OwnerReference>,
    deadline: Deadline,
) -> Result<bool> {
    let map = ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.into()),
            labels: Some(BTreeMap::from([(names::MANAGED_BY.into(), names::KUBETETHER.into())])),
            owner_references: owner.map(|owner| vec![owner]),
            ..Default::default()
        },
        immutable: Some(true),
        binary_data: Some(BTreeMap::from([(key(piece).into(), ByteString(piece.bytes.to_vec()))])),
        ..Default::default()
    };
    let mut pauses = PAUSES.into_iter();
    loop {
        match cluster.create(&map, deadline).await {
            // Somebody with the same agent was quicker.
            Err(error) if is_already_there(&error) || is_conflict(&error) => return Ok(false),
            Err(error) if is_unanswered(&error) => match pauses.next() {
                Some(pause) if pause < deadline.left() => tokio::time::sleep(pause).await,
                _ => return Err(error),
            },
            other => return other.map(|_| true),
        }
    }
}

fn patch_owners(version: Option<&str>, owners: &[OwnerReference]) -> Result<json_patch::Patch> {
    super::api::patch(json!([
        { "op": "test", "path": "/metadata/resourceVersion", "value": version },
        { "op": "add", "path": "/metadata/ownerReferences", "value": owners },
    ]))
}
