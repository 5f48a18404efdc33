//! Events, pulled.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;

use super::{Call, json};
use crate::blocking::runtime::Runtime;
use crate::{Event, Result};

/// A subscription to what happens in a session. [`ready`](Self::ready) waits, [`take`](Self::take) takes; so a wait that is
/// given up loses nothing.
#[derive(Debug)]
pub struct Events {
    runtime: Runtime,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Whoever waits has it.
    source: tokio::sync::Mutex<crate::Events>,
    next: Mutex<Next>,
}

#[derive(Debug, Default)]
struct Next {
    /// Received and not taken: one or two, since the subscription itself is the queue.
    event: VecDeque<String>,
    dropped: u64,
    over: bool,
}

impl Events {
    pub(super) fn new(events: crate::Events, runtime: Runtime) -> Self {
        let shared = Shared { source: tokio::sync::Mutex::new(events), next: Mutex::default() };
        Self { runtime, shared: Arc::new(shared) }
    }

    /// Whether it may be asked what is there: [`ready`](Self::ready) looks for itself.
    ///
    /// # Errors
    /// [`Forked`](crate::ErrorCode::Forked) in a process that was forked from its own.
    pub fn check(&self) -> Result<()> {
        self.runtime.check()
    }

    /// Waits until there is an event to be taken; `false` at the end, when there never will be one again.
    pub fn ready(&self) -> Call<bool> {
        let next = self.shared.next();
        if !next.event.is_empty() || next.over {
            return Call::ready(Ok(!next.event.is_empty()));
        }
        drop(next);
        let shared = self.shared.clone();
        Call::begin(self.runtime.check().map(|()| self.runtime.clone()), async move { shared.fill().await })
    }

    /// The next event (`Event` of the schema), if there is one already.
    #[must_use]
    pub fn take(&self) -> Option<String> {
        if let Some(event) = self.shared.next().event.pop_front() {
            return Some(event);
        }
        // Whoever waits has the subscription, and there is nothing in it then.
        let mut source = self.shared.source.try_lock().ok()?;
        self.shared.received(source.next().now_or_never()?, source.dropped());
        drop(source);
        self.shared.next().event.pop_front()
    }

    /// How many events this subscription has lost by being slow, also when nobody takes them any more.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        // Whoever waits has the subscription, and is not behind.
        self.shared.source.try_lock().map_or_else(|_| self.shared.next().dropped, |source| source.dropped())
    }
}

impl Shared {
    async fn fill(&self) -> Result<bool> {
        let mut source = self.source.lock().await;
        {
            let next = self.next();
            if !next.event.is_empty() || next.over {
                return Ok(!next.event.is_empty());
            }
        }
        let event = source.next().await;
        // No wait between here and the return: what was received is not lost.
        Ok(self.received(event, source.dropped()))
    }

    /// Whether that was an event.
    fn received(&self, event: Option<Event>, dropped: u64) -> bool {
        let mut next = self.next();
        next.dropped = dropped;
        match event {
            Some(event) => next.event.push_back(json(&event)),
            None => next.over = true,
        }
        !next.over
    }

    fn next(&self) -> MutexGuard<'_, Next> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
