use std::{
    collections::{BTreeSet, HashMap},
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use kubetether_wire::{
    self as wire, Frame, FrameReader, Goodbye, GoodbyeCode, Hello, LinkConfig, ProtocolError,
};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use crate::{
    AttachError, CarrierRead, CarrierWrite, Link,
    shared::{Shared, now},
    tasks,
};

/// A link without a carrier for this long gives way to a new one where the table is full: a client that lives has tried
/// twice by then, as its longest pause is 5 s.
const GIVES_WAY: Duration = Duration::from_secs(10);

/// The agent's table of links: takes carriers, and finds by the client's hello which link each belongs to. A cheap handle.
#[derive(Debug, Clone)]
pub struct Acceptor {
    table: Arc<Table>,
}

/// What a carrier became.
#[derive(Debug)]
pub enum Attached {
    /// The first carrier of a new link. Whoever holds the handle owns the link.
    New(Link),
    /// One more carrier of a link that is known.
    Joined,
}

impl Acceptor {
    /// A table without links that takes at most `max_links` at once. Every link of it behaves as `config` says. When the
    /// table is full, the link that has been without a carrier the longest, and for at least 10 s, is closed for a new one.
    ///
    /// # Errors
    /// When the system has no randomness for the incarnation.
    pub fn new(config: LinkConfig, max_links: usize) -> io::Result<Self> {
        let mut incarnation = [0; 16];
        getrandom::fill(&mut incarnation)?;
        let table =
            Table { config, max_links, incarnation, entries: Mutex::default(), links: watch::Sender::new(0) };
        Ok(Self { table: Arc::new(table) })
    }

    /// Takes one carrier: reads the client's hello and answers. Returns when the carrier serves its link, whose tasks run
    /// on the current tokio runtime.
    ///
    /// Cancel-safe: a cancelled call drops the carrier.
    ///
    /// # Errors
    /// See [`AttachError`]; the client was told why, if what it said was a hello.
    pub async fn carrier(
        &self,
        mut read: impl CarrierRead,
        mut write: impl CarrierWrite,
        deadline: Instant,
    ) -> Result<Attached, AttachError> {
        let hello = timeout_at(deadline, read_hello(&mut read)).await;
        let joined = match hello.map_err(|_| AttachError::TimedOut)? {
            Ok((hello, reader)) => self.table.join(&hello, reader),
            Err(AttachError::Protocol(ProtocolError::Hello(goodbye))) => Err(goodbye),
            Err(error) => return Err(error),
        };
        let (shared, id, new) = match joined {
            Ok(joined) => joined,
            Err(goodbye) => {
                // That the client is told matters less than the time it may take.
                let _ = timeout_at(deadline, turn_away(&mut write, goodbye.clone())).await;
                return Err(AttachError::Refused(goodbye));
            }
        };
        // What came behind the hello goes before what the reader will bring.
        shared.act(|state| state.link.handle_input(id, Bytes::new(), now()));
        tasks::start(&shared, id, read, write, None);
        Ok(if new { Attached::New(Link::new(shared)) } else { Attached::Joined })
    }

    /// From now on, new links are turned away as draining; carriers of known links are still taken. Idempotent.
    pub fn drain(&self) {
        self.table.lock().draining = true;
    }

    /// How many links live but those of these [names](Link::id).
    pub fn links_but(&self, names: &BTreeSet<[u8; 16]>) -> usize {
        self.table.lock().links.keys().filter(|name| !names.contains(*name)).count()
    }

    /// How many links live.
    pub fn links(&self) -> watch::Receiver<usize> {
        self.table.links.subscribe()
    }

    /// The random name of this process.
    pub fn incarnation(&self) -> [u8; 16] {
        self.table.incarnation
    }
}

/// The links of an agent.
pub(crate) struct Table {
    config: LinkConfig,
    max_links: usize,
    incarnation: [u8; 16],
    entries: Mutex<Entries>,
    links: watch::Sender<usize>,
}

#[derive(Default)]
struct Entries {
    links: HashMap<[u8; 16], Arc<Shared>>,
    draining: bool,
}

impl Table {
    /// A link is closed.
    pub(crate) fn remove(&self, id: [u8; 16]) {
        let mut entries = self.lock();
        entries.links.remove(&id);
        self.links.send_replace(entries.links.len());
    }

    /// Finds or makes the link of a carrier. Returns it, the carrier's number, and whether it is new.
    fn join(
        self: &Arc<Self>,
        hello: &Hello,
        reader: FrameReader,
    ) -> Result<(Arc<Shared>, u32, bool), Goodbye> {
        let mut entries = self.lock();
        if let Some(known) = entries.links.get(&hello.link).cloned() {
            drop(entries);
            let id = known.act(|state| state.link.carrier_join(hello, reader, now()))?;
            return Ok((known, id, false));
        }
        let mut link = wire::Link::agent(self.config.clone(), hello, self.incarnation)?;
        if entries.draining {
            return Err(Goodbye::new(GoodbyeCode::Draining, "this agent is about to leave"));
        }
        if entries.links.len() >= self.max_links {
            if let Some(gone) = entries.longest_alone() {
                // Its end takes it out of the table; then all is looked at again.
                drop(entries);
                gone.close_alone("another client needed the place");
                return self.join(hello, reader);
            }
            let text = format!("{} clients are attached, as many as there may be", entries.links.len());
            return Err(Goodbye::new(GoodbyeCode::Busy, text));
        }
        let id = link.carrier_join(hello, reader, now())?;
        let shared = Shared::new(link, Arc::downgrade(self));
        entries.links.insert(hello.link, Arc::clone(&shared));
        self.links.send_replace(entries.links.len());
        Ok((shared, id, true))
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        // Nothing under the lock leaves it half done.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    /// The link that gives way first, if any does.
    fn longest_alone(&self) -> Option<Arc<Shared>> {
        let since = |link: &Arc<Shared>| Some((link.alone()?, Arc::clone(link)));
        let (since, link) = self.links.values().filter_map(since).min_by_key(|(since, _)| *since)?;
        (now().saturating_duration_since(since) >= GIVES_WAY).then_some(link)
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("links", &*self.links.borrow()).finish_non_exhaustive()
    }
}

async fn read_hello(read: &mut impl CarrierRead) -> Result<(Hello, FrameReader), AttachError> {
    let mut reader = FrameReader::default();
    while let Some(bytes) = read.recv().await.map_err(AttachError::Io)? {
        reader.push(bytes);
        match reader.next_frame().map_err(AttachError::Protocol)? {
            Some(Frame::Hello(hello)) => return Ok((*hello, reader)),
            Some(_) => {
                return Err(AttachError::Protocol(ProtocolError::Rule("the first frame is no HELLO")));
            }
            None => {}
        }
    }
    Err(AttachError::Ended)
}

async fn turn_away<W: CarrierWrite>(write: &mut W, goodbye: Goodbye) -> io::Result<()> {
    let mut buffer = BytesMut::zeroed(W::HEADROOM);
    Frame::Goodbye(goodbye).encode(&mut buffer);
    write.send(buffer).await?;
    write.close().await
}
