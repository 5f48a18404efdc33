//! The connections of clients: what each is about, and how it is cut.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::rest::Asked;

/// One client's connection.
#[derive(Debug)]
pub(crate) struct Connection {
    /// The same socket once more, to make its end a reset.
    socket: Mutex<Option<OwnedFd>>,
    about: Mutex<String>,
    cut: CancellationToken,
}

impl Connection {
    pub(crate) fn new(stream: &TcpStream) -> Arc<Self> {
        let socket = stream.as_fd().try_clone_to_owned().ok();
        Arc::new(Self { socket: Mutex::new(socket), about: Mutex::default(), cut: CancellationToken::new() })
    }

    /// Ends it by a reset.
    pub(crate) fn cut(&self) {
        if let Some(socket) = lock(&self.socket).take() {
            // Gone already is as good.
            let _ = socket2::SockRef::from(&socket).set_linger(Some(std::time::Duration::ZERO));
        }
        self.cut.cancel();
    }

    pub(crate) async fn until_cut(&self) {
        self.cut.cancelled().await;
    }

    pub(crate) fn set_about(&self, asked: &Asked) {
        let plural = asked.kind().map_or("", |kind| kind.plural);
        let sub = asked.sub();
        *lock(&self.about) = if sub.is_empty() { plural.to_owned() } else { format!("{plural}/{sub}") };
    }
}

/// All of a cluster.
#[derive(Debug, Default)]
pub(crate) struct Connections(Mutex<Vec<Weak<Connection>>>);

impl Connections {
    pub(crate) fn add(&self, connection: &Arc<Connection>) {
        let mut all = lock(&self.0);
        all.retain(|one| one.strong_count() > 0);
        all.push(Arc::downgrade(connection));
    }

    /// Cuts those whose last request was about this resource, as in `pods/portforward`; all without one. Tells how
    /// many.
    pub(crate) fn cut(&self, about: Option<&str>) -> usize {
        let all: Vec<_> = lock(&self.0).iter().filter_map(Weak::upgrade).collect();
        let chosen = all.iter().filter(|one| about.is_none_or(|about| *lock(&one.about) == about));
        chosen.map(|one| one.cut()).count()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
