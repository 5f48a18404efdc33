//! The controllers: whenever something has changed, all of them look at everything and bring it nearer to what is
//! wanted. A cluster of the tests' size does not need more.

mod deployment;
mod endpoints;
mod job;
mod namespace;
mod nodes;
mod pods;
mod replicas;
mod stateful;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::gc;
use crate::store::{Inner, Store};

pub(crate) use self::nodes::NODE_READY;

/// Rounds after one change; a controller that still is not content goes on with the next change.
const ROUNDS: usize = 50;
/// Without a change: for what only time brings, as a Job's end.
const TICK: Duration = Duration::from_millis(500);

/// Runs all controllers until `stop`.
pub(crate) async fn run(store: Arc<Store>, stop: CancellationToken) {
    let mut changed = store.subscribe();
    loop {
        store.with(settle);
        tokio::select! {
            () = stop.cancelled() => return,
            // The store goes only after its controllers.
            _ = changed.changed() => {}
            () = tokio::time::sleep(TICK) => {}
        }
        changed.mark_unchanged();
    }
}

/// Rounds of all controllers, until nothing changes any more.
pub(crate) fn settle(store: &mut Inner) {
    for _ in 0..ROUNDS {
        let before = store.version();
        gc::collect(store);
        namespace::equip(store);
        deployment::reconcile(store);
        replicas::reconcile(store);
        stateful::reconcile(store);
        stateful::reconcile_daemons(store);
        job::reconcile(store);
        nodes::schedule(store);
        nodes::leave_lost_nodes(store);
        pods::budgets(store);
        endpoints::reconcile(store);
        if store.version() == before {
            return;
        }
    }
    tracing::debug!("the controllers are not content after {ROUNDS} rounds");
}
