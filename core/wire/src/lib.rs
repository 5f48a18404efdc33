//! The link between kubetether's two ends, sans-IO: frames, streams, credits, hello.

mod call;
mod code;
mod config;
mod error;
mod open;
mod tlv;
mod varint;

pub use call::{Answer, CallFailure, MAX_CALL, Request, Status};
pub use code::{CallCode, GoodbyeCode, RefusalCode, ResetCode, Role};
pub use config::LinkConfig;
pub use error::{DecodeError, Goodbye, ProtocolError};
pub use open::{MAX_HOST, Open, Refusal};
