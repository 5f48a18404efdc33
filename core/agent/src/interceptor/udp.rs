//! UDP ports: every caller gets a socket of its own towards an original, for as long as it speaks.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::net::SendFlags;
use tokio::net::UdpSocket;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::{Interceptor, original};
use crate::config::{Port, Target};
use crate::dial;
use crate::flows::Room;
use crate::limits::Cost;

/// An association without a datagram for this long has ended; conntrack's own time for one that was answered is
/// 120 s, for one that was not 30 s.
const IDLE: Duration = Duration::from_secs(60);
/// Callers of one listener at once; one more, and the one that has been silent longest goes.
const CALLERS: usize = 1024;
/// First datagrams that wait for a name to be resolved, at once.
const RESOLVING: usize = 64;
const DATAGRAM: usize = 65_535;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

pub(super) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

/// Passes datagrams through until dropped; then all of its associations end.
pub(super) async fn serve(interceptor: Arc<Interceptor>, port: Arc<Port>, socket: UdpSocket) {
    let listener = Arc::new(Listener {
        interceptor,
        port,
        socket,
        callers: Mutex::default(),
        resolving: Arc::new(Semaphore::new(RESOLVING)),
    });
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            readable = listener.socket.readable() => match readable {
                Ok(()) => listener.turn(&mut tasks),
                Err(error) => {
                    tracing::error!(%error, port = listener.port.number, "the UDP listener failed");
                    return;
                }
            },
            Some(ended) = tasks.join_next() => {
                if let Err(error) = ended && error.is_panic() {
                    tracing::error!(%error, "the task of a UDP caller panicked");
                }
            }
        }
    }
}

struct Listener {
    interceptor: Arc<Interceptor>,
    port: Arc<Port>,
    socket: UdpSocket,
    callers: Mutex<HashMap<SocketAddr, Arc<Association>>>,
    resolving: Arc<Semaphore>,
}

struct Association {
    caller: SocketAddr,
    /// Its descriptor and memory are among those that connections share.
    _room: Room,
    /// Connected to the original.
    socket: UdpSocket,
    last: Mutex<Instant>,
    ended: Notify,
}

impl Listener {
    /// Takes datagrams that are there, a bounded number in one go.
    fn turn(self: &Arc<Self>, tasks: &mut JoinSet<()>) {
        for _ in 0..64 {
            let more = SCRATCH.with_borrow_mut(|scratch| {
                scratch.resize(DATAGRAM, 0);
                match self.socket.try_recv_from(scratch) {
                    Ok((length, caller)) => {
                        self.take(caller, &scratch[..length], tasks);
                        true
                    }
                    // What an earlier answer met comes back as an error here and is over with that.
                    Err(error) => error.kind() != io::ErrorKind::WouldBlock,
                }
            });
            if !more {
                return;
            }
        }
    }

    fn take(self: &Arc<Self>, caller: SocketAddr, datagram: &[u8], tasks: &mut JoinSet<()>) {
        let known = self.lock().get(&caller).cloned();
        if let Some(association) = known {
            association.send(datagram);
            return;
        }
        match self.port.original.targets() {
            // The common case, without a task in between.
            [Target::Address(address)] => self.associate(caller, *address, datagram, tasks),
            _ => {
                // Taken before there is a task: a flood of callers must not become a flood of tasks.
                let Ok(place) = Arc::clone(&self.resolving).try_acquire_owned() else {
                    return tracing::debug!("too many first datagrams wait for a name; one dropped");
                };
                let (listener, datagram) = (Arc::clone(self), datagram.to_vec());
                tasks.spawn(async move {
                    let resolver = &listener.interceptor.shared.resolver;
                    let found =
                        original::addresses(resolver, &listener.port.original, Some(caller.ip())).await;
                    drop(place);
                    match found {
                        Ok(addresses) => {
                            if let Some(address) = addresses.first()
                                && let Some(association) = listener.open(caller, *address, &datagram)
                            {
                                listener.answer(association).await;
                            }
                        }
                        Err(error) => tracing::debug!(%error, "the original of a UDP port cannot be found"),
                    }
                });
            }
        }
    }

    fn associate(
        self: &Arc<Self>,
        caller: SocketAddr,
        to: SocketAddr,
        datagram: &[u8],
        tasks: &mut JoinSet<()>,
    ) {
        if let Some(association) = self.open(caller, to, datagram) {
            let listener = Arc::clone(self);
            tasks.spawn(async move { listener.answer(association).await });
        }
    }

    /// Makes the caller's socket and sends the first datagram on it.
    fn open(&self, caller: SocketAddr, to: SocketAddr, datagram: &[u8]) -> Option<Arc<Association>> {
        let mut callers = self.lock();
        if let Some(association) = callers.get(&caller) {
            // Two first datagrams waited for the same name.
            association.send(datagram);
            return None;
        }
        let flows = &self.interceptor.shared.flows;
        flows.came();
        let room = flows.try_room(Cost::JOINED);
        if (room.is_none() || callers.len() >= CALLERS)
            && let Some(oldest) = callers.values().min_by_key(|association| association.last()).cloned()
        {
            callers.remove(&oldest.caller);
            oldest.ended.notify_one();
        }
        let Some(room) = room else {
            // The next one finds what the oldest leaves.
            tracing::debug!(port = self.port.number, "no room for a UDP caller; its datagram is dropped");
            return None;
        };
        match dial::associate(to) {
            Ok(socket) => {
                let last = Mutex::new(Instant::now());
                let association =
                    Arc::new(Association { caller, _room: room, socket, last, ended: Notify::new() });
                association.send(datagram);
                callers.insert(caller, Arc::clone(&association));
                Some(association)
            }
            Err(error) => {
                tracing::warn!(%error, port = self.port.number, "no socket for a UDP caller; its datagram is dropped");
                None
            }
        }
    }

    /// Passes answers back until the association has been idle, then forgets it.
    async fn answer(&self, association: Arc<Association>) {
        loop {
            let end = association.last() + IDLE;
            tokio::select! {
                readable = association.socket.readable() => {
                    if readable.is_err() || !self.turn_back(&association) {
                        break;
                    }
                }
                () = association.ended.notified() => return,
                () = sleep_until(end) => {
                    if association.last() + IDLE <= Instant::now() {
                        break;
                    }
                }
            }
        }
        let mut callers = self.lock();
        if callers.get(&association.caller).is_some_and(|known| Arc::ptr_eq(known, &association)) {
            callers.remove(&association.caller);
        }
    }

    /// Whether the original is still there.
    fn turn_back(&self, association: &Association) -> bool {
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.resize(DATAGRAM, 0);
            match association.socket.try_recv(scratch) {
                Ok(length) => {
                    association.touch();
                    // As below.
                    let _ = self.socket.try_send_to(&scratch[..length], association.caller);
                    true
                }
                // ECONNREFUSED: nobody listens there. The next datagram of the caller tries anew.
                Err(error) => error.kind() == io::ErrorKind::WouldBlock,
            }
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, Arc<Association>>> {
        // Nothing under this lock can panic half-way.
        self.callers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Association {
    fn send(&self, datagram: &[u8]) {
        self.touch();
        // What cannot be taken is lost: these are datagrams. Not by tokio's `try_send`, to which a new socket is
        // not writable until the runtime has looked at it.
        let _ = rustix::net::send(&self.socket, datagram, SendFlags::DONTWAIT);
    }

    fn touch(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn last(&self) -> Instant {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
