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

/// An interceptor that was asked to end stays until no connection has come for this long: a node that still sends
/// callers here would refuse them otherwise.
const QUIET: Duration = Duration::from_secs(1);

/// A gateway that is told to end stays for this long while it has clients: what they opened before they learnt of it is
/// refused in order then, so that they try elsewhere, and not cut off.
const NOTICE: Duration = Duration::from_secs(1);

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

/// SIGTERM and SIGINT, from the moment it is made; those that were blocked until then, too (the loader does, so that
/// none is lost while it unpacks). As process 1 of a container an agent without this could not be asked to end at all.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(crate) fn new() -> io::Result<Self> {
        let signals =
            Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? };
        // Only now that there are handlers: what was pending comes at once.
        unblock(&[libc::SIGTERM, libc::SIGINT])?;
        Ok(signals)
    }

    async fn any(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Lets signals in, whatever mask this thread was started with; threads that it starts later inherit that.
#[expect(unsafe_code, reason = "the signal mask has no safe interface in what we depend on")]
fn unblock(signals: &[libc::c_int]) -> io::Result<()> {
    let mut set = std::mem::MaybeUninit::uninit();
    // SAFETY: `sigemptyset` initialises the set, the others only read or change it; the old mask is not asked for.
    let error = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), *signal);
        }
        libc::pthread_sigmask(libc::SIG_UNBLOCK, set.as_ptr(), std::ptr::null_mut())
    };
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
}

/// Returns when an interceptor is no longer needed: `linger` after a signal, when no new connection has come for
/// [`QUIET`] and none is open; when a client had asked for it, as soon as none is open; at most `limit` after the
/// signal.
///
/// As long as callers come, nobody else takes them: the replacement is not ready, or the nodes have not learnt of it.
///
/// Readiness is for `draining` to decide. Without another net it stays until the end: callers would be refused by the
/// node instead of passed through here. Where the nodes fall back to the originals, it is unready at once.
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
    leave(drain, flows, linger, end).await;
}

async fn leave(drain: &Drain, flows: &Flows, linger: Duration, end: Instant) {
    let needed = async {
        sleep(linger).await;
        flows.over(QUIET).await;
    };
    tokio::select! {
        biased;
        () = drain.asked() => finish(flows, end).await,
        () = needed => {}
        () = sleep_until(end) => finish(flows, end).await,
    }
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
            // One that asked for the end opens nothing more.
            if *links.borrow() > 0 && !drain.is_asked() {
                sleep_until(end.min(Instant::now() + NOTICE)).await;
            }
            finish(flows, end).await;
        }
        () = unused(drain, idle, links.clone()) => {}
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
    use kubetether_wire::Budget;

    use super::*;
    use crate::limits::Cost;

    fn four() -> Flows {
        Flows::new(4, Budget::new(4))
    }

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
        let flows = four();
        let open = flows.try_room(Cost(1)).unwrap().occupy();
        let begin = Instant::now();
        finish(&flows, begin + Duration::from_secs(25)).await;
        assert_eq!(begin.elapsed(), Duration::from_secs(25));
        drop(open);
        finish(&flows, begin + Duration::from_secs(60)).await;
        assert_eq!(begin.elapsed(), Duration::from_secs(25));
    }

    #[tokio::test(start_paused = true)]
    async fn an_interceptor_stays_while_callers_come() {
        let second = Duration::from_secs(1);
        for (until, limit, expected) in [(0, 60, 3), (2, 60, 3), (10, 60, 11), (100, 60, 60)] {
            let (flows, begin) = (four(), Instant::now());
            let calling = tokio::spawn({
                let flows = flows.clone();
                async move {
                    for _ in 0..until * 2 {
                        sleep(second / 2).await;
                        drop(flows.room(Cost(1)).await.unwrap().occupy());
                    }
                }
            });
            leave(&Drain::new(), &flows, 3 * second, begin + limit * second).await;
            assert_eq!(begin.elapsed(), expected * second, "callers for {until} s");
            calling.abort();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_interceptor_that_a_client_has_asked_waits_for_what_is_open_only() {
        let (drain, flows, begin) = (Drain::new(), four(), Instant::now());
        let open = flows.room(Cost(1)).await.unwrap().occupy();
        let leaving = tokio::spawn({
            let (drain, flows) = (drain.clone(), flows.clone());
            async move { leave(&drain, &flows, Duration::from_secs(3), begin + Duration::from_secs(60)).await }
        });
        sleep(Duration::from_secs(1)).await;
        drain.ask();
        sleep(Duration::from_secs(9)).await;
        assert!(!leaving.is_finished());
        drop(open);
        leaving.await.unwrap();
        assert_eq!(begin.elapsed(), Duration::from_secs(10));
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
