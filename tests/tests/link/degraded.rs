//! Whoever uses a session is told what does not work, why, and when it works again.

#![allow(clippy::wildcard_enum_match_arm, reason = "most events are about something else")]

use std::time::{Duration, Instant};

use kubetether::{Event, Events, HandleState, SessionState};
use kubetether_tests::proxy::{Cut, Scope};
use kubetether_tests::{LONG, Plan, Scene, under_traffic};

/// So soon it is told; and what a busy machine adds.
const PROMISE: Duration = Duration::from_secs(5 + 2);

/// What became of forward, exchange and session, in the order it was told.
#[derive(Debug, Default)]
struct Seen {
    down: [Option<(Duration, String)>; 3],
    back: [bool; 3],
    gaps: [Option<Duration>; 3],
}

impl Seen {
    fn all_down(&self) -> bool {
        self.down.iter().all(Option::is_some)
    }

    fn all_back(&self) -> bool {
        self.back == [true; 3] && self.gaps.iter().all(Option::is_some)
    }

    /// Reads events until it is so.
    async fn until(&mut self, scene: &Scene<'_>, events: &mut Events, began: Instant, so: fn(&Self) -> bool) {
        let ids = [scene.forward.id(), scene.exchange.id()];
        let which = |id| ids.iter().position(|own| *own == id);
        let read = async {
            while !so(self) {
                let event = events.next().await.expect("the session is over");
                let state = match &event {
                    Event::Handle(info) => which(info.id).map(|at| {
                        let down = info.state.is_disturbed().then(|| info.state.reason()).flatten();
                        (at, down, info.state == HandleState::Active)
                    }),
                    Event::Session(state) => {
                        let down = state.is_disturbed().then(|| state.reason()).flatten();
                        Some((2, down, *state == SessionState::Ready))
                    }
                    Event::Resumed { id, gap } => {
                        let at = id.map_or(Some(2), which).unwrap();
                        self.gaps[at] = Some(*gap);
                        None
                    }
                    _ => None,
                };
                let Some((at, down, back)) = state else { continue };
                if let Some(reason) = down {
                    self.down[at].get_or_insert_with(|| (began.elapsed(), reason.to_owned()));
                }
                self.back[at] |= back && self.down[at].is_some();
            }
        };
        let done = tokio::time::timeout(LONG, read).await;
        assert!(done.is_ok(), "not all is told of forward, exchange and session: {self:#?}");
    }
}

/// Something goes wrong by `wrong`, is told, ends by `right`, and that is told.
async fn told(scene: &Scene<'_>, wrong: impl AsyncFnOnce(), right: impl AsyncFnOnce()) -> Seen {
    let mut events = scene.session.events();
    let mut seen = Seen::default();
    let began = Instant::now();
    wrong().await;
    seen.until(scene, &mut events, began, Seen::all_down).await;
    for (after, reason) in seen.down.iter().flatten() {
        assert!(*after < PROMISE && !reason.is_empty(), "{seen:#?}");
    }
    right().await;
    seen.until(scene, &mut events, began, Seen::all_back).await;
    scene.moves_on().await;
    seen
}

#[test]
fn when_nothing_passes() {
    under_traffic("degraded-silent", Plan::quiet().idle(20), async |scene| {
        let wire = scene.proxy.wire();
        told(scene, async || wire.blackhole(Scope::All), async || wire.release()).await;
    });
}

#[test]
fn when_the_api_server_is_not_there() {
    under_traffic("degraded-refused", Plan::quiet().idle(20), async |scene| {
        let wire = scene.proxy.wire();
        let gone = async || {
            wire.refuse(true).await;
            wire.cut(Cut::All);
        };
        let seen = told(scene, gone, async || wire.refuse(false).await).await;
        for (_, reason) in seen.down.iter().flatten() {
            assert!(reason.contains("refused"), "{seen:#?}");
        }
    });
}
