//! A session behind the proxy with an exchange and a forward, and traffic through both.

#![allow(clippy::print_stdout, reason = "a test's output is shown when it fails")]

use std::time::Duration;

use kubetether::{Config, Exchange, Forward, Session, To};

use crate::app::App;
use crate::local::Apart;
use crate::namespace::Security;
use crate::outcome::{CLOSE, Outcome};
use crate::proxy::Proxy;
use crate::scenario::{Scenario, scenario_within};
use crate::traffic::{Plan, Told, Traffic};
use crate::turn::Turns;

/// So many of these at once: each moves hundreds of megabytes, which takes processors.
static TURNS: Turns = Turns::new(3);

/// Longer than any of these takes.
const LIMIT: Duration = Duration::from_secs(400);

/// What a scenario has at hand while traffic flows.
#[derive(Debug)]
pub struct Scene<'a> {
    /// The scenario.
    pub at: &'a Scenario,
    /// Between the session and the API server.
    pub proxy: Proxy,
    /// The session.
    pub session: Session,
    /// Of `orders`, to this machine.
    pub exchange: Exchange,
    /// To the original pods.
    pub forward: Forward,
    /// From this machine through the forward to the original pods.
    pub out: Traffic,
    /// From a pod through the exchange to this machine.
    pub into: Traffic,
    /// Where exchanged traffic arrives.
    pub local: Apart,
}

/// Runs `body` while traffic of `plan` flows both ways, and demands afterwards that nothing of it was lost.
///
/// # Panics
/// As [`scenario`](crate::scenario).
pub fn under_traffic(name: &str, plan: Plan, body: impl AsyncFnOnce(&Scene<'_>)) {
    under_traffic_with(name, plan, |config| config, body);
}

/// As [`under_traffic`], with settings of the session.
///
/// # Panics
/// As [`scenario`](crate::scenario).
pub fn under_traffic_with(
    name: &str,
    plan: Plan,
    settings: impl FnOnce(Config) -> Config,
    body: impl AsyncFnOnce(&Scene<'_>),
) {
    within_limit(name, async |at| {
        let scene = Scene::start(at, plan, settings).await;
        body(&scene).await;
        scene.finish().await;
    });
}

/// A scenario with a limit that suits these.
///
/// # Panics
/// As [`scenario`](crate::scenario).
pub fn within_limit(name: &str, body: impl AsyncFnOnce(&Scenario)) {
    // Its time begins when its turn has come.
    let _turn = TURNS.take();
    scenario_within(LIMIT, Security::Privileged, name, body);
}

impl<'a> Scene<'a> {
    /// Starts it all, and waits until all connections are open.
    ///
    /// # Panics
    /// When something does not start.
    pub async fn start(at: &'a Scenario, plan: Plan, settings: impl FnOnce(Config) -> Config) -> Self {
        Self::start_behind(at, plan, settings, |_| ()).await
    }

    /// Behind a proxy that does something from the start.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub async fn start_behind(
        at: &'a Scenario,
        plan: Plan,
        settings: impl FnOnce(Config) -> Config,
        trouble: impl FnOnce(&Proxy),
    ) -> Self {
        at.shop(&App::orders()).await;
        let local = Apart::http().await;
        let proxy =
            Proxy::start(at.cluster().kubeconfig()).await.unwrap_or_else(|error| panic!("proxy: {error}"));
        trouble(&proxy);
        let config = settings(at.config().kubeconfig(proxy.kubeconfig()));
        let session = Session::start(config).await.good();
        let (exchange, forward) = tokio::join!(
            session.exchange("orders", To::port(local.port())),
            session.forward("deploy/orders:8080")
        );
        Self::anew(at, proxy, session, exchange.good(), forward.good(), local, plan).await
    }

    /// New traffic through what is there.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub async fn anew(
        at: &'a Scenario,
        proxy: Proxy,
        session: Session,
        exchange: Exchange,
        forward: Forward,
        local: Apart,
        plan: Plan,
    ) -> Self {
        let (out, into) = tokio::join!(
            Traffic::here(forward.address(), plan),
            Traffic::in_pod(at.namespace(), "orders:80", plan)
        );
        let scene = Self { at, proxy, session, exchange, forward, out, into, local };
        tokio::join!(scene.out.running(), scene.into.running());
        scene
    }

    /// How both traffics stand.
    ///
    /// # Panics
    /// When one does not tell.
    pub async fn told(&self) -> [Told; 2] {
        let (out, into) = tokio::join!(self.out.told(), self.into.told());
        [out, into]
    }

    /// Waits until all transfers and requests go on.
    ///
    /// # Panics
    /// When they do not.
    pub async fn moves_on(&self) {
        let [out, into] = self.told().await;
        tokio::join!(self.out.moves_on(&out), self.into.moves_on(&into));
    }

    /// Waits until so many more whole transfers went each way, out and in.
    ///
    /// # Panics
    /// When they do not.
    pub async fn transferred(&self, count: u64) {
        let [out, into] = self.told().await;
        tokio::join!(self.out.transferred(&out, count), self.into.transferred(&into, count));
    }

    /// The end of the traffic, of which nothing was lost, and of the session.
    ///
    /// # Panics
    /// When something was lost, or the session does not close.
    pub async fn finish(self) {
        let (out, into) = tokio::join!(self.out.finish(), self.into.finish());
        println!("out:  {out}\ninto: {into}");
        // Controllers of a cluster whose API server was away take a while to come back and delete.
        self.session.close(CLOSE * 4).await.good();
    }
}
