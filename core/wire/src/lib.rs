//! The link between kubetether's two ends, sans-IO: frames, streams, credits, hello.

mod call;
mod code;
mod config;
mod error;
mod frame;
mod hello;
mod link;
mod open;
mod tlv;
mod varint;

pub use call::{Answer, CallFailure, MAX_CALL, Request, Status};
pub use code::{CallCode, GoodbyeCode, RefusalCode, ResetCode, Role};
pub use config::LinkConfig;
pub use error::{DecodeError, Goodbye, ProtocolError};
pub use frame::{Frame, FrameReader, MAX_DATA, MAX_DATAGRAM};
pub use hello::{CAPABILITY_DATAGRAMS, Hello, VERSION_MAX, VERSION_MIN};
pub use link::{
    CarrierEnd, CarrierId, CloseReason, Event, Link, OpenFailure, PeerInfo, Read, Stats, StreamError,
    StreamId,
};
pub use open::{MAX_HOST, Open, Refusal};
