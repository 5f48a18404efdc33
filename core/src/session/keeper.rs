//! The session's own task: renews its Lease, and brings about its end.

use std::sync::Arc;
use std::time::Duration;

use super::pulse::Pulse;
use crate::cluster::lease;
use crate::session::Shared;
use crate::{Deadline, Result, SessionState};

/// A close is tried for at least this long, and goes on in the background when its caller waits less.
const WORK: Duration = Duration::from_secs(60);

/// Starts the keeper. It outlives the session's other tasks, since it is the one that stops them, and
/// ends with the session.
pub(crate) fn spawn(shared: &Arc<Shared>, guard: impl Send + 'static) {
    tokio::spawn(keep(shared.clone(), guard));
}

async fn keep(shared: Arc<Shared>, guard: impl Send) {
    let mut panicked = shared.tasks.panicked();
    let mut pulse = Pulse::new();
    let (deadline, forced) = loop {
        tokio::select! {
            deadline = shared.ending.asked() => break (deadline, None),
            Ok(()) = panicked.changed() => {
                let task = panicked.borrow().unwrap_or_default();
                let reason = format!("a fault of kubetether itself: its task `{task}` panicked");
                break (Deadline::secs(30), Some(reason));
            }
            () = shared.look.notified() => pulse.hurry(),
            () = tokio::time::sleep_until(pulse.due()) => tokio::select! {
                // The wish to end comes first.
                _ = shared.ending.asked() => {}
                gone = pulse.beat(&shared) => if gone.is_some() {
                    break (Deadline::secs(30), gone);
                },
            },
        }
    };
    shared.ending.ask(deadline);
    shared.set_state(SessionState::Closing);
    let outcome = close(&shared, deadline, forced.as_deref()).await;
    shared.tasks.stop();
    shared.tasks.stopped().await;
    let reason = forced.unwrap_or_else(|| "as asked".to_owned());
    let reason = match &outcome {
        Ok(()) => reason,
        Err(error) => format!("{reason}; {error}"),
    };
    // What it holds may be all that this runs on: from here on nothing waits.
    drop(guard);
    shared.set_state(SessionState::Closed(reason));
    shared.ending.done(outcome);
}

/// Closes everything, last things first; goes on after an error, and returns the first.
async fn close(shared: &Arc<Shared>, deadline: Deadline, forced: Option<&str>) -> Result<()> {
    // Whatever the caller's patience, putting back is tried for this long.
    let work = deadline.at_least(WORK);
    let mut first = Ok(());
    let mut note = |result: Result<()>| {
        if let Err(error) = result {
            tracing::debug!(error = error.report(), "closing a session");
            first = std::mem::replace(&mut first, Ok(())).and(Err(error));
        }
    };
    const STEPS: u32 = 4;
    shared.hub.progress(None, 1, STEPS, "ending what is in force");
    // All at once: a Service must not wait until the connections of another one are drained.
    loop {
        let lives = shared.living();
        if lives.is_empty() || work.left().is_zero() {
            break;
        }
        lives.iter().rev().for_each(|life| match forced {
            Some(reason) => life.force_to_end(reason, deadline),
            None => life.ask_to_end(deadline),
        });
        for life in lives.iter().rev() {
            note(life.close(work).await);
        }
    }
    shared.hub.progress(None, 2, STEPS, "taking the interceptors away");
    let kept = shared.take_all_kept();
    let removals = kept.iter().map(|kept| kept.remove(shared, work));
    futures_util::future::join_all(removals).await.into_iter().for_each(&mut note);
    shared.chores_done(work).await;
    // Those that had to stay until their Services lead elsewhere.
    for left in shared.take_all_left() {
        note(left.remove(shared, work).await);
    }
    shared.hub.progress(None, 3, STEPS, "taking the gateway away");
    note(shared.gateway.release(shared, work).await);
    shared.hub.progress(None, 4, STEPS, "taking the Lease away");
    note(lease::delete(&shared.cluster, &shared.id, work).await);
    first
}
