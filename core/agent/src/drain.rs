//! When the process ends.
//!
//! An interceptor lives until SIGTERM; then it passes new connections through for a while, since nodes learn of
//! its end at their own pace, and waits for the open ones. A gateway also ends when it has had no client for
//! some time.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::flows::Flows;

/// How far the end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Not at all.
    Serving,
    /// SIGTERM came: nothing new is taken for a client, what is open goes on.
    Draining,
    /// Links are closed, then the process ends.
    Ending,
}

/// The phase, for all who must know; and whether a client has asked for the end. A cheap handle.
#[derive(Debug, Clone)]
pub(crate) struct Drain {
    phase: Arc<watch::Sender<Phase>>,
    asked: Arc<Asked>,
}

#[derive(Debug, Default)]
struct Asked {
    flag: AtomicBool,
    changed: Notify,
}

impl Drain {
    pub(crate) fn new() -> Self {
        Self { phase: Arc::new(watch::Sender::new(Phase::Serving)), asked: Arc::default() }
    }

    pub(crate) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Goes on to `phase`; never back.
    pub(crate) fn advance(&self, phase: Phase) {
        self.phase.send_if_modified(|now| {
            let later = phase > *now;
            if later {
                *now = phase;
            }
            later
        });
    }

    /// A client said that this agent is about to be taken away.
    pub(crate) fn ask(&self) {
        self.asked.flag.store(true, Ordering::Relaxed);
        self.asked.changed.notify_waiters();
    }

    /// What a client said holds no more: another one needs this agent.
    pub(crate) fn unask(&self) {
        self.asked.flag.store(false, Ordering::Relaxed);
    }

    fn is_asked(&self) -> bool {
        self.asked.flag.load(Ordering::Relaxed)
    }

    async fn asked(&self) {
        loop {
            let changed = self.asked.changed.notified();
            if self.is_asked() {
                return;
            }
            changed.await;
        }
    }
}

/// SIGTERM and SIGINT, from the moment it is made. As process 1 of a container an agent without this could not
/// be asked to end at all.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn any(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Returns when an interceptor is no longer needed: `linger` after a signal and when no connection is open, but
/// at once when a client had asked for it, and at most `limit` after the signal.
///
/// Readiness stays until the end. Turning unready at once would serve nobody as long as there is no other ready
/// endpoint: callers would be refused by the node instead of passed through here. With the second net (a slice of
/// ours that lists the originals) this is to become "unready at once".
pub(crate) async fn interceptor(
    drain: &Drain,
    flows: &Flows,
    signals: &mut Signals,
    linger: Duration,
    limit: Duration,
    draining: impl FnOnce(),
) {
    signals.any().await;
    let end = Instant::now() + limit;
    drain.advance(Phase::Draining);
    draining();
    tracing::info!(open = flows.count(), "asked to end: new connections go to the originals");
    tokio::select! {
        () = sleep(linger.min(limit)) => {}
        () = drain.asked() => {}
    }
    finish(flows, end).await;
}

/// Returns when a gateway is no longer needed: without a client for `idle`, or at once when its last client had
/// asked for it; or after a signal as soon as no connection is open, at most `limit` after it.
pub(crate) async fn gateway(
    drain: &Drain,
    flows: &Flows,
    signals: &mut Signals,
    idle: Duration,
    limit: Duration,
    links: watch::Receiver<usize>,
    draining: impl FnOnce(),
) {
    tokio::select! {
        () = signals.any() => {
            let end = Instant::now() + limit;
            drain.advance(Phase::Draining);
            draining();
            tracing::info!(open = flows.count(), "asked to end: no new clients");
            finish(flows, end).await;
        }
        () = unused(drain, idle, links) => {}
    }
}

async fn finish(flows: &Flows, end: Instant) {
    if timeout_at(end, flows.none()).await.is_err() {
        tracing::warn!(open = flows.count(), "connections are still open at the end of the drain time: cut");
    }
}

async fn unused(drain: &Drain, idle: Duration, mut links: watch::Receiver<usize>) {
    loop {
        if links.wait_for(|links| *links == 0).await.is_err() {
            return;
        }
        let end = Instant::now() + idle;
        tokio::select! {
            // Both in the order of their strength: a client that came in time keeps the gateway.
            biased;
            attached = links.wait_for(|links| *links > 0) => {
                if attached.is_err() {
                    return;
                }
            }
            () = drain.asked() => {
                tracing::info!("the last client asked for the end");
                return;
            }
            () = sleep_until(end) => {
                tracing::info!(seconds = idle.as_secs(), "no client: not needed any more");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_idle_gateway_ends_and_a_used_one_does_not() {
        let (drain, links) = (Drain::new(), watch::Sender::new(1));
        let begin = Instant::now();
        let task = tokio::spawn({
            let (drain, links) = (drain.clone(), links.subscribe());
            async move { unused(&drain, Duration::from_secs(30), links).await }
        });
        sleep(Duration::from_secs(100)).await;
        links.send_replace(0);
        sleep(Duration::from_secs(29)).await;
        links.send_replace(1);
        sleep(Duration::from_secs(100)).await;
        assert!(!task.is_finished());
        links.send_replace(0);
        task.await.unwrap();
        assert_eq!(begin.elapsed(), Duration::from_secs(100 + 29 + 100 + 30));
    }

    #[tokio::test(start_paused = true)]
    async fn a_gateway_that_was_asked_ends_with_its_last_client() {
        let (drain, links) = (Drain::new(), watch::Sender::new(1));
        drain.ask();
        let begin = Instant::now();
        let task = tokio::spawn({
            let (drain, links) = (drain.clone(), links.subscribe());
            async move { unused(&drain, Duration::from_secs(30), links).await }
        });
        sleep(Duration::from_secs(7)).await;
        assert!(!task.is_finished());
        links.send_replace(0);
        task.await.unwrap();
        assert_eq!(begin.elapsed(), Duration::from_secs(7));
    }

    #[tokio::test(start_paused = true)]
    async fn finishing_waits_for_flows_but_not_for_ever() {
        let flows = Flows::new(4);
        let open = flows.try_room().unwrap().occupy();
        let begin = Instant::now();
        finish(&flows, begin + Duration::from_secs(25)).await;
        assert_eq!(begin.elapsed(), Duration::from_secs(25));
        drop(open);
        finish(&flows, begin + Duration::from_secs(60)).await;
        assert_eq!(begin.elapsed(), Duration::from_secs(25));
    }

    #[test]
    fn asking_can_be_taken_back() {
        let drain = Drain::new();
        drain.ask();
        assert!(drain.is_asked());
        drain.unask();
        assert!(!drain.is_asked());
    }

    #[test]
    fn phases_never_go_back() {
        let drain = Drain::new();
        drain.advance(Phase::Ending);
        drain.advance(Phase::Draining);
        assert_eq!(drain.phase(), Phase::Ending);
    }
}
