//! The one runtime of `blocking`: lazy, counted, and known not to survive a fork.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::task::AbortHandle;

use crate::{Error, ErrorCode, Result};

/// The only state of the process that the engine has.
static SHARED: Mutex<Weak<Owned>> = Mutex::new(Weak::new());

/// A handle that keeps the runtime alive.
#[derive(Clone, Debug)]
pub(crate) struct Runtime(Arc<Owned>);

#[derive(Debug)]
struct Owned {
    /// `None` only while it is dropped.
    runtime: Option<tokio::runtime::Runtime>,
    process: u32,
}

impl Runtime {
    /// The runtime that lives, or a new one.
    pub(crate) fn shared() -> Result<Self> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(owned) = shared.upgrade() {
            owned.check()?;
            return Ok(Self(owned));
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("kubetether")
            .enable_all()
            .build()
            .map_err(|error| {
                Error::new(ErrorCode::Internal, "no threads for kubetether's work").because(error)
            })?;
        let owned = Arc::new(Owned { runtime: Some(runtime), process: std::process::id() });
        *shared = Arc::downgrade(&owned);
        Ok(Self(owned))
    }

    /// `None` only while it is dropped.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> Option<AbortHandle> {
        self.0.runtime.as_ref().map(|runtime| runtime.spawn(work).abort_handle())
    }

    /// Whether its threads are there: they stay in the process that made them.
    ///
    /// # Errors
    /// [`Forked`](ErrorCode::Forked) in a process that was forked from that one.
    pub(crate) fn check(&self) -> Result<()> {
        self.0.check()
    }

    pub(crate) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        match &self.0.runtime {
            Some(runtime) => runtime.block_on(work),
            // `Drop` alone takes it out, and needs the last handle for that.
            None => unreachable!("the runtime lives as long as its handles"),
        }
    }
}

impl Owned {
    fn check(&self) -> Result<()> {
        if self.process == std::process::id() {
            return Ok(());
        }
        Err(Error::new(ErrorCode::Forked, "this process was forked from one with kubetether sessions")
            .try_this("start sessions after the fork, or start the process anew instead of forking"))
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        if self.process == std::process::id() {
            // Never blocks; tasks that are closing a dropped session are given up.
            runtime.shutdown_background();
        } else {
            // Its threads are the parent's.
            std::mem::forget(runtime);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_runtime_for_all_while_one_handle_lives() {
        let first = Runtime::shared().unwrap();
        let second = Runtime::shared().unwrap();
        assert!(Arc::ptr_eq(&first.0, &second.0));
        assert_eq!(first.block_on(async { 7 }), 7);
    }
}
