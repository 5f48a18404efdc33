//! kubetether's link on tokio: carriers in, AsyncRead and AsyncWrite streams out, and UDP associations.
//!
//! [`kubetether_wire`] holds the protocol and its state machine; here are the tasks that drive it, shared by the engine and
//! the agent. A client makes a [`Link`] and [attaches](Link::attach) carriers to it; an agent's [`Acceptor`] takes carriers and
//! finds the link of each. From then on both ends are alike: they open, accept and close streams, and [`relay`] joins a stream
//! and a socket, [`relay_datagrams`] an association and a UDP socket.
//!
//! ```
//! # use kubetether_link::{Acceptor, Attached, IoRead, IoWrite, Link, LinkConfig, Open, Role};
//! # use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(5);
//! let acceptor = Acceptor::new(LinkConfig::new(Role::Gateway), 16)?;
//! let client = Link::client(LinkConfig::new(Role::Client).who("ann@box"))?;
//!
//! let (near, far) = tokio::io::duplex(64 << 10);
//! let ((near_read, near_write), (far_read, far_write)) = (tokio::io::split(near), tokio::io::split(far));
//! let (attached, joined) = tokio::join!(
//!     client.attach(IoRead::new(near_read), IoWrite::new(near_write), deadline),
//!     acceptor.carrier(IoRead::new(far_read), IoWrite::new(far_write), deadline),
//! );
//! attached?;
//! let Attached::New(agent) = joined? else { unreachable!("it was the first") };
//!
//! let (opened, incoming) = tokio::join!(client.open(Open::Call), async {
//!     agent.accept().await.map(|incoming| incoming.accept())
//! });
//! let (mut near, mut far) = (opened?, incoming.expect("the link is open"));
//! near.write_all(b"hello").await?;
//! near.shutdown().await?;
//! let mut said = String::new();
//! far.read_to_string(&mut said).await?;
//! assert_eq!(said, "hello");
//! # Ok(())
//! # }
//! ```
//!
//! # Tasks and ends
//!
//! Each carrier has a reader and a writer task, each link one for its timers, on the runtime that
//! [`attach`](Link::attach) or [`carrier`](Acceptor::carrier) was called on. They end with their carrier or the link;
//! [`Link::closed`] waits for that. A panic in one of them closes the link with
//! [`CloseReason::Panicked`]. The link closes when its last handle is dropped, when either end says
//! [`close`](Link::close), when no carrier came back within the grace period, or when the agent is another one.
//!
//! *Cancel-safe* in these docs means that a future dropped before it is ready has changed nothing, or only what its docs say.

mod acceptor;
mod call;
mod carrier;
mod datagrams;
mod early;
mod error;
mod link;
mod relay;
mod shared;
mod state;
mod stream;
mod tasks;

pub use acceptor::{Acceptor, Attached};
pub use call::IncomingCall;
pub use carrier::{CarrierRead, CarrierWrite, IoRead, IoWrite};
pub use datagrams::{DatagramEnd, DatagramFlow, Datagrams, relay_datagrams};
pub use early::Early;
pub use error::{AttachError, CallError, OpenError, StreamReset};
pub use kubetether_wire as wire;
pub use kubetether_wire::{
    Answer, CallCode, CallFailure, CloseReason, Goodbye, GoodbyeCode, LinkConfig, Open, PeerInfo, Refusal,
    RefusalCode, Request, ResetCode, Role, Stats, Status,
};
pub use link::{CarrierId, Incoming, Link, Opening};
pub use relay::{End, Flow, Socket, Tally, relay, relay_tallied};
pub use stream::{RecvStream, SendStream, Stream};
