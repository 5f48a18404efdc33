//! A call under way, as Python waits for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use kubetether::host::{Call, Canceller};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::errors;
use crate::outcome::Outcome;

/// Between two looks for Ctrl-C, which has to work within 100 ms.
const SLICE: Duration = Duration::from_millis(50);

/// An engine call that goes on by itself. Dropping it cancels it: a start that is cancelled leaves nothing, a close goes on.
#[pyclass(frozen, module = "kubetether._native")]
pub(crate) struct Task {
    state: Mutex<State>,
    canceller: Canceller,
}

enum State {
    /// Waited for by whoever takes it out.
    Call(Box<dyn Pending>),
    /// Somebody waits for it at the moment.
    Waiting,
    /// Its end is told to a callback.
    Told(Arc<Mutex<Option<kubetether::Result<Outcome>>>>),
    /// The outcome was taken.
    Over,
}

/// A [`Call`] of any kind.
trait Pending: Send + Sync {
    fn wait(&self, limit: Duration) -> bool;
    fn take(&self) -> Option<kubetether::Result<Outcome>>;
    fn then(self: Box<Self>, told: Told) -> Canceller;
}

type Told = Box<dyn FnOnce(kubetether::Result<Outcome>) + Send>;

impl<T: Into<Outcome> + Send + 'static> Pending for Call<T> {
    fn wait(&self, limit: Duration) -> bool {
        Self::wait(self, limit)
    }

    fn take(&self) -> Option<kubetether::Result<Outcome>> {
        Self::take(self).map(|outcome| outcome.map(Into::into))
    }

    fn then(self: Box<Self>, told: Told) -> Canceller {
        Self::then(*self, move |outcome| told(outcome.map(Into::into)))
    }
}

impl Task {
    pub(crate) fn of<T: Into<Outcome> + Send + 'static>(call: Call<T>) -> Self {
        let canceller = call.canceller();
        Self { state: Mutex::new(State::Call(Box::new(call))), canceller }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The call, for as long as it is waited for.
    fn take_call(&self) -> PyResult<Box<dyn Pending>> {
        let mut state = self.lock();
        match std::mem::replace(&mut *state, State::Waiting) {
            State::Call(call) => Ok(call),
            other @ (State::Waiting | State::Told(_) | State::Over) => {
                *state = other;
                Err(PyRuntimeError::new_err("somebody else waits for this call, or it is over"))
            }
        }
    }
}

#[pymethods]
impl Task {
    /// Waits without the GIL and looks for signals meanwhile; whether it is done within `timeout` seconds (`None`: for ever).
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        // What is too long to be a duration is for ever.
        let until = timeout
            .and_then(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)).ok())
            .and_then(|duration| Instant::now().checked_add(duration));
        let call = self.take_call()?;
        let mut done = Ok(false);
        loop {
            let left = until.map_or(SLICE, |until| until.saturating_duration_since(Instant::now()));
            if py.detach(|| call.wait(left.min(SLICE))) {
                done = Ok(true);
                break;
            }
            if let Err(interrupt) = py.check_signals() {
                done = Err(interrupt);
                break;
            }
            if left.is_zero() {
                break;
            }
        }
        *self.lock() = State::Call(call);
        done
    }

    /// Calls `callback()` once at the end, from a thread of its own or here and now.
    fn on_done(&self, py: Python<'_>, callback: Py<PyAny>) -> PyResult<()> {
        let call = self.take_call()?;
        if call.wait(Duration::ZERO) {
            *self.lock() = State::Call(call);
            callback.call0(py)?;
            return Ok(());
        }
        let teller = match teller() {
            Ok(teller) => teller,
            Err(error) => {
                *self.lock() = State::Call(call);
                return Err(error);
            }
        };
        let cell = Arc::new(Mutex::new(None));
        *self.lock() = State::Told(cell.clone());
        py.detach(|| {
            call.then(Box::new(move |outcome| {
                *cell.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
                let _ = teller.send(callback);
            }))
        });
        Ok(())
    }

    /// The outcome, once; raises what the call ended with.
    fn result(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let outcome = {
            let mut state = self.lock();
            let outcome = match &*state {
                State::Call(call) => call.take(),
                State::Told(cell) => cell.lock().unwrap_or_else(PoisonError::into_inner).take(),
                State::Waiting | State::Over => None,
            };
            if outcome.is_some() {
                *state = State::Over;
            }
            outcome
        };
        match outcome {
            Some(Ok(outcome)) => outcome.into_python(py),
            Some(Err(error)) => Err(errors::raise(py, &error)),
            None => Err(PyRuntimeError::new_err("the call goes on, or its outcome was taken")),
        }
    }

    /// Ends it with `CancelledError` of this package. A close that is cancelled goes on in the background.
    fn cancel(&self, py: Python<'_>) {
        py.detach(|| self.canceller.cancel());
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        // A call whose end is told goes on without its handle.
        if matches!(*self.lock(), State::Told(_)) {
            self.canceller.cancel();
        }
    }
}

/// Where callbacks are called from: a thread that may wait for the GIL, which those of the engine must not. Each process has its
/// own: of the parent's, a forked one has the channel and no thread.
fn teller() -> PyResult<mpsc::Sender<Py<PyAny>>> {
    static TELLER: Mutex<Option<(u32, mpsc::Sender<Py<PyAny>>)>> = Mutex::new(None);
    // Taken with the GIL only, as forks are made: nobody has it in a process that was just forked.
    let mut teller = TELLER.lock().unwrap_or_else(PoisonError::into_inner);
    let process = std::process::id();
    if let Some((of, sender)) = &*teller
        && *of == process
    {
        return Ok(sender.clone());
    }
    // calls that end -> the thread that tells; never more than there are calls
    let (sender, callbacks) = mpsc::channel::<Py<PyAny>>();
    std::thread::Builder::new().name("kubetether-tell".into()).spawn(move || {
        for callback in callbacks {
            // `None` while the interpreter ends: nobody is there to be told.
            let told = Python::try_attach(|py| {
                if let Err(error) = callback.call0(py) {
                    error.write_unraisable(py, None);
                }
                drop(callback);
            });
            if told.is_none() {
                return;
            }
        }
    })?;
    // The parent's end is not closed here: its thread may have been at work in it.
    std::mem::forget(teller.replace((process, sender.clone())));
    Ok(sender)
}
