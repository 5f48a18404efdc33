//! The tasks of a session: all end with it, and a panic in one is not silent.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Owns tasks; a cheap handle.
#[derive(Clone, Debug)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
    // a task that panicked -> the session's keeper
    panicked: Arc<watch::Sender<Option<&'static str>>>,
}

impl Tasks {
    pub(crate) fn new() -> Self {
        Self {
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
            panicked: Arc::new(watch::Sender::new(None)),
        }
    }

    /// Runs `task` until it ends or the session has ended.
    pub(crate) fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let watchman = Watchman { name, panicked: self.panicked.clone() };
        let stopped = self.stop.clone().cancelled_owned();
        self.tracker.spawn(async move {
            let _watchman = watchman;
            tokio::select! {
                () = task => {}
                () = stopped => {}
            }
        });
    }

    /// The name of the first task that panicked, as soon as one has.
    pub(crate) fn panicked(&self) -> watch::Receiver<Option<&'static str>> {
        self.panicked.subscribe()
    }

    /// Ends all tasks, without waiting.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
        self.tracker.close();
    }

    /// Waits until all tasks have ended. Call [`stop`](Self::stop) first.
    pub(crate) async fn stopped(&self) {
        self.tracker.wait().await;
    }
}

/// Dropped with its task; while it unwinds if the task panics.
struct Watchman {
    name: &'static str,
    panicked: Arc<watch::Sender<Option<&'static str>>>,
}

impl Drop for Watchman {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.panicked.send_if_modified(|first| {
                let new = first.is_none();
                first.get_or_insert(self.name);
                new
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_told() {
        let tasks = Tasks::new();
        let mut panicked = tasks.panicked();
        tasks.spawn("clumsy", async { panic!("on purpose") });
        panicked.changed().await.unwrap();
        assert_eq!(*panicked.borrow(), Some("clumsy"));
    }

    #[tokio::test]
    async fn stopping_ends_all() {
        let tasks = Tasks::new();
        tasks.spawn("endless", std::future::pending());
        tasks.stop();
        tasks.stopped().await;
        assert_eq!(*tasks.panicked().borrow(), None);
    }
}
