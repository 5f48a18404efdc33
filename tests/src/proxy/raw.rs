//! Passes bytes on as they are.

use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::connections::Entry;
use super::line::End;
use super::pump::carry;
use super::upstream::Server;
use super::wire::Shared;

/// Serves all connections of a proxy that passes TLS on.
pub(super) struct Raw {
    pub(super) server: Server,
    pub(super) shared: Arc<Shared>,
}

impl Raw {
    /// Serves one client to the end of its connection.
    pub(super) async fn serve(self: Arc<Self>, mut client: TcpStream, entry: Arc<Entry>) {
        let dialling = async {
            self.shared.passable(&entry).await;
            self.server.dial().await
        };
        let dialled = tokio::select! {
            () = entry.until_cut() => None,
            dialled = dialling => dialled
                .inspect_err(|error| tracing::debug!(%error, "the API server cannot be dialled"))
                .ok(),
        };
        let Some(mut server) = dialled else {
            let _ = client.set_zero_linger();
            return;
        };
        let (from_server, to_server) = server.split();
        let never = CancellationToken::new();
        let ended = carry(&mut client, from_server, to_server, &self.shared, &entry, &never).await;
        if ended == End::Reset {
            let _ = client.set_zero_linger();
            let _ = server.set_zero_linger();
        }
    }
}
