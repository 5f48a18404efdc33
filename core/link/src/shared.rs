//! The state machine behind its lock, and who waits for what.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, Weak},
    task::{Context, Poll, Waker},
    time::Instant,
};

use bytes::BytesMut;
use kubetether_wire::{
    CarrierEnd, CloseReason, Event, GoodbyeCode, Link, Open, ResetCode, StreamError, StreamId,
};
use tokio::sync::{Notify, oneshot, watch};

use crate::{AttachError, OpenError, acceptor::Table};

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

/// What the lock guards.
pub(crate) struct State {
    pub(crate) link: Link,
    pub(crate) incoming: VecDeque<(StreamId, Open)>,
    pub(crate) waiting: HashMap<StreamId, Waiting>,
    pub(crate) slots: HashMap<u32, Slot>,
    /// Carriers whose writers have nothing to send.
    idle: Vec<u32>,
    /// What the timer sleeps until.
    pub(crate) armed: Option<Instant>,
    /// The timer's task was started.
    pub(crate) timed: bool,
    flushed: Vec<Waker>,
    /// The number of carriers may have changed.
    recount: bool,
    /// Since when the link has no carrier; `None` while it has, and before the first.
    alone: Option<Instant>,
}

/// Who waits on a stream.
#[derive(Default)]
pub(crate) struct Waiting {
    pub(crate) reader: Option<Waker>,
    pub(crate) writer: Option<Waker>,
    /// Waits for the answer to an open, or for a cut.
    pub(crate) watcher: Option<Waker>,
}

/// A carrier's tasks, as the others see them.
pub(crate) struct Slot {
    writer: Option<Waker>,
    pub(crate) phase: watch::Sender<Phase>,
    /// Who waits for the peer's hello.
    pub(crate) up: Option<oneshot::Sender<Result<(), AttachError>>>,
}

/// How far a carrier is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Live,
    /// The link, or this carrier, is at its end: the goodbye may still be sent.
    Closing,
    /// The link is done with the carrier.
    Gone,
}

/// What a writer is to do.
pub(crate) enum Fill {
    /// Send what is in the buffer.
    Send,
    /// Flush and close.
    Close,
    /// The carrier is gone.
    Gone,
}

/// What is to be woken once the lock is free.
#[derive(Default)]
struct Wake {
    wakers: Vec<Waker>,
    timer: bool,
    incoming: bool,
    closed: bool,
    draining: bool,
}

impl Shared {
    pub(crate) fn new(link: Link, table: Weak<Table>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                link,
                incoming: VecDeque::new(),
                waiting: HashMap::new(),
                slots: HashMap::new(),
                idle: Vec::new(),
                armed: None,
                timed: false,
                flushed: Vec::new(),
                recount: false,
                alone: None,
            }),
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

    /// Fills a writer's buffer (emptied first, `headroom` zeros in front), or keeps its waker.
    pub(crate) fn poll_fill(
        &self,
        cx: &mut Context<'_>,
        id: u32,
        buffer: &mut BytesMut,
        headroom: usize,
        most: usize,
    ) -> Poll<Fill> {
        self.act(|state| {
            buffer.clear();
            buffer.resize(headroom, 0);
            if state.link.poll_transmit(id, now(), buffer, most.saturating_sub(headroom)) {
                return Poll::Ready(Fill::Send);
            }
            let Some(slot) = state.slots.get_mut(&id) else {
                return Poll::Ready(Fill::Gone);
            };
            if *slot.phase.borrow() == Phase::Gone {
                return Poll::Ready(Fill::Gone);
            }
            if state.link.carrier_finished(id) {
                return Poll::Ready(Fill::Close);
            }
            slot.writer = Some(cx.waker().clone());
            if !state.idle.contains(&id) {
                state.idle.push(id);
            }
            Poll::Pending
        })
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

impl State {
    /// Drains events and looks who has to be woken.
    fn settle(&mut self, wake: &mut Wake) {
        while let Some(event) = self.link.poll_event() {
            self.handle(event, wake);
        }
        if !self.idle.is_empty() {
            self.wake_writers(wake);
        }
        if let Some(due) = self.link.poll_timeout()
            && self.armed.is_none_or(|armed| due < armed)
        {
            self.armed = Some(due);
            wake.timer = true;
        }
        if !self.flushed.is_empty() && (self.link.is_flushed() || self.link.close_reason().is_some()) {
            wake.wakers.append(&mut self.flushed);
        }
    }

    fn handle(&mut self, event: Event, wake: &mut Wake) {
        match event {
            Event::CarrierUp(id) => {
                if let Some(up) = self.slots.get_mut(&id).and_then(|slot| slot.up.take()) {
                    // The one who waited may have given up just now; it ends the carrier then.
                    let _ = up.send(Ok(()));
                }
                self.recount = true;
            }
            Event::CarrierLeaving(id) => {
                tracing::debug!(carrier = id, "a carrier is about to go");
                self.recount = true;
            }
            Event::CarrierEnded(id, end) => {
                tracing::debug!(carrier = id, ?end, "the link gave up a carrier");
                self.end_slot(id, || match end {
                    CarrierEnd::Refused(goodbye) => AttachError::Refused(goodbye),
                    CarrierEnd::Protocol(error) => AttachError::Protocol(error),
                    CarrierEnd::Unproven => AttachError::Unproven,
                    CarrierEnd::Silent
                    | CarrierEnd::Replaced
                    | CarrierEnd::Abandoned
                    | CarrierEnd::Retired => AttachError::Ended,
                });
                self.recount = true;
            }
            Event::Incoming(id, open) => {
                self.incoming.push_back((id, open));
                wake.incoming = true;
            }
            Event::Readable(id) => {
                wake.wakers.extend(self.waiting.get_mut(&id).and_then(|waiting| waiting.reader.take()));
            }
            Event::Writable(id) => {
                wake.wakers.extend(self.waiting.get_mut(&id).and_then(|waiting| waiting.writer.take()));
            }
            Event::Answered(id) => {
                wake.wakers.extend(self.waiting.get_mut(&id).and_then(|waiting| waiting.watcher.take()));
            }
            Event::Cut(id) => {
                if let Some(waiting) = self.waiting.get_mut(&id) {
                    waiting.wake_all(wake);
                }
            }
            Event::PeerDraining(text) => {
                tracing::debug!(text, "the peer is about to leave");
                wake.draining = true;
            }
            Event::Closed => {
                wake.closed = true;
                self.recount = true;
                for waiting in self.waiting.values_mut() {
                    waiting.wake_all(wake);
                }
                let reason = self.link.close_reason().cloned();
                tracing::debug!(reason = reason.as_ref().map(tracing::field::display), "the link is closed");
                for slot in self.slots.values_mut() {
                    slot.close();
                    if let (Some(up), Some(reason)) = (slot.up.take(), reason.clone()) {
                        let _ = up.send(Err(AttachError::Closed(reason)));
                    }
                    wake.wakers.extend(slot.writer.take());
                }
                self.idle.clear();
            }
        }
    }

    /// Wakes the writers that have something to send: one for what any carrier may send (it wakes the next when it leaves
    /// something), and each for what only its own carrier can.
    fn wake_writers(&mut self, wake: &mut Wake) {
        let Self { link, slots, idle, .. } = self;
        let mut shared = link.has_output();
        // The one that sent last is the one most likely to have its buffers in the caches.
        for index in (0..idle.len()).rev() {
            let id = idle[index];
            let takes_shared = shared && link.carrier_takes_shared(id);
            if takes_shared || link.carrier_has_output(id) || link.carrier_finished(id) {
                shared &= !takes_shared;
                idle.swap_remove(index);
                wake.wakers.extend(slots.get_mut(&id).and_then(|slot| slot.writer.take()));
            }
        }
    }

    /// The carrier has sent its last: what is left of it has its time to go.
    pub(crate) fn close_slot(&mut self, id: u32) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.close();
        }
    }

    fn end_slot(&mut self, id: u32, error: impl FnOnce() -> AttachError) {
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        slot.phase.send_replace(Phase::Gone);
        if let Some(up) = slot.up.take() {
            let _ = up.send(Err(error()));
        }
    }

    /// The close reason as every caller needs it.
    pub(crate) fn close_reason(&self) -> Option<CloseReason> {
        self.link.close_reason().cloned()
    }

    /// The place of a stream's waiters.
    pub(crate) fn waiting(&mut self, id: StreamId) -> &mut Waiting {
        self.waiting.entry(id).or_default()
    }
}

impl Waiting {
    fn wake_all(&mut self, wake: &mut Wake) {
        wake.wakers
            .extend([self.reader.take(), self.writer.take(), self.watcher.take()].into_iter().flatten());
    }
}

impl Slot {
    pub(crate) fn new(up: Option<oneshot::Sender<Result<(), AttachError>>>) -> Self {
        Self { writer: None, phase: watch::Sender::new(Phase::Live), up }
    }

    fn close(&mut self) {
        self.phase.send_if_modified(|phase| {
            let live = *phase == Phase::Live;
            *phase = if live { Phase::Closing } else { *phase };
            live
        });
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
