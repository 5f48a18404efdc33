//! Work that takes as long as it takes, without the Service, or whoever ends the exchange, waiting for it.

use std::pin::pin;

use kubetether_link::GoodbyeCode;
use tokio::time::Instant;

use crate::Deadline;
use crate::cluster::agent_link::AgentLink;
use crate::life::Life;

/// Does `work`; puts the Service back when it is not done at `late`, once, and goes on with it. `Err` when the end was
/// asked for.
pub(super) async fn patiently<T>(
    life: &Life,
    work: impl Future<Output = T>,
    late: Instant,
    put_back: &mut bool,
    how: impl AsyncFnOnce(),
) -> Result<T, Deadline> {
    // Never dropped half-way but for the end: the agent may have been armed already.
    let (mut work, mut end) = (pin!(work), pin!(life.end_wanted()));
    if !*put_back {
        tokio::select! {
            deadline = &mut end => return Err(deadline),
            done = &mut work => return Ok(done),
            () = tokio::time::sleep_until(late) => {}
        }
        *put_back = true;
        tokio::select! {
            deadline = &mut end => return Err(deadline),
            () = how() => {}
        }
    }
    tokio::select! {
        deadline = &mut end => Err(deadline),
        done = &mut work => Ok(done),
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
    use std::cell::Cell;
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::event::Hub;

    const SECOND: Duration = Duration::from_secs(1);

    fn life() -> Arc<Life> {
        Life::new(&Arc::new(Hub::new()), "exchange", "shop")
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_pause_does_not_keep_the_service_from_being_put_back() {
        let (life, start, mut put_back, at) = (life(), Instant::now(), false, Cell::new(None));
        let work = async { tokio::time::sleep(120 * SECOND).await };
        let late = start + 5 * SECOND;
        let done = patiently(&life, work, late, &mut put_back, async || at.set(Some(Instant::now()))).await;
        assert!(done.is_ok() && put_back);
        assert_eq!(at.get(), Some(late));
        assert_eq!(start.elapsed(), 120 * SECOND, "the work went on where it was");
        let again = patiently(&life, async {}, late, &mut put_back, async || panic!("put back twice"));
        assert!(again.await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_is_heard_before_while_and_after_the_service_is_put_back() {
        for (asked, takes) in [(2, 1), (7, 60), (20, 1)] {
            let (life, start, mut put_back) = (life(), Instant::now(), false);
            let asker = life.clone();
            let ask = async move {
                tokio::time::sleep(asked * SECOND).await;
                asker.ask_to_end(Deadline::secs(30));
            };
            let put = async || tokio::time::sleep(takes * SECOND).await;
            let work = std::future::pending::<()>();
            let (ended, ()) =
                tokio::join!(patiently(&life, work, start + 5 * SECOND, &mut put_back, put), ask);
            assert!(ended.is_err());
            assert_eq!(start.elapsed(), asked * SECOND);
            assert_eq!(put_back, asked > 5);
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
