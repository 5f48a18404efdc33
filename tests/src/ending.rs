//! Connections that must end, by a reset and with a reason, and what comes after them.

use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kubetether::HandleState;
use tokio::sync::watch;

use crate::client::Client;
use crate::scene::Scene;
use crate::traffic::{Plan, Told};
use crate::wait::{LONG, eventually};

/// Idle connections, talkers and transfers of [`Scene::brief`].
const IDLE: u64 = 50;
const TALKERS: u32 = 4;
const TRANSFERS: usize = 2;

/// The states of a scene's handles from some time on.
#[derive(Debug)]
pub struct States {
    forward: watch::Receiver<HandleState>,
    exchange: watch::Receiver<HandleState>,
}

impl States {
    /// Waits until both handles say that they do not work, and why.
    ///
    /// # Panics
    /// When one does not, or without a reason.
    pub async fn disturbed(&mut self) {
        for (who, states) in [("forward", &mut self.forward), ("exchange", &mut self.exchange)] {
            let state = until(states, who, "it does not work", HandleState::is_disturbed).await;
            assert!(state.reason().is_some_and(|reason| !reason.is_empty()), "the {who}: {state:?}");
        }
    }

    async fn active(&mut self) {
        for (who, states) in [("forward", &mut self.forward), ("exchange", &mut self.exchange)] {
            until(states, who, "it works again", |state| *state == HandleState::Active).await;
        }
    }
}

impl Scene<'_> {
    /// Some connections of each kind, for scenes in which they have to end.
    #[must_use]
    pub fn brief() -> Plan {
        Plan::full().idle(IDLE).rate(1 << 20).talkers(TALKERS, 20)
    }

    /// The states of both handles from now on.
    #[must_use]
    pub fn watch(&self) -> States {
        States { forward: self.forward.states(), exchange: self.exchange.states() }
    }

    /// The pods of the gateway and of the interceptor.
    ///
    /// # Panics
    /// When they are not these two.
    pub async fn agents(&self) -> Vec<Pod> {
        let ours = ListParams::default().labels("app.kubernetes.io/managed-by=kubetether");
        let pods = self.at.namespace().api::<Pod>().list(&ours).await;
        let pods = pods.unwrap_or_else(|error| panic!("agents: {error}")).items;
        assert_eq!(pods.len(), 2, "a gateway and an interceptor");
        pods
    }

    /// Demands of traffic of [`brief`](Self::brief) that all its connections end by a reset, at both their ends, and
    /// that new ones work through the same handles. `killed`: the process that held the callers' connections was,
    /// and its kernel ends those by a FIN that had nothing left to read.
    ///
    /// # Panics
    /// When it is not so.
    pub async fn ends_and_begins_anew(self, mut states: States, killed: bool) {
        let Self { at, proxy, session, exchange, forward, out, into, local } = self;
        let (out, into) = tokio::join!(out.broken(), into.broken());
        all_reset(&out, "callers of the forward", &[": reset"]);
        let words: &[&str] = if killed { &[": reset", ": closed"] } else { &[": reset"] };
        all_reset(&into, "callers of the exchange", words);
        let url = format!("http://127.0.0.1:{}/log", local.port());
        eventually("the server here sees its connections reset", LONG, async || {
            let log = Client::here().get(&url).await?;
            let count = log.lines().filter(|line| *line == "http fault reset").count();
            if count >= connections() { Ok(()) } else { Err(format!("{count} were: {log}")) }
        })
        .await;
        states.active().await;
        let again = Self::anew(at, proxy, session, exchange, forward, local, Self::brief()).await;
        again.moves_on().await;
        again.finish().await;
    }
}

fn connections() -> usize {
    usize::try_from(IDLE + u64::from(TALKERS)).unwrap_or_default() + TRANSFERS
}

fn all_reset(told: &Told, who: &str, words: &[&str]) {
    assert_eq!((told.get("opened"), told.faults.len()), (IDLE, connections()), "{who}: {told}");
    let other: Vec<&String> =
        told.faults.iter().filter(|fault| !words.iter().any(|word| fault.contains(word))).collect();
    assert!(other.is_empty(), "{who}: not reset: {other:#?}");
}

async fn until(
    states: &mut watch::Receiver<HandleState>,
    who: &str,
    what: &str,
    reached: fn(&HandleState) -> bool,
) -> HandleState {
    let seen = tokio::time::timeout(LONG, states.wait_for(reached)).await;
    let seen = seen.unwrap_or_else(|_| panic!("the {who} never says that {what}"));
    seen.unwrap_or_else(|_| panic!("the {who} is gone before {what}")).clone()
}
