//! Stops the world before or after a request.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{self, watch};

use super::asked::Asked;
use super::connections::{Connections, Entry};
use super::wire::Cut;

/// On which side of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The API server has not seen it.
    Before,
    /// The API server has answered, the client does not know yet.
    After,
}

pub(super) type Predicate = Arc<dyn Fn(&Asked) -> bool + Send + Sync>;
type Action = Box<dyn FnOnce(&Asked) + Send>;

/// A place at which the world is to stop, or has. Dropped, the place is forgotten and whatever waits goes on.
#[derive(Debug)]
#[must_use = "dropped, it stops nothing"]
pub struct Pause {
    stage: watch::Sender<Stage>,
    hook: Hooked,
    connections: Arc<Connections>,
}

/// Keeps something to be done at a place; dropped, the place is forgotten.
#[derive(Debug)]
#[must_use = "dropped, it does nothing"]
pub struct Hooked {
    id: u64,
    hooks: Arc<Hooks>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    Armed,
    Reached(Asked),
    Over,
}

/// The places that are set.
#[derive(Debug, Default)]
pub(super) struct Hooks {
    places: Mutex<Places>,
    /// Requests that a place looks for go one at a time, from before they are sent until they are answered.
    turn: sync::Mutex<()>,
}

#[derive(Default)]
struct Places {
    count: u64,
    set: Vec<Place>,
    /// Where the world stands still: that outlives the request that is held there, whose client may be dead.
    stopped: Vec<(Predicate, watch::Receiver<Stage>)>,
}

impl std::fmt::Debug for Places {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Places").field("set", &self.set.len()).finish_non_exhaustive()
    }
}

struct Place {
    id: u64,
    moment: Moment,
    /// Matching requests to come, this one included.
    left: u64,
    matches: Predicate,
    what: What,
}

enum What {
    Call(Action),
    Pause(watch::Sender<Stage>),
}

impl Pause {
    /// Waits until the place is reached; which request it was. Cancel-safe.
    pub async fn reached(&self) -> Asked {
        let mut stage = self.stage.subscribe();
        loop {
            // Never over before `self` is gone, and with it this borrow.
            if let Stage::Reached(asked) = &*stage.borrow_and_update() {
                return asked.clone();
            }
            if stage.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Lets the request, and those that wait behind it, go on.
    pub fn release(self) {}

    /// Cuts all connections of the proxy first, so that nothing that waits here happens any more: what a client
    /// leaves that dies at this very moment.
    pub fn cut(self) {
        self.connections.cut(Cut::All);
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        self.hook.forget();
        self.stage.send_replace(Stage::Over);
    }
}

impl Hooked {
    fn forget(&self) {
        self.hooks.places().set.retain(|place| place.id != self.id);
    }
}

impl Drop for Hooked {
    fn drop(&mut self) {
        self.forget();
    }
}

impl Hooks {
    pub(super) fn pause(
        self: &Arc<Self>,
        moment: Moment,
        nth: u64,
        matches: Predicate,
        connections: Arc<Connections>,
    ) -> Pause {
        let stage = watch::Sender::new(Stage::Armed);
        let hook = self.add(moment, nth, matches, What::Pause(stage.clone()));
        Pause { stage, hook, connections }
    }

    pub(super) fn call(
        self: &Arc<Self>,
        moment: Moment,
        nth: u64,
        matches: Predicate,
        action: Action,
    ) -> Hooked {
        self.add(moment, nth, matches, What::Call(action))
    }

    fn add(self: &Arc<Self>, moment: Moment, nth: u64, matches: Predicate, what: What) -> Hooked {
        let mut places = self.places();
        let id = places.count;
        places.count += 1;
        places.set.push(Place { id, moment, left: nth.max(1), matches, what });
        Hooked { id, hooks: self.clone() }
    }

    /// The right to be sent, for a request that some place looks for.
    pub(super) async fn turn(&self, asked: &Asked) -> Option<sync::MutexGuard<'_, ()>> {
        if !self.places().looks_for(asked) {
            return None;
        }
        let turn = self.turn.lock().await;
        loop {
            let stopped = self.places().stopped_for(asked);
            let Some(mut stage) = stopped else { return Some(turn) };
            until_over(&mut stage).await;
        }
    }

    /// A request is at this moment; whether it may go on.
    pub(super) async fn pass(&self, moment: Moment, asked: &Asked, entry: &Entry) -> bool {
        let reached = self.places().reach(moment, asked);
        for place in reached {
            match place.what {
                What::Call(action) => action(asked),
                What::Pause(stage) => until_over(&mut stage.subscribe()).await,
            }
        }
        !entry.is_cut()
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places {
    fn looks_for(&self, asked: &Asked) -> bool {
        self.set.iter().any(|place| (place.matches)(asked))
            || self.stopped.iter().any(|(matches, _)| matches(asked))
    }

    /// Where the world stands still for this request.
    fn stopped_for(&mut self, asked: &Asked) -> Option<watch::Receiver<Stage>> {
        self.stopped.retain(|(_, stage)| *stage.borrow() != Stage::Over);
        self.stopped.iter().find(|(matches, _)| matches(asked)).map(|(_, stage)| stage.clone())
    }

    /// Counts a request; the places it brings into force.
    fn reach(&mut self, moment: Moment, asked: &Asked) -> Vec<Place> {
        let here = |place: &&mut Place| place.moment == moment && (place.matches)(asked);
        self.set.iter_mut().filter(here).for_each(|place| place.left -= 1);
        let reached: Vec<Place> = self.set.extract_if(.., |place| place.left == 0).collect();
        for place in &reached {
            let What::Pause(stage) = &place.what else { continue };
            let stops = stage.send_if_modified(|stage| {
                let armed = *stage == Stage::Armed;
                if armed {
                    *stage = Stage::Reached(asked.clone());
                }
                armed
            });
            if stops {
                self.stopped.push((place.matches.clone(), stage.subscribe()));
            }
        }
        reached
    }
}

async fn until_over(stage: &mut watch::Receiver<Stage>) {
    // A sender that is gone said so before.
    let _ = stage.wait_for(|stage| *stage == Stage::Over).await;
}
