use kubetether_wire::LinkConfig;
use std::io;
use tokio::{sync::watch, time::Instant};

use crate::{AttachError, CarrierRead, CarrierWrite, Link};

/// The agent's table of links: takes carriers, and finds by the client's hello which link each belongs to.
#[derive(Debug)]
pub struct Acceptor;

/// What a carrier became.
#[derive(Debug)]
pub enum Attached {
    /// The first carrier of a new link. Whoever holds the handle owns the link.
    New(Link),
    /// One more carrier of a link that is known.
    Joined,
}

impl Acceptor {
    /// A table without links that takes at most `max_links` at once. Every link of it behaves as `config` says.
    ///
    /// # Errors
    /// When the system has no randomness for the incarnation.
    pub fn new(config: LinkConfig, max_links: usize) -> io::Result<Self> {
        let _ = (config, max_links);
        todo!()
    }

    /// Takes one carrier: reads the client's hello and answers. Returns when the carrier serves its link, whose tasks run
    /// on the current tokio runtime.
    ///
    /// Cancel-safe: a cancelled call drops the carrier.
    ///
    /// # Errors
    /// See [`AttachError`]; the client was told why.
    pub async fn carrier(
        &self,
        read: impl CarrierRead,
        write: impl CarrierWrite,
        deadline: Instant,
    ) -> Result<Attached, AttachError> {
        let _ = (read, write, deadline);
        std::future::pending().await
    }

    /// From now on, new links are turned away as draining; carriers of known links are still taken. Idempotent.
    pub fn drain(&self) {
        todo!()
    }

    /// How many links live.
    pub fn links(&self) -> watch::Receiver<usize> {
        todo!()
    }

    /// The random name of this process.
    pub fn incarnation(&self) -> [u8; 16] {
        todo!()
    }
}
