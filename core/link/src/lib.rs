//! kubetether's link on tokio: carriers in, AsyncRead and AsyncWrite streams out.

mod acceptor;
mod carrier;
mod error;
mod link;
mod relay;
mod stream;

pub use acceptor::{Acceptor, Attached};
pub use carrier::{CarrierRead, CarrierWrite, IoRead, IoWrite};
pub use error::{AttachError, CallError, CloseReason, OpenError, StreamReset};
pub use kubetether_wire as wire;
pub use kubetether_wire::{
    Answer, CallCode, CallFailure, Goodbye, GoodbyeCode, LinkConfig, Open, Refusal, RefusalCode, Request,
    ResetCode, Role, Status,
};
pub use link::{CarrierId, Incoming, IncomingCall, Link, Opening, PeerInfo, Stats};
pub use relay::{End, Flow, Socket, relay};
pub use stream::{RecvStream, SendStream, Stream};
