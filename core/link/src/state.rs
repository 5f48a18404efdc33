//! What the lock guards: the state machine, who waits for what, and who is to be woken.

use std::{
    collections::{HashMap, VecDeque},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::BytesMut;
use kubetether_wire::{CarrierEnd, CloseReason, Event, Link, Open, StreamId};
use tokio::sync::{oneshot, watch};

use crate::{AttachError, shared::now};

/// How soon the timer looks again after something was due so soon. To wake it costs each message more than a look at each
/// of these: what a link has to do in time (acknowledgements, what goes with the next message) is seldom due sooner, and
/// most of it is done before that.
const TICK: Duration = Duration::from_millis(2);

/// What the lock guards.
pub(crate) struct State {
    pub(crate) link: Link,
    pub(crate) incoming: VecDeque<(StreamId, Open)>,
    pub(crate) waiting: HashMap<StreamId, Waiting>,
    pub(crate) slots: HashMap<u32, Slot>,
    /// Carriers whose writers have nothing to send.
    idle: Vec<u32>,
    /// The carrier whose writer was woken for what any may send, and has not looked yet.
    called: Option<u32>,
    /// What the timer sleeps until.
    pub(crate) armed: Option<Instant>,
    /// Something has become due at about the time that the timer looks: more of that is likely.
    soon: bool,
    /// The timer's task was started.
    pub(crate) timed: bool,
    /// Who waits until the peer holds all that was written.
    pub(crate) flushed: Vec<Waker>,
    /// The number of carriers may have changed.
    pub(crate) recount: bool,
    /// Since when the link has no carrier; `None` while it has, and before the first.
    pub(crate) alone: Option<Instant>,
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
pub(crate) struct Wake {
    pub(crate) wakers: Vec<Waker>,
    pub(crate) timer: bool,
    pub(crate) incoming: bool,
    pub(crate) closed: bool,
    pub(crate) draining: bool,
}

impl State {
    pub(crate) fn new(link: Link) -> Self {
        Self {
            link,
            incoming: VecDeque::new(),
            waiting: HashMap::new(),
            slots: HashMap::new(),
            idle: Vec::new(),
            called: None,
            armed: None,
            soon: false,
            timed: false,
            flushed: Vec::new(),
            recount: false,
            alone: None,
        }
    }

    /// Fills a writer's buffer (emptied first, `headroom` zeros in front), or keeps its waker.
    pub(crate) fn fill(
        &mut self,
        cx: &mut Context<'_>,
        id: u32,
        buffer: &mut BytesMut,
        headroom: usize,
        most: usize,
    ) -> Poll<Fill> {
        self.called.take_if(|called| *called == id);
        // Whoever looks without having been woken is not to be woken while it sends.
        self.idle.retain(|idle| *idle != id);
        buffer.clear();
        buffer.resize(headroom, 0);
        if self.link.poll_transmit(id, now(), buffer, most.saturating_sub(headroom)) {
            return Poll::Ready(Fill::Send);
        }
        let Some(slot) = self.slots.get_mut(&id) else {
            return Poll::Ready(Fill::Gone);
        };
        if *slot.phase.borrow() == Phase::Gone {
            return Poll::Ready(Fill::Gone);
        }
        if self.link.carrier_finished(id) {
            return Poll::Ready(Fill::Close);
        }
        slot.writer = Some(cx.waker().clone());
        self.idle.push(id);
        Poll::Pending
    }

    /// Finds out until when the timer is to sleep.
    pub(crate) fn arm(&mut self) {
        let (due, soon) = (self.link.poll_timeout(), std::mem::take(&mut self.soon));
        self.armed = due.map(|due| if soon { due.min(now() + TICK) } else { due });
    }

    /// Drains events and looks who has to be woken.
    pub(crate) fn settle(&mut self, wake: &mut Wake) {
        while let Some(event) = self.link.poll_event() {
            self.handle(event, wake);
        }
        if !self.idle.is_empty() {
            self.wake_writers(wake);
        }
        if let Some(due) = self.link.poll_timeout() {
            self.soon |= self.armed.is_none_or(|armed| due != armed && due < armed + TICK);
            if self.armed.is_none_or(|armed| due < armed) {
                self.armed = Some(due);
                wake.timer = true;
            }
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
        let Self { link, slots, idle, called, .. } = self;
        // A second one would find nothing, on another processor.
        let mut shared = called.is_none() && link.has_output();
        // The one that sent last is the one most likely to have its buffers in the caches.
        for index in (0..idle.len()).rev() {
            let id = idle[index];
            let takes_shared = shared && link.carrier_takes_shared(id);
            if takes_shared || link.carrier_has_output(id) || link.carrier_finished(id) {
                if takes_shared {
                    shared = false;
                    *called = Some(id);
                }
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

    pub(crate) fn end_slot(&mut self, id: u32, error: impl FnOnce() -> AttachError) {
        self.called.take_if(|called| *called == id);
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use kubetether_wire::{LinkConfig, Role};
    use tokio::io::{duplex, split};

    use super::*;
    use crate::{Acceptor, Attached, IoRead, IoWrite, Stream};

    /// Two ends on one thread, whose tasks run only while the test waits.
    struct Ends {
        client: crate::Link,
        agent: crate::Link,
        near: Stream,
        far: Stream,
    }

    async fn ends(carriers: usize) -> Ends {
        let client = crate::Link::client(LinkConfig::new(Role::Client)).unwrap();
        let acceptor = Acceptor::new(LinkConfig::new(Role::Gateway), 1).unwrap();
        let mut agent = None;
        for _ in 0..carriers {
            let ((near_read, near_write), (far_read, far_write)) = {
                let (near, far) = duplex(1 << 16);
                (split(near), split(far))
            };
            let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
            let (attached, taken) = tokio::join!(
                client.attach(IoRead::new(near_read), IoWrite::new(near_write), deadline),
                acceptor.carrier(IoRead::new(far_read), IoWrite::new(far_write), deadline),
            );
            attached.unwrap();
            if let Attached::New(link) = taken.unwrap() {
                agent = Some(link);
            }
        }
        let agent = agent.unwrap();
        let (near, far) =
            tokio::join!(client.open(Open::Call), async { agent.accept().await.unwrap().accept() });
        Ends { client, near: near.unwrap(), agent, far }
    }

    impl Ends {
        async fn rest(&self, writers: usize) {
            let idle = async {
                while self.client.shared().look(|state| state.idle.len()) < writers {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(30), idle).await.unwrap();
        }

        fn say(&self) -> usize {
            let (shared, id) = (self.client.shared(), self.near.id());
            shared.act(|state| state.link.write(id, &mut Bytes::from_static(b"said"))).unwrap();
            shared.look(|state| state.idle.len())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_any_carrier_may_send_wakes_one() {
        let ends = ends(3).await;
        for _ in 0..3 {
            ends.rest(3).await;
            assert_eq!(ends.say(), 2);
            // Whatever happens before it has looked.
            ends.client.shared().act(|_| ());
            assert_eq!(ends.say(), 2);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn another_is_woken_when_that_one_is_lost() {
        let ends = ends(3).await;
        ends.rest(3).await;
        assert_eq!(ends.say(), 2);
        let shared = ends.client.shared();
        let called = shared.look(|state| state.called).unwrap();
        shared.carrier_down(called);
        assert_eq!(shared.look(|state| state.idle.len()), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_looks_without_having_been_woken_is_busy_then() {
        let ends = ends(3).await;
        ends.rest(3).await;
        assert_eq!(ends.say(), 2);
        let shared = ends.client.shared();
        let other = shared.look(|state| state.idle[0]);
        let mut cx = Context::from_waker(Waker::noop());
        let filled = shared.act(|state| state.fill(&mut cx, other, &mut BytesMut::new(), 0, 1 << 16));
        assert!(matches!(filled, Poll::Ready(Fill::Send)));
        assert!(!shared.look(|state| state.idle.contains(&other)));
    }

    #[tokio::test(start_paused = true)]
    async fn the_timer_looks_often_only_while_something_is_due_soon() {
        let ends = ends(1).await;
        let left = || ends.client.shared().look(|state| state.armed).unwrap() - now();
        // The last acknowledgement of the opening is gone by now.
        tokio::time::sleep(10 * TICK).await;
        assert!(left() > 10 * TICK, "{:?}", left());
        let heard = ends.far.id();
        ends.agent.shared().act(|state| state.link.write(heard, &mut Bytes::from_static(b"heard"))).unwrap();
        tokio::time::sleep(TICK / 4).await;
        assert!(left() <= TICK, "{:?}", left());
        tokio::time::sleep(10 * TICK).await;
        assert!(left() > 10 * TICK, "{:?}", left());
    }
}
