//! The state machine behind its lock, for handles, streams and tasks.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, Weak},
    task::{Context, Poll},
    time::Instant,
};

use kubetether_wire::{GoodbyeCode, Link, ResetCode, StreamError, StreamId};
use tokio::sync::{Notify, watch};

use crate::{
    AttachError, OpenError,
    acceptor::Table,
    state::{State, Wake},
};

/// One end of a link: the state machine, and everything that waits for it. Held by handles, streams and tasks alike.
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Carriers that are up.
    pub(crate) carriers: watch::Sender<usize>,
    /// Whether the peer is about to leave.
    pub(crate) draining: watch::Sender<bool>,
    /// Tasks that run for the link.
    pub(crate) tasks: watch::Sender<usize>,
    /// Whether the link is closed.
    pub(crate) closed: watch::Sender<bool>,
    /// Tells `accept` of a stream, or of the end.
    pub(crate) incoming: Notify,
    /// Tells the timer that it is to look again.
    pub(crate) timer: Notify,
    /// The agent's table the link stands in.
    table: Weak<Table>,
}

impl Shared {
    pub(crate) fn new(link: Link, table: Weak<Table>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State::new(link)),
            carriers: watch::Sender::new(0),
            draining: watch::Sender::new(false),
            tasks: watch::Sender::new(0),
            closed: watch::Sender::new(false),
            incoming: Notify::new(),
            timer: Notify::new(),
            table,
        })
    }

    /// Looks at the state without changing it.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        look(&self.lock())
    }

    /// Changes the state, and wakes whoever is concerned by what follows from it.
    pub(crate) fn act<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        let mut wake = Wake::default();
        let result = {
            let mut state = self.lock();
            let result = act(&mut state);
            state.settle(&mut wake);
            if std::mem::take(&mut state.recount) {
                // Under the lock, so that no older count overtakes a newer one.
                let up = state.link.live_carriers();
                if self.carriers.send_if_modified(|carriers| std::mem::replace(carriers, up) != up) {
                    state.alone = (up == 0).then(now);
                }
            }
            result
        };
        self.wake(wake);
        result
    }

    /// Waits until the peer holds all that was written, or the link is closed.
    pub(crate) fn poll_flushed(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.link.is_flushed() || state.link.close_reason().is_some() {
            return Poll::Ready(());
        }
        if !state.flushed.iter().any(|waker| waker.will_wake(cx.waker())) {
            state.flushed.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Waits for the answer to an open.
    pub(crate) fn poll_opened(&self, cx: &mut Context<'_>, id: StreamId) -> Poll<Result<(), OpenError>> {
        let (opened, closed) = self.act(|state| {
            let opened = state.link.opened(id);
            if opened.is_none() {
                state.waiting(id).watcher = Some(cx.waker().clone());
            }
            (opened, state.close_reason())
        });
        Poll::Ready(match opened {
            None => return Poll::Pending,
            Some(Ok(())) => Ok(()),
            Some(Err(StreamError::Refused(refusal))) => Err(OpenError::Refused(refusal)),
            Some(Err(error)) => Err(match (closed, error) {
                (Some(reason), _) => OpenError::Closed(reason),
                (None, StreamError::Cut(code)) => OpenError::Reset(code),
                (None, _) => OpenError::Reset(ResetCode::Internal),
            }),
        })
    }

    /// Since when the link, which is not closed, has had no carrier.
    pub(crate) fn alone(&self) -> Option<Instant> {
        self.look(|state| state.alone.filter(|_| state.link.close_reason().is_none()))
    }

    /// Closes the link unless it has got a carrier meanwhile.
    pub(crate) fn close_alone(&self, text: &str) {
        self.act(|state| {
            if state.alone.is_some() {
                state.link.close(GoodbyeCode::Closed, text);
            }
        });
    }

    /// Until when the timer is to sleep; for ever without a time in it, and not at all where the link is closed.
    pub(crate) fn arm(&self) -> Option<Option<Instant>> {
        self.act(|state| {
            state.arm();
            state.link.close_reason().is_none().then_some(state.armed)
        })
    }

    /// A carrier's stream has ended or failed.
    pub(crate) fn carrier_down(&self, id: u32) {
        self.act(|state| {
            state.link.carrier_down(id, now());
            state.end_slot(id, || AttachError::Ended);
            state.recount = true;
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| {
            // Whoever held the lock panicked: what is behind it may be half done, so that was the link's end.
            self.state.clear_poison();
            let mut state = poisoned.into_inner();
            state.link.close_panicked();
            state
        })
    }

    fn wake(&self, wake: Wake) {
        for waker in wake.wakers {
            waker.wake();
        }
        if wake.draining {
            self.draining.send_replace(true);
        }
        if wake.incoming {
            self.incoming.notify_one();
        }
        if wake.timer {
            self.timer.notify_one();
        }
        if wake.closed {
            self.closed.send_replace(true);
            self.incoming.notify_waiters();
            self.timer.notify_one();
            if let Some(table) = self.table.upgrade() {
                table.remove(self.look(|state| state.link.id()));
            }
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("carriers", &*self.carriers.borrow()).finish_non_exhaustive()
    }
}

/// The time, as the state machine wants it; follows tokio's clock where that is simulated.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
