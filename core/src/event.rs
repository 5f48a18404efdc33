//! What happens in a session, for whoever wants to listen.

use std::mem::discriminant;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::broadcast;
use tokio::time::Instant;

use crate::{HandleState, Safety, SessionState};

/// Happenings a subscription holds before the oldest are dropped and counted.
const QUEUE: usize = 256;

/// Tells the handles of one session apart; never used twice in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HandleId(pub(crate) u64);

impl HandleId {
    /// The number itself, counted from 1.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }
}

/// A handle as a snapshot or an event shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandleInfo {
    /// Which one.
    pub id: HandleId,
    /// What it does: `exchange` or `forward`.
    pub mode: &'static str,
    /// What it does it to, as the user named it.
    pub target: String,
    /// Where it stands.
    pub state: HandleState,
    /// Since when, by this machine's clock. A reason that changes begins nothing new.
    pub since: SystemTime,
}

/// One happening of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The first event of each subscription: how things stand.
    Snapshot {
        /// The session's state.
        session: SessionState,
        /// Since when, by this machine's clock.
        since: SystemTime,
        /// Its handles that are not over.
        handles: Vec<HandleInfo>,
    },
    /// The session's state changed.
    Session(SessionState),
    /// A handle's state changed.
    Handle(HandleInfo),
    /// What was disturbed works again; follows the event with the new state. A gap of less than a second in which no dial
    /// failed disturbs nobody and is not told, also where this machine slept that long.
    Resumed {
        /// The handle; `None` for the session itself.
        id: Option<HandleId>,
        /// How long it was disturbed.
        gap: Duration,
    },
    /// A start or close goes on.
    Progress {
        /// The handle; `None` for the session itself.
        id: Option<HandleId>,
        /// The step that begins now, counted from 1.
        step: u32,
        /// How many there are.
        of: u32,
        /// What is done in it.
        what: String,
    },
    /// Something worth knowing that changes no state.
    Notice {
        /// The handle; `None` for the session itself.
        id: Option<HandleId>,
        /// The text.
        text: String,
    },
    /// How an exchange would come through the death of this process or of its interceptor; told when that changes.
    Safety {
        /// The exchange.
        id: HandleId,
        /// What it got.
        safety: Safety,
    },
    /// This many happenings were dropped because the subscriber was slow.
    Dropped(u64),
    /// The last event of each subscription: the session is over.
    Closed(String),
}

/// One subscription: a snapshot first, then what happens, then exactly one [`Event::Closed`].
#[derive(Debug)]
pub struct Events {
    snapshot: Option<Event>,
    queue: broadcast::Receiver<Event>,
    dropped: u64,
    over: bool,
    /// Told at the end when the queue itself did not tell.
    reason: String,
}

impl Events {
    /// The next happening; `None` after [`Event::Closed`]. Cancel-safe.
    pub async fn next(&mut self) -> Option<Event> {
        if let Some(snapshot) = self.snapshot.take() {
            return Some(snapshot);
        }
        if self.over {
            return None;
        }
        match self.queue.recv().await {
            Ok(event) => {
                self.over = matches!(event, Event::Closed(_));
                Some(event)
            }
            Err(broadcast::error::RecvError::Lagged(count)) => {
                self.dropped += count;
                Some(Event::Dropped(count))
            }
            Err(broadcast::error::RecvError::Closed) => {
                self.over = true;
                Some(Event::Closed(std::mem::take(&mut self.reason)))
            }
        }
    }

    /// How many happenings this subscription has lost by being slow, also when nobody asks for the next one any more.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        // What was sent beyond the queue is gone, though this end hears of it only when it asks.
        self.dropped + self.queue.len().saturating_sub(QUEUE) as u64
    }
}

/// The sending side: what is remembered for snapshots, and the queue.
#[derive(Debug)]
pub(crate) struct Hub {
    inner: Mutex<State>,
}

#[derive(Debug)]
struct State {
    session: SessionState,
    session_since: Since,
    handles: Vec<(HandleInfo, Since)>,
    // session's happenings -> every subscription
    queue: Option<broadcast::Sender<Event>>,
    next_id: u64,
}

/// When a state was entered.
#[derive(Clone, Copy, Debug)]
struct Since {
    /// For people.
    clock: SystemTime,
    /// For the length of a gap: the clock may be set.
    time: Instant,
}

impl Since {
    fn now() -> Self {
        Self { clock: SystemTime::now(), time: Instant::now() }
    }
}

impl Hub {
    pub(crate) fn new() -> Self {
        let state = State {
            session: SessionState::Connecting,
            session_since: Since::now(),
            handles: Vec::new(),
            queue: Some(broadcast::Sender::new(QUEUE)),
            next_id: 1,
        };
        Self { inner: Mutex::new(state) }
    }

    pub(crate) fn subscribe(&self) -> Events {
        let state = self.lock();
        let snapshot = Event::Snapshot {
            session: state.session.clone(),
            since: state.session_since.clock,
            handles: state.handles.iter().map(|(info, _)| info.clone()).collect(),
        };
        // After the end there is no sender: a receiver of a closed channel yields the terminal event.
        let queue = state
            .queue
            .as_ref()
            .map_or_else(|| broadcast::Sender::new(1).subscribe(), broadcast::Sender::subscribe);
        let reason = match &state.session {
            SessionState::Closed(reason) => reason.clone(),
            _ => "the session was dropped".to_owned(),
        };
        Events { snapshot: Some(snapshot), queue, dropped: 0, over: false, reason }
    }

    pub(crate) fn new_handle(&self, mode: &'static str, target: &str) -> HandleId {
        let mut state = self.lock();
        let id = HandleId(state.next_id);
        state.next_id += 1;
        let since = Since::now();
        let info = HandleInfo {
            id,
            mode,
            target: target.to_owned(),
            state: HandleState::Starting,
            since: since.clock,
        };
        state.handles.push((info.clone(), since));
        state.send(Event::Handle(info));
        id
    }

    pub(crate) fn handle(&self, id: HandleId, new: HandleState) {
        let mut state = self.lock();
        let Some(at) = state.handles.iter().position(|(info, _)| info.id == id) else { return };
        let (info, since) = &mut state.handles[at];
        if info.state == new {
            return;
        }
        let gap = (info.state.is_disturbed() && new == HandleState::Active).then(|| since.time.elapsed());
        if discriminant(&info.state) != discriminant(&new) {
            *since = Since::now();
            info.since = since.clock;
        }
        info.state = new;
        let info = info.clone();
        if info.state.is_over() {
            state.handles.remove(at);
        }
        state.send(Event::Handle(info));
        if let Some(gap) = gap {
            state.send(Event::Resumed { id: Some(id), gap });
        }
    }

    pub(crate) fn session(&self, new: SessionState) {
        let mut state = self.lock();
        if state.session == new {
            return;
        }
        let gap = (state.session.is_disturbed() && new == SessionState::Ready)
            .then(|| state.session_since.time.elapsed());
        if discriminant(&state.session) != discriminant(&new) {
            state.session_since = Since::now();
        }
        state.session = new.clone();
        if let SessionState::Closed(reason) = new {
            state.send(Event::Closed(reason));
            state.queue = None;
            return;
        }
        state.send(Event::Session(new));
        if let Some(gap) = gap {
            state.send(Event::Resumed { id: None, gap });
        }
    }

    pub(crate) fn progress(&self, id: Option<HandleId>, step: u32, of: u32, what: impl Into<String>) {
        self.lock().send(Event::Progress { id, step, of, what: what.into() });
    }

    pub(crate) fn notice(&self, id: Option<HandleId>, text: impl Into<String>) {
        self.lock().send(Event::Notice { id, text: text.into() });
    }

    pub(crate) fn safety(&self, id: HandleId, safety: Safety) {
        self.lock().send(Event::Safety { id, safety });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn send(&self, event: Event) {
        if let Some(queue) = &self.queue {
            // Nobody listening is fine.
            let _ = queue.send(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_subscription_begins_with_a_snapshot_and_ends_once() {
        let hub = Hub::new();
        let id = hub.new_handle("forward", "db:5432");
        hub.session(SessionState::Ready);
        let mut events = hub.subscribe();
        hub.handle(id, HandleState::Active);
        hub.handle(id, HandleState::Closed);
        hub.session(SessionState::Closed("as asked".into()));

        let Some(Event::Snapshot { session, handles, .. }) = events.next().await else {
            panic!("no snapshot first")
        };
        assert_eq!(session, SessionState::Ready);
        assert_eq!(handles.len(), 1);
        assert!(
            matches!(events.next().await, Some(Event::Handle(info)) if info.state == HandleState::Active)
        );
        assert!(
            matches!(events.next().await, Some(Event::Handle(info)) if info.state == HandleState::Closed)
        );
        assert_eq!(events.next().await, Some(Event::Closed("as asked".into())));
        assert_eq!(events.next().await, None);

        let mut late = hub.subscribe();
        assert!(matches!(late.next().await, Some(Event::Snapshot { .. })));
        assert_eq!(late.next().await, Some(Event::Closed("as asked".into())));
        assert_eq!(late.next().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_disturbed_tells_since_when_and_for_how_long() {
        let hub = Hub::new();
        let id = hub.new_handle("forward", "db:5432");
        hub.session(SessionState::Ready);
        hub.handle(id, HandleState::Active);
        hub.handle(id, HandleState::Degraded("no answer".into()));
        hub.session(SessionState::Degraded("no answer".into()));
        tokio::time::advance(Duration::from_secs(3)).await;
        let mut events = hub.subscribe();
        let Some(Event::Snapshot { handles, .. }) = events.next().await else { panic!("no snapshot first") };
        let since = handles[0].since;
        tokio::time::advance(Duration::from_secs(4)).await;
        // Another reason is the same disturbance.
        hub.handle(id, HandleState::Degraded("refused".into()));
        hub.handle(id, HandleState::Active);
        hub.session(SessionState::Ready);

        assert!(matches!(events.next().await, Some(Event::Handle(info)) if info.since == since));
        assert!(
            matches!(events.next().await, Some(Event::Handle(info)) if info.state == HandleState::Active && info.since >= since)
        );
        let gap = Duration::from_secs(7);
        assert_eq!(events.next().await, Some(Event::Resumed { id: Some(id), gap }));
        assert_eq!(events.next().await, Some(Event::Session(SessionState::Ready)));
        assert_eq!(events.next().await, Some(Event::Resumed { id: None, gap }));
    }

    #[tokio::test]
    async fn a_slow_subscriber_loses_the_oldest_and_is_told_how_many() {
        let hub = Hub::new();
        let mut events = hub.subscribe();
        for step in 0..(QUEUE as u32 + 10) {
            hub.progress(None, step, 1000, "on");
        }
        assert_eq!(events.dropped(), 10);
        assert!(matches!(events.next().await, Some(Event::Snapshot { .. })));
        assert_eq!(events.next().await, Some(Event::Dropped(10)));
        assert_eq!(events.dropped(), 10);
        assert!(matches!(events.next().await, Some(Event::Progress { step: 10, .. })));
    }
}
