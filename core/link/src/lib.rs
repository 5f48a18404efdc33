//! kubetether's link on tokio: carriers in, AsyncRead and AsyncWrite streams out.

mod acceptor;
mod call;
mod carrier;
mod error;
mod link;
mod relay;
mod shared;
mod stream;
mod tasks;

pub use acceptor::{Acceptor, Attached};
pub use call::IncomingCall;
pub use carrier::{CarrierRead, CarrierWrite, IoRead, IoWrite};
pub use error::{AttachError, CallError, OpenError, StreamReset};
pub use kubetether_wire as wire;
pub use kubetether_wire::{
    Answer, CallCode, CallFailure, CloseReason, Goodbye, GoodbyeCode, LinkConfig, Open, PeerInfo, Refusal,
    RefusalCode, Request, ResetCode, Role, Stats, Status,
};
pub use link::{CarrierId, Incoming, Link, Opening};
pub use relay::{End, Flow, Socket, relay, relay_until};
pub use stream::{RecvStream, SendStream, Stream};
