//! The link between kubetether's two ends, sans-IO: frames, streams, credits, resume, hello.
//!
//! A **link** joins a client and an agent. It lives on one or several **carriers**, each an ordered byte stream that may die at
//! any moment (a port-forward through the Kubernetes API), and offers **streams**, each as good as a TCP connection: ordered
//! bytes both ways with flow control, half-close, reset and refusal. [`Link`] is one end: bytes and the time in, bytes and
//! events out; it knows no clock, no socket and no runtime. The crate `kubetether-link` drives it on tokio.
//!
//! # Frames
//!
//! A carrier's bytes are frames: kind (one byte), length of the body (three bytes, big endian), body. Numbers in bodies are
//! QUIC's varints. Unknown kinds are skipped by their length, bytes behind the known fields of a body are ignored, and so are
//! unknown fields in HELLO, OPEN and calls: this is how the protocol grows within a version. `tests/golden.rs` holds the bytes.
//! A frame need not fit a buffer of its carrier: it may span any number of them.
//!
//! Kinds `10` to `3f` are kept by their sender until they are acknowledged, and counted by their receiver, **known or not**;
//! all others never.
//!
//! Fields whose tag is odd and at least 33 are **critical**: an end that does not know one may not skip it. A HELLO with one is
//! answered with GOODBYE `no common version`, an OPEN with REFUSE `not supported`, a request with the failure `not supported`.
//!
//! | kind | name | body | kept until acknowledged |
//! |---|---|---|---|
//! | `01` | HELLO | magic, fields: versions, role, incarnation, link, secret or proof, carrier, credits … ([`Hello`]) | |
//! | `02` | PING | token | |
//! | `03` | PONG | token | |
//! | `04` | GOODBYE | code ([`GoodbyeCode`]), text | |
//! | `05` | ACK | carrier, number of its kept frames that came, from the first; 1 if the sender has lost that carrier | |
//! | `06` | CLOCK | the sender's clock in microseconds, from any beginning; said before an ACK | |
//! | `10` | OPEN | stream, fields ([`Open`]) | yes |
//! | `11` | OPENED | stream | yes |
//! | `12` | REFUSE | stream, code ([`RefusalCode`]), text | yes |
//! | `13` | DATA | stream, offset of the first byte, 1 to 32,768 bytes | yes |
//! | `14` | CREDIT | stream (0: the link), limit | yes |
//! | `15` | FIN | stream, end offset | yes |
//! | `16` | RESET | stream, code ([`ResetCode`]), end offset, offset up to which bytes are still delivered | yes |
//! | `40` | DATAGRAM | association, one datagram of 0 to 65,507 bytes | |
//!
//! # Rules
//!
//! - **Hello.** The client speaks first on each carrier; it may send ACKs of lost carriers behind its HELLO and nothing else
//!   until the agent's HELLO came. The agent answers HELLO or GOODBYE. The version spoken is the smaller of the two newest.
//!   Magic and the two fields of versions stay as they are in every version: also a HELLO that cannot be read otherwise is
//!   answered with the reason. What a HELLO says about credit for each stream holds as the link's first one says it.
//!   The first carrier makes the link; the others join it by its id. A client that comes back tells the incarnation it spoke
//!   with: an agent that is another one, or has given the link up, says so, and all streams are reset.
//! - **Proof.** A client says the link's secret until an agent has answered. From then on, if that one announced
//!   [`CAPABILITY_PROOF`], it says a [`Proof`] instead, and takes a carrier only if the agent's HELLO there has one as well: so
//!   whoever has taken the agent's place neither learns the secret nor gets a byte of a stream. A proof is HMAC-SHA-256, with
//!   the secret as key, over `kubetether client` or `kubetether agent ` (17 bytes), link, carrier (32 bits, big endian), the
//!   client's incarnation and the agent's. Numbers of carriers are used once, so it is of use once. Carriers themselves have
//!   to keep and protect what goes over them (TLS and the API server's rights do).
//! - **Streams.** Numbers are even from the client and odd from the agent, and are used once. Data may follow OPEN at once. Each
//!   direction ends with exactly one FIN or RESET, which tell how many bytes there were; a RESET is answered by one, unless
//!   that direction has ended before. A REFUSE stands for RESET of a direction without bytes. So both ends come to the same
//!   sums of credit whatever was lost on the way.
//! - **Credit.** Limits are absolute and never go back: bytes of a stream, and the sum over all streams. A peer that goes
//!   beyond one breaks the protocol. Windows start small, double while they would last less than two round trips, and fall
//!   back when hardly used; what an end may hold so, and to send, it draws from its [`Budget`]. The last 64 KiB of the link's
//!   credit (a quarter of a first one below 256 KiB) are for calls, so that they work when readers have stopped.
//! - **Acknowledgement.** Both ends number the kept frames of each carrier. An ACK, said on any carrier (best on the one it is about,
//!   within 10 ms, and once more with a PONG), tells that the peer's link (not its program) holds them. When a carrier is lost, what was not acknowledged on it is sent again on others;
//!   frames are idempotent, and may come twice, late, and in any order between carriers (data before its OPEN, a FIN before
//!   its data). When the next carrier comes up, both ends first tell what came on the lost one, and that it is lost:
//!   an end that still had it gives it up then.
//! - **Datagrams.** An association (an [`Open`] of kind 4 or 5) is opened, numbered, refused and cut as a stream is, and
//!   carries DATAGRAM frames in place of DATA, CREDIT and FIN; its end is a RESET of no bytes from either side. Only ends whose
//!   first hellos on the link both announced [`CAPABILITY_DATAGRAMS`] have any: an OPEN from one that did not is refused as
//!   `not supported`, its DATAGRAMs are skipped. A DATAGRAM is said once: it is not acknowledged, and not said again when its
//!   carrier is lost; either end throws away the oldest where there is no room; they may come in another order, before their
//!   OPEN (a few are kept until it comes) and behind the RESET (nothing happens). Frames that an association or a stream
//!   cannot have break the protocol. How much of them is under way is found out by PINGs behind them.
//! - **Turns.** Control frames go first, then calls, then streams that had nothing to send until now, then each stream with
//!   bytes and credit in its turn, with 2 to 16 KiB. All carriers draw from the same queues, each only as long as not more is
//!   under way on it than the line bears in little more than a round trip: so small requests do not wait behind bulk. An end
//!   knows by the CLOCK how long the ACK itself waited, and judges its own direction alone: so bulk both ways shares the line.
//!   Datagrams go before the streams' data, of each association one in its turn, until they are 16 KiB ahead of it; what is
//!   under way of them has its own measure. One that is longer than a carrier's buffer is followed by its rest before
//!   anything else goes on that carrier.
//! - **Suspects.** A carrier on which an answer is overdue is pinged and avoided, and what waits there is said again on others.
//! - **Heartbeats.** Each end pings each carrier every two seconds; one on which nothing came for five is dead. A link
//!   without carriers keeps its streams for its grace period. An end that slept (its driver came more than a second late)
//!   gives its peer another silence period, and a link without carriers 15 s more, before it judges.
//! - **Goodbye.** On a carrier that is up GOODBYE ends the link, also with a code that is not known, but for: `draining`, which
//!   announces that the sender is about to leave; `carrier given up`, which ends this carrier alone; and all codes from 64 on,
//!   which are notices that may be skipped. As the first frame it turns the carrier away.
//! - **Retiring.** Who wants to be rid of a carrier puts nothing new on it and says GOODBYE `carrier retires` there. The other
//!   acknowledges what came, does and says the same. When the first has heard that and everything of its own is
//!   acknowledged, it says its last ACK and `carrier given up`: nothing is on its way then, and nothing is said again.
//! - **Opening.** An OPEN whose fields cannot be read is refused as `not supported`; only a wrong number breaks the protocol.
//!
//! Whatever else a peer does wrong is a [`ProtocolError`] and closes the link (before the first hello, only the carrier).

mod budget;
mod call;
mod code;
mod config;
mod error;
mod frame;
mod hello;
mod link;
mod open;
mod secret;
mod tlv;
mod varint;

pub use budget::{Budget, Charge};
pub use call::{Answer, CallFailure, MAX_CALL, Request, Status};
pub use code::{CallCode, GoodbyeCode, RefusalCode, ResetCode, Role};
pub use config::LinkConfig;
pub use error::{DecodeError, Goodbye, ProtocolError};
pub use frame::{Frame, FrameReader, MAX_DATA, MAX_DATAGRAM};
pub use hello::{CAPABILITY_DATAGRAMS, CAPABILITY_PROOF, Hello, VERSION_MAX, VERSION_MIN};
pub use link::{
    CarrierEnd, CarrierId, CloseReason, Event, Link, OpenFailure, PeerInfo, Read, Stats, StreamError,
    StreamId,
};
pub use open::{MAX_HOST, Open, Refusal};
pub use secret::{Proof, Secret};
