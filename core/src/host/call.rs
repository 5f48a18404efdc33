//! One engine call under way, for whoever waits for it in the way of its language.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::task::AbortHandle;

use crate::blocking::runtime::Runtime;
use crate::deadline::YEAR;
use crate::{Error, ErrorCode, Result};

/// A call that goes on by itself, on the threads of [`blocking`](crate::blocking).
///
/// Its outcome is waited for in slices ([`wait`](Self::wait) and [`take`](Self::take)), or told to a callback
/// ([`then`](Self::then)). Dropping it cancels it: a start that is cancelled leaves nothing, a close goes on in the background.
#[must_use = "a call that is dropped is cancelled"]
pub struct Call<T> {
    shared: Arc<Shared<T>>,
    task: Option<AbortHandle>,
    /// What it runs on.
    _runtime: Option<Runtime>,
}

/// Cancels a call from anywhere; does nothing when it is dropped, or after the end of the call.
#[derive(Clone)]
pub struct Canceller(Arc<dyn Fn() + Send + Sync>);

struct Shared<T> {
    state: Mutex<State<T>>,
    done: Condvar,
}

enum State<T> {
    Running(Option<Callback<T>>),
    Done(Result<T>),
    Taken,
}

type Callback<T> = Box<dyn FnOnce(Result<T>) + Send>;

impl<T: Send + 'static> Call<T> {
    /// Begins `work` on the shared runtime; what keeps it from that is its outcome.
    pub(super) fn begin(
        runtime: Result<Runtime>,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Self {
        let shared = Arc::new(Shared { state: Mutex::new(State::Running(None)), done: Condvar::new() });
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                shared.finish(Err(error));
                return Self { shared, task: None, _runtime: None };
            }
        };
        // A call whose handle is gone goes on, and so does what it runs on.
        let (teller, kept) = (shared.clone(), runtime.clone());
        let task = runtime.spawn(async move {
            let outcome = AssertUnwindSafe(work).catch_unwind().await;
            // First: who has closed all there was may fork, and in the child nothing of this may be left.
            drop(kept);
            teller.finish(outcome.unwrap_or_else(|panic| Err(panicked(&*panic))));
        });
        Self { shared, task, _runtime: Some(runtime) }
    }

    /// One whose outcome is known.
    pub(super) fn ready(outcome: Result<T>) -> Self {
        let state = Mutex::new(State::Done(outcome));
        Self { shared: Arc::new(Shared { state, done: Condvar::new() }), task: None, _runtime: None }
    }

    /// Waits up to `limit`; whether it is done. Blocks this thread, and may be called again.
    #[must_use]
    pub fn wait(&self, limit: Duration) -> bool {
        let until = Instant::now() + limit.min(YEAR);
        let mut state = self.shared.lock();
        while matches!(*state, State::Running(_)) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.shared.done.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// The outcome, once; `None` while it goes on.
    #[must_use]
    pub fn take(&self) -> Option<Result<T>> {
        let mut state = self.shared.lock();
        match std::mem::replace(&mut *state, State::Taken) {
            State::Done(outcome) => Some(outcome),
            other => {
                *state = other;
                None
            }
        }
    }

    /// Waits for the outcome as long as it takes; for callers that need not be interrupted.
    ///
    /// # Errors
    /// That of the call.
    pub fn join(self) -> Result<T> {
        while !self.wait(YEAR) {}
        self.take().unwrap_or_else(|| Err(Error::closed("the call")))
    }

    /// Has `callback` called with the outcome, once: by a thread of the runtime at the end of the call, or here and now if it
    /// is done. It must not block. The call goes on without its handle; the canceller ends it.
    pub fn then(self, callback: impl FnOnce(Result<T>) + Send + 'static) -> Canceller {
        let canceller = self.canceller();
        let outcome = {
            let mut state = self.shared.lock();
            match std::mem::replace(&mut *state, State::Taken) {
                State::Running(_) => {
                    *state = State::Running(Some(Box::new(callback)));
                    None
                }
                State::Done(outcome) => Some((outcome, callback)),
                State::Taken => None,
            }
        };
        if let Some((outcome, callback)) = outcome {
            callback(outcome);
        }
        let mut this = self;
        this.task = None;
        canceller
    }

    /// For cancelling it from elsewhere.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        let (shared, task) = (self.shared.clone(), self.task.clone());
        Canceller(Arc::new(move || shared.cancel(task.as_ref())))
    }
}

impl Canceller {
    /// Ends the call, if it goes on, with [`Cancelled`](ErrorCode::Cancelled).
    pub fn cancel(&self) {
        (self.0)();
    }
}

impl<T> Drop for Call<T> {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first outcome counts.
    fn finish(&self, outcome: Result<T>) {
        let callback = {
            let mut state = self.lock();
            match std::mem::replace(&mut *state, State::Taken) {
                State::Running(None) => {
                    *state = State::Done(outcome);
                    None
                }
                State::Running(Some(callback)) => Some((callback, outcome)),
                other => {
                    *state = other;
                    None
                }
            }
        };
        self.done.notify_all();
        if let Some((callback, outcome)) = callback
            && let Err(panic) = catch_unwind(AssertUnwindSafe(|| callback(outcome)))
        {
            tracing::error!(panic = text(&*panic), "a callback panicked");
        }
    }

    fn cancel(&self, task: Option<&AbortHandle>) {
        if let Some(task) = task {
            task.abort();
        }
        self.finish(Err(Error::new(ErrorCode::Cancelled, "the call was cancelled")));
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Error {
    Error::new(ErrorCode::Internal, format!("a fault of kubetether itself: {}", text(panic)))
}

fn text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without words")
}

impl<T> fmt::Debug for Call<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("running", &matches!(*self.shared.lock(), State::Running(_))).finish()
    }
}

impl fmt::Debug for Canceller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Canceller")
    }
}
