//! An end that many may ask for and wait for, and one task brings about.

use std::fmt;

use tokio::sync::watch;

use crate::{Deadline, Error, Result};

/// The wish for an end, and its outcome.
#[derive(Debug)]
pub(crate) struct Ending {
    // whoever wants the end -> the task that brings it about
    wish: watch::Sender<Option<Deadline>>,
    // that task -> whoever waits
    outcome: watch::Sender<Option<Result<()>>>,
}

impl Ending {
    pub(crate) fn new() -> Self {
        Self { wish: watch::Sender::new(None), outcome: watch::Sender::new(None) }
    }

    /// Asks for the end without waiting; the first one's deadline counts.
    pub(crate) fn ask(&self, deadline: Deadline) {
        self.wish.send_if_modified(|wish| {
            let first = wish.is_none();
            wish.get_or_insert(deadline);
            first
        });
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.wish.borrow().is_some()
    }

    /// Waits until the end is asked for. Cancel-safe.
    pub(crate) async fn asked(&self) -> Deadline {
        let mut wish = self.wish.subscribe();
        loop {
            if let Some(deadline) = *wish.borrow_and_update() {
                return deadline;
            }
            if wish.changed().await.is_err() {
                // Cannot be: the sender lives in `self`.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Tells those who wait.
    pub(crate) fn done(&self, outcome: Result<()>) {
        self.outcome.send_replace(Some(outcome));
    }

    /// Asks for the end and waits for its outcome. Cancel-safe.
    pub(crate) async fn wait(&self, what: impl fmt::Display, deadline: Deadline) -> Result<()> {
        self.ask(deadline);
        let mut outcome = self.outcome.subscribe();
        let ended = tokio::time::timeout_at(deadline.instant(), outcome.wait_for(Option::is_some)).await;
        match ended {
            Ok(Ok(outcome)) => outcome.clone().unwrap_or(Ok(())),
            Ok(Err(_)) => Err(Error::closed(what)),
            Err(_) => Err(Error::deadline(format_args!("closing the {what}")).try_this(
                "it goes on in the background as long as this process lives; close again to wait for it",
            )),
        }
    }
}
