use super::{datagrams::Association, recv::Recv, send::Send, turns::Turn};
use crate::{Refusal, code::ResetCode};

/// One stream as an end sees it. Small when idle: 10,000 of them are nothing special.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) send: Send,
    pub(super) recv: Recv,
    pub(super) opening: Opening,
    /// It carries datagrams, and no bytes.
    pub(super) datagrams: Option<Box<Association>>,
    /// The program has a handle on it.
    pub(super) held: bool,
    pub(super) turn: Turn,
    /// It stands in the queue of those whose writers wait for the link.
    pub(super) starved: bool,
    /// A CREDIT for it waits to be sent.
    pub(super) credit_due: bool,
}

/// How far the opening of a stream is.
#[derive(Debug)]
pub(super) enum Opening {
    /// Ours: the peer has not answered.
    Asked,
    /// The peer's: something of it came, but not its OPEN, which is on another carrier.
    Heard,
    /// The peer's: the program has not answered.
    Offered,
    /// Open.
    Open,
    /// Ours: the peer refused.
    Refused(Box<Refusal>),
}

impl Stream {
    pub(super) fn new(opening: Opening, send_limit: u64, recv_window: u64, held: bool) -> Self {
        Self {
            send: Send::new(send_limit),
            recv: Recv::new(recv_window),
            opening,
            datagrams: None,
            held,
            turn: Turn::default(),
            starved: false,
            credit_due: false,
        }
    }

    /// Whether both ends know everything about it and the program is done with it.
    pub(super) fn is_over(&self) -> bool {
        !self.held && self.send.is_settled() && self.recv.is_settled()
    }

    /// The peer or the link cut it.
    pub(super) fn cut(&self) -> Option<ResetCode> {
        self.send.lost().or_else(|| self.recv.is_cut())
    }
}
