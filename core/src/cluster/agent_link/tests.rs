//! The keeper on a line of ours to an acceptor of ours, under a simulated clock.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Bytes, BytesMut};
use kubetether_link::{Acceptor, Attached, CloseReason, IoRead, IoWrite};
use tokio::io::{ReadHalf, SimplexStream, WriteHalf};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// The line: what dials bring, and what happens to the carriers on it.
struct Line {
    acceptor: Acceptor,
    /// While it is dark, nothing moves.
    dark: watch::Sender<bool>,
    /// What dials bring instead of a carrier.
    fails: Mutex<Option<Error>>,
    /// Cuts the carriers there are.
    cut: Mutex<CancellationToken>,
    /// In these words.
    words: &'static str,
    agents: Mutex<Vec<Link>>,
    dials: Mutex<u32>,
    /// Dials do not end.
    hang: AtomicBool,
}

struct Read {
    inner: IoRead<ReadHalf<SimplexStream>>,
    dark: watch::Receiver<bool>,
    cut: CancellationToken,
    words: &'static str,
}

impl CarrierRead for Read {
    async fn recv(&mut self) -> io::Result<Option<Bytes>> {
        let received = tokio::select! {
            received = self.inner.recv() => received,
            () = self.cut.cancelled() => Err(io::Error::other(self.words)),
        };
        let _ = self.dark.wait_for(|dark| !*dark).await;
        received
    }
}

struct Write {
    inner: IoWrite<WriteHalf<SimplexStream>>,
    dark: watch::Receiver<bool>,
}

impl CarrierWrite for Write {
    async fn send(&mut self, buffer: BytesMut) -> io::Result<BytesMut> {
        let _ = self.dark.wait_for(|dark| !*dark).await;
        self.inner.send(buffer).await
    }

    async fn close(&mut self) -> io::Result<()> {
        self.inner.close().await
    }
}

impl Line {
    fn new(words: &'static str) -> Arc<Self> {
        Arc::new(Self {
            acceptor: Acceptor::new(LinkConfig::new(Role::Gateway), 4).unwrap(),
            dark: watch::Sender::new(false),
            fails: Mutex::default(),
            cut: Mutex::default(),
            words,
            agents: Mutex::default(),
            dials: Mutex::default(),
            hang: AtomicBool::new(false),
        })
    }

    /// Opens a link over it.
    async fn link(self: &Arc<Self>) -> AgentLink {
        let link = Link::client(LinkConfig::new(Role::Client)).unwrap();
        let keeper = Arc::new(Notify::new());
        let (line, to, told) = (self.clone(), link.clone(), keeper.clone());
        let dial = move |deadline| -> BoxFuture<'static, Result<Dialled>> {
            let (line, link, keeper) = (line.clone(), to.clone(), told.clone());
            Box::pin(async move { line.dial(&link, keeper, deadline).await })
        };
        let way = Way { pod: "agent-0".into(), link: link.clone(), keeper, dial: Arc::new(dial) };
        let first = first_carrier(&way, Deadline::secs(5)).await.unwrap();
        let limits = Limits { least: 2, most: 4, silence: 3 * SECOND };
        let (keeper, health) = Keeper::new(way, limits, 4 * SECOND, first);
        tokio::spawn(keeper.run());
        link.carriers().wait_for(|up| *up == 2).await.unwrap();
        AgentLink { link, health }
    }

    async fn dial(&self, link: &Link, keeper: Arc<Notify>, deadline: Deadline) -> Result<Dialled> {
        *self.dials.lock().unwrap() += 1;
        if let Some(error) = self.fails.lock().unwrap().clone() {
            return Err(error);
        }
        if self.hang.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        let (read, far_write) = tokio::io::simplex(64 << 10);
        let (far_read, write) = tokio::io::simplex(64 << 10);
        let acceptor = self.acceptor.clone();
        let accepting = tokio::spawn(async move {
            acceptor.carrier(IoRead::new(far_read), IoWrite::new(far_write), deadline.instant()).await
        });
        let cut = self.cut.lock().unwrap().clone();
        let read = Read { inner: IoRead::new(read), dark: self.dark.subscribe(), cut, words: self.words };
        let write = Write { inner: IoWrite::new(write), dark: self.dark.subscribe() };
        let dialled = attach("agent-0", link, keeper, read, write, deadline).await?;
        if let Ok(Ok(Attached::New(agent))) = accepting.await {
            self.agents.lock().unwrap().push(agent);
        }
        Ok(dialled)
    }

    fn cut_all(&self) {
        std::mem::take(&mut *self.cut.lock().unwrap()).cancel();
    }

    fn fail(&self, error: Option<Error>) {
        *self.fails.lock().unwrap() = error;
    }
}

async fn down(link: &AgentLink) -> String {
    let mut health = link.health();
    match &*health.wait_for(|health| *health != Health::Up).await.unwrap() {
        Health::Down(reason) => reason.clone(),
        Health::Up => unreachable!(),
    }
}

async fn up(link: &AgentLink) {
    link.health().wait_for(|health| *health == Health::Up).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_line_that_goes_dark_is_told_within_five_seconds_and_so_is_its_return() {
    let line = Line::new("");
    let link = line.link().await;
    for dark in [8, 30] {
        tokio::time::sleep(10 * SECOND).await;
        assert_eq!(*link.health().borrow(), Health::Up);
        let began = Instant::now();
        line.dark.send_replace(true);
        let reason = down(&link).await;
        assert!(began.elapsed() <= 5 * SECOND, "{:?}", began.elapsed());
        assert!(reason.contains("nothing is heard from the agent in pods/agent-0"), "{reason}");
        tokio::time::sleep(dark * SECOND).await;
        let began = Instant::now();
        line.dark.send_replace(false);
        up(&link).await;
        assert!(began.elapsed() <= 5 * SECOND, "{:?}", began.elapsed());
    }
    assert_eq!(link.close_reason(), None);
}

#[tokio::test(start_paused = true)]
async fn a_gap_that_nobody_feels_is_not_told() {
    let line = Line::new("gone");
    let link = line.link().await;
    let health = link.health();
    for _ in 0..10 {
        tokio::time::sleep(SECOND).await;
        line.cut_all();
    }
    tokio::time::sleep(5 * SECOND).await;
    assert!(!health.has_changed().unwrap());
    assert_eq!(*link.carriers().borrow(), 2);
    assert_eq!(*line.dials.lock().unwrap(), 22);
}

#[tokio::test(start_paused = true)]
async fn who_cannot_be_reached_and_why_is_the_reason() {
    let line = Line::new("lost connection to pod");
    let link = line.link().await;
    line.fail(Some(Error::new(ErrorCode::Unreachable, "nothing listens at the API server's port")));
    let began = Instant::now();
    line.cut_all();
    assert_eq!(down(&link).await, "nothing listens at the API server's port");
    assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
    line.fail(None);
    up(&link).await;
    assert!(began.elapsed() < 2 * SECOND, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_nodes_words_are_the_reason_while_nobody_knows_better() {
    let line = Line::new("lost connection to pod");
    let link = line.link().await;
    line.hang.store(true, Ordering::Relaxed);
    line.cut_all();
    let reason = down(&link).await;
    assert!(reason.contains("agent-0") && reason.contains("lost connection to pod"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_gone_ends_the_link() {
    let line = Line::new("lost connection to pod");
    let link = line.link().await;
    line.fail(Some(Error::new(ErrorCode::NoSuchTarget, "pods \"agent-0\" not found")));
    line.cut_all();
    let why = link.leaving().await;
    assert!(why.contains("the agent's pod is gone"), "{why}");
    assert!(
        matches!(link.close_reason(), Some(CloseReason::Local(goodbye)) if goodbye.code == GoodbyeCode::AgentRestarted)
    );
    assert!(down(&link).await.contains("agent-0"));
}

#[tokio::test(start_paused = true)]
async fn beyond_the_grace_the_link_is_over_and_says_so() {
    let line = Line::new("");
    let link = line.link().await;
    line.fail(Some(Error::new(ErrorCode::Unreachable, "no route")));
    line.cut_all();
    let began = Instant::now();
    let why = link.leaving().await;
    assert!(began.elapsed() >= 60 * SECOND, "{:?}", began.elapsed());
    assert!(why.contains("grace"), "{why}");
}
