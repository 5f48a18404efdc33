//! What happens to bytes on their way: the handle that changes it, and what all connections share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use super::bucket::Bucket;
use super::connections::{Connections, Entry};
use super::line::Budget;

/// Which connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of them.
    All,
    /// Those that were upgraded: port-forwards and execs. Behind a [`RawProxy`](super::RawProxy) there are none.
    Upgraded,
}

/// Which connections to cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// All of them.
    All,
    /// Those that were upgraded. Behind a [`RawProxy`](super::RawProxy) there are none.
    Upgraded,
    /// The oldest of the upgraded ones.
    OneUpgraded,
}

/// Bytes that were passed on since the start, as they are on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Towards the API server.
    pub up: u64,
    /// Towards the client.
    pub down: u64,
}

/// Sets what happens to bytes, at any time, for open and new connections alike. Clones change the same proxy.
///
/// Nothing here limits bandwidth but [`throttle`](Self::throttle): under a delay, each direction of a connection
/// holds up to 64 MiB on their way (300 MB/s for 200 ms), all connections together 256 MiB; a receiver that does not
/// take what is due is felt by the sender after 4 MiB.
#[derive(Clone, Debug)]
pub struct Wire(pub(super) Arc<Shared>);

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Up,
    Down,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Settings {
    pub(super) delay: [Duration; 2],
    /// Bytes per second.
    pub(super) rate: [Option<u64>; 2],
    pub(super) blackhole: Option<Scope>,
    pub(super) refuse: bool,
    pub(super) every: Option<(Duration, Cut)>,
}

/// What the connections of a proxy share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) settings: watch::Sender<Settings>,
    /// Whether new connections are refused by now.
    pub(super) refusing: watch::Sender<bool>,
    pub(super) connections: Arc<Connections>,
    pub(super) lanes: [Lane; 2],
}

/// What the connections share in one direction.
#[derive(Debug, Default)]
pub(super) struct Lane {
    pub(super) bucket: Bucket,
    pub(super) budget: Arc<Budget>,
    pub(super) passed: AtomicU64,
}

impl Wire {
    pub(super) fn new() -> Self {
        Self(Arc::new(Shared {
            settings: watch::Sender::default(),
            refusing: watch::Sender::new(false),
            connections: Arc::default(),
            lanes: Default::default(),
        }))
    }

    /// Holds bytes back for so long on their way to the API server, and on their way back. Up to a millisecond more,
    /// as timers go; a connection's TCP handshake is not delayed. Bytes under way keep the time they were given.
    pub fn delay(&self, up: Duration, down: Duration) {
        self.set(|settings| settings.delay = [up, down]);
    }

    /// As [`delay`](Self::delay), half of it each way.
    pub fn round_trip(&self, time: Duration) {
        self.delay(time / 2, time / 2);
    }

    /// Lets only so many bytes per second through, each way, all connections together. `None`: no limit.
    ///
    /// The limit stands before the delay, as a slow line's does: bytes wait with the sender, and the proxy holds
    /// none of them but what the kernel's socket buffers do (64 KiB a connection, before they grow).
    pub fn throttle(&self, up: Option<u64>, down: Option<u64>) {
        self.0.lanes.iter().for_each(|lane| lane.bucket.clear());
        self.set(|settings| settings.rate = [up, down]);
    }

    /// From now on nothing passes, in neither direction, not even the end of a connection. Connections stay open, and new ones hang.
    pub fn blackhole(&self, scope: Scope) {
        self.set(|settings| settings.blackhole = Some(scope));
    }

    /// Ends [`blackhole`](Self::blackhole): what was held back flows.
    pub fn release(&self) {
        self.set(|settings| settings.blackhole = None);
    }

    /// Refuses new connections (`ECONNREFUSED`), or takes them again. Returns when it is so. Cancel-safe: it comes
    /// to be so all the same.
    pub async fn refuse(&self, refuse: bool) {
        let mut refusing = self.0.refusing.subscribe();
        self.set(|settings| settings.refuse = refuse);
        // The only failure is that the proxy is closed, which refuses anyway.
        let _ = refusing.wait_for(|now| *now == refuse).await;
    }

    /// Resets connections, towards both their ends; how many. What is held of them is lost.
    pub fn cut(&self, which: Cut) -> usize {
        self.0.connections.cut(which)
    }

    /// Does [`cut`](Self::cut) again and again, first after one such time. `None` ends it.
    pub fn cut_every(&self, every: Option<(Duration, Cut)>) {
        self.set(|settings| settings.every = every);
    }

    /// How often something was cut since the start, by call or by the clock.
    #[must_use]
    pub fn cuts(&self) -> u64 {
        self.0.connections.cuts()
    }

    /// Connections that are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.0.connections.open()
    }

    /// Connections that are open and were upgraded.
    #[must_use]
    pub fn upgraded(&self) -> usize {
        self.0.connections.upgraded()
    }

    /// Connections accepted since the start.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.0.connections.accepted()
    }

    /// Bytes passed on since the start.
    #[must_use]
    pub fn passed(&self) -> Passed {
        let [up, down] = [Way::Up, Way::Down].map(|way| self.0.lane(way).passed.load(Ordering::Relaxed));
        Passed { up, down }
    }

    fn set(&self, change: impl FnOnce(&mut Settings)) {
        self.0.settings.send_modify(change);
    }
}

impl Settings {
    /// Whether bytes of this connection pass.
    pub(super) fn passes(&self, entry: &Entry) -> bool {
        match self.blackhole {
            None => true,
            Some(Scope::All) => false,
            Some(Scope::Upgraded) => !entry.is_upgraded(),
        }
    }
}

impl Shared {
    pub(super) fn lane(&self, way: Way) -> &Lane {
        &self.lanes[way as usize]
    }

    /// Waits until bytes of this connection pass.
    pub(super) async fn passable(&self, entry: &Entry) {
        let mut settings = self.settings.subscribe();
        // It cannot fail: `self` holds the sender.
        let _ = settings.wait_for(|settings| settings.passes(entry)).await;
    }

    /// Cuts by the clock; ends never.
    pub(super) async fn metronome(&self) {
        let mut settings = self.settings.subscribe();
        loop {
            let every = settings.borrow_and_update().every;
            let changed = async {
                let same = settings.wait_for(|settings| settings.every != every).await;
                drop(same);
            };
            let beating = async {
                let Some((every, which)) = every else { return std::future::pending().await };
                // Never faster than the timer.
                let every = every.max(Duration::from_millis(1));
                let mut beat = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
                loop {
                    beat.tick().await;
                    self.connections.cut(which);
                }
            };
            tokio::select! {
                () = changed => {}
                () = beating => {}
            }
        }
    }
}
