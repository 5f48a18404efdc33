//! What a server has answered to the tries that were made already, for whom whose deadline ends them.

use std::sync::{Arc, Mutex, PoisonError};

use http::StatusCode;

tokio::task_local! {
    static HEARD: Heard;
}

/// The last refusal of a request that is tried again; a cheap handle.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard(Arc<Mutex<Option<StatusCode>>>);

impl Heard {
    /// Runs a request, and hears what it is refused with.
    pub(crate) async fn over<T>(&self, request: impl Future<Output = T>) -> T {
        HEARD.scope(self.clone(), request).await
    }

    /// What it was refused with at last; `None` when it was not, or nobody answered.
    pub(crate) fn last(&self) -> Option<StatusCode> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The request that this task makes was refused for now, and is made again.
pub(super) fn tell(status: StatusCode) {
    // Nobody need listen.
    let _ = HEARD.try_with(|heard| {
        heard.0.lock().unwrap_or_else(PoisonError::into_inner).replace(status);
    });
}
