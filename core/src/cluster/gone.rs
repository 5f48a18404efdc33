//! Waiting until an object is gone.

use std::time::Duration;

use super::Cluster;
use super::api::{Object, is_passing, object};
use crate::backoff::{Backoff, Pace};
use crate::{Deadline, Error, ErrorCode, Result};

/// Between two looks. A watch would be quicker by as much, and needs a right more.
const LOOK: Duration = Duration::from_millis(50);

/// Returns when there is no object of that name.
pub(crate) async fn wait<K: Object>(cluster: &Cluster, name: &str, deadline: Deadline) -> Result<()> {
    wait_while::<K>(cluster, name, |_| true, deadline).await
}

/// Returns when there is no object of that name, or another one.
pub(crate) async fn wait_for<K: Object>(
    cluster: &Cluster,
    name: &str,
    uid: &str,
    deadline: Deadline,
) -> Result<()> {
    wait_while(cluster, name, |found: &K| found.meta().uid.as_deref() == Some(uid), deadline).await
}

async fn wait_while<K: Object>(
    cluster: &Cluster,
    name: &str,
    same: impl Fn(&K) -> bool,
    deadline: Deadline,
) -> Result<()> {
    let mut backoff = Backoff::new(Pace { first: LOOK, last: Duration::from_secs(1) });
    loop {
        let pause = match cluster.find::<K>(name, deadline).await {
            Ok(Some(found)) if same(&found) => LOOK,
            Ok(_) => return Ok(()),
            Err(error) if is_passing(&error) && !deadline.left().is_zero() => backoff.after(&error),
            Err(error) => return Err(error),
        };
        if deadline.left() <= pause {
            return Err(Error::deadline(format_args!(
                "deleting {} in namespace {}",
                object::<K>(name),
                cluster.namespace()
            ))
            .on(object::<K>(name))
            .try_this("it is marked for deletion; `kubectl describe` tells what holds it"));
        }
        tokio::time::sleep(pause).await;
    }
}

/// The same for a kind that this user may not be allowed to read, which ends the wait.
pub(crate) async fn wait_if_allowed<K: Object>(
    cluster: &Cluster,
    name: &str,
    deadline: Deadline,
) -> Result<()> {
    match wait::<K>(cluster, name, deadline).await {
        Err(error) if error.code() == ErrorCode::Forbidden => Ok(()),
        other => other,
    }
}
