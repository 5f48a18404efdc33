//! Work that takes as long as it takes, without the Service, or whoever ends the exchange, waiting for it.

use std::pin::pin;
use std::time::Duration;

use kubetether_link::GoodbyeCode;
use tokio::time::Instant;

use crate::Deadline;
use crate::cluster::agent_link::AgentLink;
use crate::life::Life;

/// A Service whose interceptor is gone for longer is put back meanwhile.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same while callers come here by another way.
const LONGEST: Duration = Duration::from_secs(30);
/// Between two looks whether they still do.
const LOOK: Duration = Duration::from_secs(1);
/// Between two tries to put it back.
const AGAIN: Duration = Duration::from_secs(3);

/// When a Service is put back whose interceptor is awaited.
#[derive(Debug)]
pub(super) struct Patience {
    /// When that is to be done, or looked at again.
    due: Instant,
    /// Until when callers may come by another way instead.
    longest: Instant,
    done: bool,
}

impl Patience {
    /// From now on.
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self { due: now + PATIENCE, longest: now + LONGEST, done: false }
    }

    /// Does `work`; when that takes long, and callers do not come by another way (`beside`), has the Service `put_back`,
    /// which says whether it did, and goes on with the work. `Err` when the end was asked for before the work was done.
    pub(super) async fn during<T, P: Future<Output = bool>>(
        &mut self,
        life: &Life,
        work: impl Future<Output = T>,
        beside: impl Fn() -> bool,
        put_back: impl Fn() -> P,
    ) -> Result<T, Deadline> {
        // Never dropped half-way but for the end: the agent may have been armed already.
        let (mut work, mut end) = (pin!(work), pin!(life.end_wanted()));
        while !self.done {
            tokio::select! {
                deadline = &mut end => return Err(deadline),
                done = &mut work => return Ok(done),
                () = tokio::time::sleep_until(self.due) => {}
            }
            if Instant::now() < self.longest && beside() {
                self.due = Instant::now() + LOOK;
                continue;
            }
            let mut putting = pin!(put_back());
            tokio::select! {
                deadline = &mut end => return Err(deadline),
                put = &mut putting => self.done = put,
                done = &mut work => {
                    // A request that is under way would undo what is done next.
                    tokio::select! {
                        _ = &mut end => {}
                        put = &mut putting => self.done = put,
                    }
                    return Ok(done);
                }
            }
            self.due = Instant::now() + AGAIN;
        }
        tokio::select! {
            deadline = &mut end => Err(deadline),
            done = &mut work => Ok(done),
        }
    }
}

/// A link that is closed on drop unless somebody takes it over: tasks of the session hold it, so that it does not end
/// by itself, and its agent serves no other one meanwhile.
pub(super) struct Unclaimed {
    link: AgentLink,
    claimed: bool,
}

impl Unclaimed {
    pub(super) fn new(link: AgentLink) -> Self {
        Self { link, claimed: false }
    }

    pub(super) fn get(&self) -> &AgentLink {
        &self.link
    }

    pub(super) fn hand_over(mut self) -> AgentLink {
        self.claimed = true;
        self.link.clone()
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        if !self.claimed {
            self.link.close(GoodbyeCode::Closed, "not armed");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::sync::Arc;

    use super::*;
    use crate::event::Hub;

    const SECOND: Duration = Duration::from_secs(1);

    fn life() -> Arc<Life> {
        Life::new(&Arc::new(Hub::new()), "exchange", "shop")
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_pause_does_not_keep_the_service_from_being_put_back() {
        let (life, start, at) = (life(), Instant::now(), Cell::new(None));
        let mut patience = Patience::new();
        let work = async { tokio::time::sleep(120 * SECOND).await };
        let put_back = || async {
            at.set(Some(start.elapsed()));
            true
        };
        assert!(patience.during(&life, work, || false, put_back).await.is_ok());
        assert_eq!(at.get(), Some(PATIENCE));
        assert_eq!(start.elapsed(), 120 * SECOND, "the work went on where it was");
        let again = patience.during(&life, async {}, || false, || async { panic!("put back twice") });
        assert!(again.await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_is_tried_again_until_it_is_put_back() {
        let (life, start, tries) = (life(), Instant::now(), RefCell::new(Vec::new()));
        let mut patience = Patience::new();
        let put_back = || async {
            tries.borrow_mut().push(start.elapsed());
            // An API server that does not answer.
            tokio::time::sleep(10 * SECOND).await;
            start.elapsed() > 30 * SECOND
        };
        for _ in 0..4 {
            // Each attempt to reach the next pod fails; what they have in common is one patience.
            let work = async { tokio::time::sleep(15 * SECOND).await };
            assert!(patience.during(&life, work, || false, put_back).await.is_ok());
        }
        assert!(patience.done, "tried at {:?}", tries.borrow());
    }

    #[tokio::test(start_paused = true)]
    async fn callers_that_come_by_another_way_are_looked_at_again() {
        for (beside_until, expected) in [(0, 5), (8, 8), (200, 30)] {
            let (life, start, at) = (life(), Instant::now(), Cell::new(None));
            let beside = || start.elapsed() < beside_until * SECOND;
            let put_back = || async {
                at.set(Some(start.elapsed()));
                true
            };
            let work = async { tokio::time::sleep(60 * SECOND).await };
            assert!(Patience::new().during(&life, work, beside, put_back).await.is_ok());
            assert_eq!(at.get(), Some(expected * SECOND));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_being_put_back_is_not_overtaken_by_what_comes_next() {
        let (life, put) = (life(), Cell::new(false));
        let put_back = || async {
            tokio::time::sleep(2 * SECOND).await;
            put.set(true);
            true
        };
        let work = async { tokio::time::sleep(6 * SECOND).await };
        assert!(Patience::new().during(&life, work, || false, put_back).await.is_ok());
        assert!(put.get());
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_is_heard_before_while_and_after_the_service_is_put_back() {
        for (asked, takes) in [(2, 1), (7, 60), (20, 1)] {
            let (life, start) = (life(), Instant::now());
            let asker = life.clone();
            let ask = async move {
                tokio::time::sleep(asked * SECOND).await;
                asker.ask_to_end(Deadline::secs(30));
            };
            let put = || async {
                tokio::time::sleep(takes * SECOND).await;
                true
            };
            let work = std::future::pending::<()>();
            let mut patience = Patience::new();
            let (ended, ()) = tokio::join!(patience.during(&life, work, || false, put), ask);
            assert!(ended.is_err());
            assert_eq!(start.elapsed(), asked * SECOND);
        }
    }

    #[tokio::test]
    async fn a_link_that_nobody_takes_over_is_closed() {
        let (kept, lost) = (AgentLink::without_carriers(), AgentLink::without_carriers());
        drop(Unclaimed::new(lost.clone()));
        assert!(!lost.is_usable());
        assert!(Unclaimed::new(kept.clone()).hand_over().is_usable());
        assert!(kept.is_usable());
    }
}
