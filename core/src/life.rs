//! The life of a handle: its state for everybody to see, a wish to end it, and how it ended.

use std::sync::{Arc, OnceLock};

use tokio::sync::watch;

use crate::ending::Ending;
use crate::event::Hub;
use crate::{Deadline, Error, ErrorCode, HandleId, HandleState, Result, Safety};

/// Shared by a handle, the task that does its work, and its session.
#[derive(Debug)]
pub(crate) struct Life {
    id: HandleId,
    what: String,
    hub: Arc<Hub>,
    state: watch::Sender<HandleState>,
    ending: Ending,
    /// Why it has to end though nobody asked for it.
    forced: OnceLock<String>,
}

impl Life {
    pub(crate) fn new(hub: &Arc<Hub>, mode: &'static str, target: &str) -> Arc<Self> {
        Arc::new(Self {
            id: hub.new_handle(mode, target),
            what: format!("{mode} of {target}"),
            hub: hub.clone(),
            state: watch::Sender::new(HandleState::Starting),
            ending: Ending::new(),
            forced: OnceLock::new(),
        })
    }

    pub(crate) fn id(&self) -> HandleId {
        self.id
    }

    pub(crate) fn state(&self) -> HandleState {
        self.state.borrow().clone()
    }

    pub(crate) fn states(&self) -> watch::Receiver<HandleState> {
        self.state.subscribe()
    }

    pub(crate) fn set(&self, state: HandleState) {
        // Nothing follows the last state.
        self.state.send_if_modified(|now| {
            let changes = !now.is_over() && *now != state;
            if changes {
                now.clone_from(&state);
                self.hub.handle(self.id, state);
            }
            changes
        });
    }

    pub(crate) fn progress(&self, step: u32, of: u32, what: impl Into<String>) {
        self.hub.progress(Some(self.id), step, of, what);
    }

    pub(crate) fn notice(&self, text: impl Into<String>) {
        self.hub.notice(Some(self.id), text);
    }

    pub(crate) fn safety(&self, safety: Safety) {
        self.hub.safety(self.id, safety);
    }

    /// Asks for the end without waiting.
    pub(crate) fn ask_to_end(&self, deadline: Deadline) {
        self.ending.ask(deadline);
    }

    /// Asks for the end for a reason that its holder did not give: it is lost, not closed.
    pub(crate) fn force_to_end(&self, reason: &str, deadline: Deadline) {
        // The first reason is the cause of the others.
        let _ = self.forced.set(reason.to_owned());
        self.ask_to_end(deadline);
    }

    /// Waits until the end is asked for. Cancel-safe.
    pub(crate) async fn end_wanted(&self) -> Deadline {
        self.ending.asked().await
    }

    /// The last word: the state, and what those get who wait for the end.
    pub(crate) fn end(&self, state: HandleState, outcome: Result<()>) {
        self.set(match (state, self.forced.get()) {
            (HandleState::Closed, Some(reason)) => HandleState::Lost(reason.clone()),
            (state, _) => state,
        });
        self.ending.done(outcome);
    }

    /// Ends the handle in any case, should its task panic.
    pub(crate) fn guard(self: &Arc<Self>) -> Guard {
        Guard(self.clone())
    }

    /// Asks for the end and waits for it. Cancel-safe.
    pub(crate) async fn close(&self, deadline: Deadline) -> Result<()> {
        self.ending.wait(&self.what, deadline).await
    }

    /// Waits until the handle is over, for whatever reason.
    pub(crate) async fn over(&self) -> HandleState {
        let mut state = self.state.subscribe();
        match state.wait_for(HandleState::is_over).await {
            Ok(state) => state.clone(),
            Err(_) => HandleState::Closed,
        }
    }
}

/// Held by the task that does a handle's work.
#[derive(Debug)]
pub(crate) struct Guard(Arc<Life>);

impl Drop for Guard {
    fn drop(&mut self) {
        if !std::thread::panicking() || self.0.state().is_over() {
            return;
        }
        let text = format!("a fault of kubetether itself: the task of the {} panicked", self.0.what);
        let error = Error::new(ErrorCode::Internal, text.clone());
        self.0.end(HandleState::Lost(text), Err(error));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_handle_that_had_to_end_says_why() {
        for (force, expected) in [(true, HandleState::Lost("deleted".into())), (false, HandleState::Closed)] {
            let life = Life::new(&Arc::new(Hub::new()), "exchange", "orders");
            match force {
                true => life.force_to_end("deleted", Deadline::secs(1)),
                false => life.ask_to_end(Deadline::secs(1)),
            }
            life.end(HandleState::Closed, Ok(()));
            assert_eq!(life.over().await, expected);
        }
    }

    #[tokio::test]
    async fn a_handle_whose_task_panics_is_over() {
        let life = Life::new(&Arc::new(Hub::new()), "forward", "db:5432");
        let guard = life.guard();
        let task = tokio::spawn(async move {
            let _guard = guard;
            panic!("on purpose");
        });
        assert!(task.await.is_err());
        assert!(matches!(life.over().await, HandleState::Lost(why) if why.contains("forward of db:5432")));
        let error = life.close(Deadline::secs(5)).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::Internal);
    }
}
