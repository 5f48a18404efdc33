//! What a program says before its stream is open goes along with the opening: that spares it a round trip.

use std::{
    future::poll_fn,
    io::{self, Read},
    sync::Arc,
    task::Poll,
};

use bytes::Bytes;
use kubetether_wire::{Open, ResetCode, StreamId};
use socket2::SockRef;
use tokio::{io::Interest, net::TcpStream};

use crate::{Link, OpenError, Stream, StreamReset, shared::Shared};

/// The most that is sent ahead: a request, but not a body.
const MOST: usize = 16 << 10;

/// What was read from a socket before its stream was open; kept, so that it can be said again on another stream where the
/// first was [refused](OpenError::Refused), or nothing of it [was sent](Self::may_have_arrived).
#[derive(Debug, Default)]
pub struct Early {
    bytes: Bytes,
    /// The socket is not asked any more.
    asked: bool,
    /// Something was put on a carrier.
    sent: bool,
}

impl Early {
    /// How many bytes there are. They are not in the [`Flow`](crate::Flow) of the relay that follows.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether some of it may have arrived by the last opening: it must not be tried again then, unless it was
    /// [refused](OpenError::Refused).
    pub fn may_have_arrived(&self) -> bool {
        self.sent
    }

    /// Takes what the socket holds, without waiting; `waited` when it was said to be readable.
    fn take(&mut self, socket: &TcpStream, waited: bool) -> Result<(), OpenError> {
        let mut buffer = [0; MOST];
        let mut read = || (&*SockRef::from(socket)).read(&mut buffer);
        // A wrong word of the socket's is forgotten by `try_io` alone.
        let read = if waited { socket.try_io(Interest::READABLE, read) } else { read() };
        match read {
            // At an end there is nothing to be sent ahead; it is there for the relay as well.
            Ok(read) => {
                self.bytes = Bytes::copy_from_slice(&buffer[..read]);
                self.asked = true;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            // Told once, so not to the relay any more.
            Err(_) => Err(OpenError::Reset(ResetCode::Reset)),
        }
    }
}

impl Link {
    /// [`open`](Self::open) for a socket that is to be relayed: what it holds goes with the opening, or as soon as it is
    /// there. After success everything in `early` was said; relay the socket then.
    ///
    /// Not cancel-safe: a cancelled open resets the stream, and keeps in `early` what was read, and whether it was sent.
    ///
    /// # Errors
    /// See [`OpenError`] and [`Early`]; [`OpenError::Reset`] also when the socket has failed.
    pub async fn open_for(
        &self,
        open: Open,
        socket: &TcpStream,
        early: &mut Early,
    ) -> Result<Stream, OpenError> {
        early.sent = false;
        if !early.asked {
            early.take(socket, false)?;
        }
        let mut left = early.bytes.clone();
        let id = self.shared().act(|state| {
            let id = state.link.open(&open)?;
            // What is not taken now goes later; whatever else is wrong shows in the answer.
            let _ = state.link.write(id, &mut left);
            Ok::<_, OpenError>(id)
        })?;
        let mut stream = Stream::new(Arc::clone(self.shared()), id);
        // Behind the stream, so that it looks before that is dropped.
        let look = Look { early, shared: self.shared(), id };
        loop {
            let readable = async {
                match look.early.asked {
                    false => socket.readable().await,
                    true => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                opened = poll_fn(|cx| stream.poll_opened(cx)) => {
                    opened?;
                    break;
                }
                _ = readable => {
                    // Once with success: the relay reads what follows.
                    look.early.take(socket, true)?;
                    left = look.early.bytes.clone();
                    // What fails is told by the answer.
                    let _ = poll_fn(|cx| Poll::Ready(stream.poll_say(cx, &mut left))).await;
                }
            }
        }
        while !left.is_empty() {
            let said = poll_fn(|cx| stream.poll_say(cx, &mut left)).await;
            said.map_err(|error| OpenError::Reset(StreamReset::of(&error).unwrap_or(ResetCode::Internal)))?;
        }
        Ok(stream)
    }
}

/// Looks at the end of an opening, also of one that is given up, whether anything was sent.
struct Look<'a> {
    early: &'a mut Early,
    shared: &'a Shared,
    id: StreamId,
}

impl Drop for Look<'_> {
    fn drop(&mut self) {
        self.early.sent = !self.early.is_empty() && !self.shared.look(|state| state.link.is_unsent(self.id));
    }
}
