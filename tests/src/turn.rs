//! Turns: of the scenarios that load the machine only a few run at once.

use std::sync::{Condvar, Mutex, PoisonError};

/// So many at once.
#[derive(Debug)]
pub(crate) struct Turns {
    most: usize,
    running: Mutex<usize>,
    next: Condvar,
}

/// One of those that run; dropped, the next one may.
#[derive(Debug)]
pub(crate) struct Turn<'a>(&'a Turns);

impl Turns {
    pub(crate) const fn new(most: usize) -> Self {
        Self { most, running: Mutex::new(0), next: Condvar::new() }
    }

    /// Waits for it. Blocks its thread, so it is for the time before a scenario's own begins.
    pub(crate) fn take(&self) -> Turn<'_> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.next.wait_while(running, |running| *running >= self.most);
        *waited.unwrap_or_else(PoisonError::into_inner) += 1;
        Turn(self)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.running.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.next.notify_one();
    }
}
