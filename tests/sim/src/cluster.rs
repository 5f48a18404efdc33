//! What all parts of an embedded cluster share.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connection::Connections;
use crate::faults::Faults;
use crate::kubelet::Kubelet;
use crate::store::Store;
use crate::tokens::Tokens;

/// What requests are answered from.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) store: Arc<Store>,
    pub(crate) kubelet: Arc<Kubelet>,
    pub(crate) faults: Faults,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) connections: Connections,
    /// Where the API is served.
    pub(crate) address: SocketAddr,
    /// Whether port-forwards may be SPDY without a WebSocket around it.
    pub(crate) spdy: bool,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
}
