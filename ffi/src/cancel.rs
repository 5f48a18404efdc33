//! Ending a call that waits, from another thread.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kubetether::Result;
use kubetether::host::{Call, Canceller};

use crate::arguments::Out;
use crate::handle::{self, kt_cancel};
use crate::status::{KT_ARGUMENT, KT_OK, kt_status};

/// Whether it was said, and the calls that end by it.
#[derive(Debug, Default)]
pub struct Cancel(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    said: bool,
    last: u64,
    under_way: HashMap<u64, Canceller>,
}

thread_local! {
    /// By what the calls of this thread can be ended.
    static USED: RefCell<Option<Arc<Cancel>>> = const { RefCell::new(None) };
}

/// Waits for a call's outcome as long as it takes.
pub(crate) fn finish<T: Send + 'static>(call: Call<T>) -> Result<T> {
    let _watched = watched(&call);
    call.join()
}

/// The same within a limit; `None` when it is not over by then, and cancelled with that.
pub(crate) fn finish_within<T: Send + 'static>(call: Call<T>, limit: Duration) -> Option<Result<T>> {
    let _watched = watched(&call);
    call.wait(limit).then(|| call.join())
}

/// A call that can be ended as long as this lives.
struct Watched(Arc<Cancel>, u64);

fn watched<T: Send + 'static>(call: &Call<T>) -> Option<Watched> {
    // A thread that ends has none any more.
    let used = USED.try_with(|used| used.borrow().clone()).ok().flatten()?;
    let mut state = used.state();
    if state.said {
        drop(state);
        call.canceller().cancel();
        return None;
    }
    state.last += 1;
    let number = state.last;
    state.under_way.insert(number, call.canceller());
    drop(state);
    Some(Watched(used, number))
}

impl Drop for Watched {
    fn drop(&mut self) {
        let ended = self.0.state().under_way.remove(&self.1);
        drop(ended);
    }
}

impl Cancel {
    fn say(&self) {
        let under_way = {
            let mut state = self.state();
            state.said = true;
            std::mem::take(&mut state.under_way)
        };
        under_way.values().for_each(Canceller::cancel);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

exports! {
    /// Makes what calls can be ended by.
    call fn kt_cancel_new(cancel: *mut *mut kt_cancel) {
        Out::new(cancel, "cancel")?.put(Cancel::default());
        Ok(())
    }

    /// From now on those calls of this thread that wait can be ended by `cancel`; by nothing, as at first, when it is NULL.
    call fn kt_cancel_use(cancel: *const kt_cancel) {
        let cancel = if cancel.is_null() { None } else { Some(handle::get(cancel)?) };
        let before = USED.try_with(|used| used.replace(cancel));
        drop(before);
        Ok(())
    }

    /// Ends the calls of all threads that use it, those that wait now and those to come, with `KT_CANCELLED`. A start that is ended leaves
    /// nothing, a close goes on in the background, no event is lost. Any thread may call it, but no signal handler.
    plain fn kt_cancel_now(cancel: *const kt_cancel) -> kt_status {
        let Some(cancel) = handle::find(cancel) else { return KT_ARGUMENT };
        cancel.say();
        KT_OK
    }

    /// Frees it; threads that use it cannot be told any more.
    plain fn kt_cancel_free(cancel: *mut kt_cancel) -> kt_status {
        handle::free(cancel)
    }
}

#[cfg(test)]
mod tests {
    use kubetether::ErrorCode;
    use kubetether::host::Host;

    use super::*;

    fn use_it(cancel: Option<&Arc<Cancel>>) {
        USED.with(|used| used.replace(cancel.cloned()));
    }

    #[test]
    fn what_was_said_ends_calls_to_come_until_the_thread_uses_it_no_more() {
        let cancel = Arc::new(Cancel::default());
        cancel.say();
        use_it(Some(&cancel));
        // Refused before it would look for a cluster.
        let nowhere = || Host::new().status(r#"{"kubeconfig": "/nowhere/at/all"}"#, "{}");
        let ended = finish(nowhere()).unwrap_err().code();
        assert!([ErrorCode::Cancelled, ErrorCode::Kubeconfig].contains(&ended), "{ended:?}");
        use_it(None);
        assert_eq!(finish(nowhere()).unwrap_err().code(), ErrorCode::Kubeconfig);
    }

    #[test]
    fn a_call_that_is_over_is_watched_no_more() {
        let cancel = Arc::new(Cancel::default());
        use_it(Some(&cancel));
        let call = Host::new().status(r#"{"kubeconfig": "/nowhere/at/all"}"#, "{}");
        let watching = watched(&call);
        assert_eq!(cancel.state().under_way.len(), 1);
        drop(watching);
        assert!(cancel.state().under_way.is_empty());
        use_it(None);
        drop(call);
    }
}
