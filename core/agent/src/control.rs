//! Clients: their carriers, their links, and what they ask for.

use std::sync::Arc;
use std::time::Duration;

use kubetether_link::{Acceptor, Attached, Incoming, IoRead, Link};
use kubetether_wire::{Answer, CallCode, DecodeError, GoodbyeCode, Open, Refusal, RefusalCode, Request};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::drain::Phase;
use crate::serve::Shared;

/// What an agent of one role does for its clients.
pub(crate) trait Serve: Send + Sync + 'static {
    /// A stream that a client wants to open to a place in the cluster.
    fn dial(
        self: Arc<Self>,
        incoming: Incoming,
        host: String,
        port: u16,
        deadline: Duration,
    ) -> impl Future<Output = ()> + Send;

    /// An association that a client wants to open to a place in the cluster.
    fn associate(
        self: Arc<Self>,
        incoming: Incoming,
        host: String,
        port: u16,
        deadline: Duration,
    ) -> impl Future<Output = ()> + Send;

    /// A call. Never fails as a whole: failures are answers.
    fn call(self: Arc<Self>, link: Link, request: Request) -> impl Future<Output = Answer> + Send;

    /// A link has ended.
    fn detached(&self, link: &Link);
}

/// A carrier says hello at once, or it is none.
const HELLO: Duration = Duration::from_secs(10);
/// Carriers that have not said hello yet, at once.
const GREETING: usize = 64;
/// A client sends its request right behind the opening of the call.
const REQUEST: Duration = Duration::from_secs(10);
/// Three times what the longest of ours has; no budget knows of them.
const REQUEST_BYTES: usize = 64 << 10;
/// Calls of one link at once.
const CALLS: usize = 32;
/// How long the last bytes of streams may take to be with the client when the agent ends.
const FLUSH: Duration = Duration::from_secs(5);
/// How long the tasks of a link that has ended may take to pass its end on.
const AFTERMATH: Duration = Duration::from_secs(5);

/// Takes clients until dropped.
pub(crate) async fn serve<J: Serve>(listener: TcpListener, shared: Arc<Shared>, job: Arc<J>) {
    let greeting = Arc::new(Semaphore::new(GREETING));
    let mut carriers = JoinSet::new();
    loop {
        // The place is taken before the carrier: more than fit wait in the kernel.
        let accept = async {
            let place = Arc::clone(&greeting).acquire_owned().await;
            listener.accept().await.map(|(socket, _)| (place, socket))
        };
        tokio::select! {
            accepted = accept => match accepted {
                Ok((place, socket)) => {
                    let (shared, job) = (Arc::clone(&shared), Arc::clone(&job));
                    carriers.spawn(async move {
                        let attached = greet(&shared.acceptor, socket).await;
                        drop(place);
                        if let Some(link) = attached {
                            serve_link(&shared, &job, link).await;
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a client; trying again");
                    sleep(Duration::from_millis(100)).await;
                }
            },
            Some(ended) = carriers.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "the task of a client panicked");
                }
            }
        }
    }
}

async fn greet(acceptor: &Acceptor, socket: TcpStream) -> Option<Link> {
    // Only a hint; without it small frames are slower.
    let _ = socket.set_nodelay(true);
    let (read, write) = socket.into_split();
    match acceptor.carrier(IoRead::new(read), write, Instant::now() + HELLO).await {
        Ok(Attached::New(link)) => Some(link),
        Ok(Attached::Joined) => None,
        Err(error) => {
            // A port scan looks like this too.
            tracing::info!(error = &error as &dyn std::error::Error, "a carrier was not attached");
            None
        }
    }
}

async fn serve_link<J: Serve>(shared: &Shared, job: &Arc<J>, link: Link) {
    let _serving = shared.serving.one();
    let who = link.peer().map(|peer| peer.who).unwrap_or_default();
    tracing::info!(clients = shared.clients(), "a client attached");
    tracing::debug!(who, "the client's name");
    let calls = Arc::new(Semaphore::new(CALLS));
    let mut phase = shared.drain.watch();
    let mut streams = JoinSet::new();
    let mut known = Phase::Serving;
    loop {
        let now = *phase.borrow_and_update();
        // Acted on once: each stream and call comes by here, too.
        if std::mem::replace(&mut known, now) != now {
            match now {
                Phase::Serving => {}
                Phase::Draining => link.drain("the agent was asked to end"),
                Phase::Ending => {
                    flush(&link).await;
                    // Not `Draining`: that is only a notice to a link that is up.
                    link.close(GoodbyeCode::Closed, "the agent ends");
                }
            }
        }
        tokio::select! {
            // The sender lives as long as `shared`.
            _ = phase.changed() => {}
            incoming = link.accept() => match incoming {
                Some(incoming) => dispatch(job, &link, incoming, &calls, &mut streams),
                None => break,
            },
            Some(ended) = streams.join_next() => report(ended),
        }
    }
    job.detached(&link);
    let reason = link.closed().await;
    tracing::info!(%reason, "a client detached");
    // Its streams were cut: their tasks reset what hangs on them.
    let aftermath = async {
        while let Some(ended) = streams.join_next().await {
            report(ended);
        }
    };
    if timeout(AFTERMATH, aftermath).await.is_err() {
        tracing::warn!(left = streams.len(), "streams outlived their link; ended now");
    }
}

/// Lets the client have what is still on its way to it, as long as there is a way.
async fn flush(link: &Link) {
    let mut carriers = link.carriers();
    tokio::select! {
        biased;
        flushed = timeout(FLUSH, link.flushed()) => if flushed.is_err() {
            tracing::warn!("a client did not take its last bytes in time");
        },
        // An error means that the link is gone.
        _ = carriers.wait_for(|carriers| *carriers == 0) => {
            tracing::info!("a client that cannot be reached is not waited for");
        }
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "the task of a stream panicked");
    }
}

fn dispatch<J: Serve>(
    job: &Arc<J>,
    link: &Link,
    incoming: Incoming,
    calls: &Arc<Semaphore>,
    streams: &mut JoinSet<()>,
) {
    let job = Arc::clone(job);
    match incoming.open().clone() {
        Open::Dial { host, port, deadline } => {
            streams.spawn(job.dial(incoming, host, port, deadline));
        }
        Open::DialDatagrams { host, port, deadline } => {
            streams.spawn(job.associate(incoming, host, port, deadline));
        }
        Open::Call => match Arc::clone(calls).try_acquire_owned() {
            Ok(place) => {
                let link = link.clone();
                streams.spawn(async move {
                    answer(job, link, incoming).await;
                    drop(place);
                });
            }
            Err(_) => incoming
                .refuse(Refusal::new(RefusalCode::Limit, format!("{CALLS} calls are running already"))),
        },
        Open::Inbound { .. } | Open::InboundDatagrams { .. } => {
            incoming
                .refuse(Refusal::new(RefusalCode::NotAllowed, "only an interceptor opens inbound streams"));
        }
        // Of a later version.
        Open::Unknown(_) => incoming.refuse(Refusal::new(RefusalCode::Unsupported, "")),
    }
}

async fn answer<J: Serve>(job: Arc<J>, link: Link, incoming: Incoming) {
    let mut call = match incoming.call(REQUEST_BYTES, Instant::now() + REQUEST).await {
        Ok(call) => call,
        Err(error) => {
            tracing::debug!(%error, "a call without a request");
            return;
        }
    };
    let answer = match Request::decode(call.request()) {
        Ok(request) => {
            let name = request.name();
            tokio::select! {
                answer = job.call(link, request) => {
                    tracing::debug!(call = name, "answered");
                    answer
                }
                // Whoever asked has gone: nobody needs the answer.
                _ = call.cancelled() => return,
            }
        }
        Err(error @ DecodeError::Critical(_)) => Answer::failed(CallCode::Unsupported, error.to_string()),
        Err(error) => Answer::failed(CallCode::Malformed, error.to_string()),
    };
    if let Err(error) = call.answer(&answer.encode()).await {
        tracing::debug!(%error, "an answer was not taken");
    }
}
