//! What comes from the peer for streams.

use bytes::Bytes;

use super::{
    Event, Link, StreamId,
    carrier::Carrier,
    recv::Counted,
    stream::{Opening, Stream},
    unsupported,
};
use crate::{
    Frame, Open, ProtocolError, Refusal,
    code::{RefusalCode, ResetCode},
};

/// Carriers read into buffers of this size, and hand on parts of them.
const BUFFER: usize = 64 << 10;
/// Control frames that may wait for the peer before it opens another stream: those of 4,000 streams a second that are not
/// acknowledged for as long as a carrier may be silent.
const CONTROL_MOST: usize = 100_000;

impl Link {
    pub(super) fn handle_stream_frame(&mut self, frame: Frame, pushed: usize) -> Result<(), ProtocolError> {
        match frame {
            Frame::Open { stream, fields } => self.handle_open(stream, &fields),
            Frame::Opened(stream) => {
                if !self.is_own(stream) {
                    return Err(ProtocolError::Rule("an OPENED for a stream of the sender's"));
                }
                if self.find(stream)? {
                    self.answered(stream);
                }
                Ok(())
            }
            Frame::Refuse { stream, refusal } => self.handle_refuse(stream, refusal),
            Frame::Data { stream, offset, bytes } => {
                // A part of a buffer keeps all of it alive, and what was pushed may be a part itself: a small one is copied, and
                // any where much is unread already.
                let copy =
                    bytes.len() * 4 < pushed.max(BUFFER) || self.receive.is_full() && bytes.len() < pushed;
                let bytes = if copy { Bytes::copy_from_slice(&bytes) } else { bytes };
                self.with_recv(stream, |known| match known.datagrams {
                    Some(_) => Err(ProtocolError::Rule("DATA for an association")),
                    None => known.recv.data(offset, bytes),
                })
            }
            Frame::Fin { stream, end } => self.with_recv(stream, |known| match known.datagrams {
                Some(_) => Err(ProtocolError::Rule("a FIN for an association")),
                None => known.recv.finish(end),
            }),
            Frame::Reset { stream, code, end, deliver } => self.handle_reset(stream, code, end, deliver),
            Frame::Credit { stream: 0, limit } => {
                self.send_limit = self.send_limit.max(limit);
                Ok(())
            }
            Frame::Credit { stream, limit } => {
                if self.find(stream)?
                    && let Some(known) = self.streams.get_mut(&stream)
                {
                    known.send.raise(limit);
                    self.make_ready(stream);
                    self.paid(stream);
                }
                Ok(())
            }
            Frame::Hello(_)
            | Frame::Ping(_)
            | Frame::Pong(_)
            | Frame::Goodbye(_)
            | Frame::Ack { .. }
            | Frame::Clock(_)
            | Frame::Datagram { .. } => Ok(()),
        }
    }

    fn handle_open(&mut self, id: StreamId, fields: &[u8]) -> Result<(), ProtocolError> {
        if self.is_own(id) {
            return Err(ProtocolError::Rule("an OPEN with a number of the receiver's"));
        }
        if !self.find(id)? {
            return Ok(());
        }
        if !self.streams.get(&id).is_some_and(|stream| matches!(stream.opening, Opening::Heard)) {
            return Ok(());
        }
        let open = match Open::decode(fields) {
            Ok(Open::Unknown(kind)) => Err(format!("streams of kind {kind}")),
            Ok(open) => Ok(open),
            // The stream is what cannot be understood, not the peer.
            Err(error) => Err(format!("this stream: {error}")),
        };
        let open = match open {
            Ok(open) => open,
            Err(what) => {
                self.refuse(id, unsupported(&what));
                return Ok(());
            }
        };
        if let Some(refusal) = self.offer(id, &open)? {
            self.refuse(id, refusal);
        } else if self.opened_there > self.config.max_streams {
            let most = self.config.max_streams;
            self.refuse(id, Refusal::new(RefusalCode::Limit, format!("{most} streams are open already")));
        } else if let Some(stream) = self.streams.get_mut(&id) {
            stream.held = true;
            stream.opening = Opening::Offered;
            stream.turn.call = open == Open::Call;
            self.events.push_back(Event::Incoming(id, open));
        }
        Ok(())
    }

    fn handle_refuse(&mut self, id: StreamId, refusal: Refusal) -> Result<(), ProtocolError> {
        if !self.is_own(id) {
            return Err(ProtocolError::Rule("a REFUSE for a stream of the sender's"));
        }
        if !self.find(id)? {
            return Ok(());
        }
        self.refused(id, refusal)
    }

    /// A stream of ours is not opened.
    pub(super) fn refused(&mut self, id: StreamId, refusal: Refusal) -> Result<(), ProtocolError> {
        let Some(stream) =
            self.streams.get_mut(&id).filter(|stream| matches!(stream.opening, Opening::Asked))
        else {
            return Ok(());
        };
        stream.opening = Opening::Refused(Box::new(refusal));
        self.events.extend(stream.held.then_some(Event::Answered(id)));
        self.cut_by_peer(id, ResetCode::Cancelled, 0, 0)
    }

    fn handle_reset(
        &mut self,
        id: StreamId,
        code: ResetCode,
        end: u64,
        deliver: u64,
    ) -> Result<(), ProtocolError> {
        if !self.find(id)? {
            return Ok(());
        }
        if let Some(stream) = self.streams.get(&id)
            && matches!(stream.opening, Opening::Asked)
            && stream.held
        {
            self.events.push_back(Event::Answered(id));
        }
        self.cut_by_peer(id, code, end, deliver)
    }

    fn cut_by_peer(
        &mut self,
        id: StreamId,
        code: ResetCode,
        end: u64,
        deliver: u64,
    ) -> Result<(), ProtocolError> {
        let Some(stream) = self.streams.get_mut(&id) else {
            return Ok(());
        };
        let counted = stream.recv.reset(code, end, deliver)?;
        let queued = stream.send.queued();
        stream.send.lose(code);
        self.unqueue(queued);
        self.settle(counted)?;
        self.tell_cut(id);
        self.after(id);
        Ok(())
    }

    /// Hands something to the receiving side of a stream and does what follows from it.
    fn with_recv(
        &mut self,
        id: StreamId,
        act: impl FnOnce(&mut Stream) -> Result<Counted, ProtocolError>,
    ) -> Result<(), ProtocolError> {
        if !self.find(id)? {
            return Ok(());
        }
        // Whoever sends data has accepted; its OPENED is on another carrier.
        self.answered(id);
        let Some(stream) = self.streams.get_mut(&id) else {
            return Ok(());
        };
        let counted = act(stream)?;
        if stream.recv.wake() {
            self.events.push_back(Event::Readable(id));
        }
        let discarded = counted.freed > 0;
        self.settle(counted)?;
        if discarded {
            self.stream_credit(id);
        }
        if self.streams.get(&id).is_some_and(|stream| stream.is_over()) {
            self.after(id);
        }
        Ok(())
    }

    /// A stream of ours is open.
    pub(super) fn answered(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id)
            && matches!(stream.opening, Opening::Asked)
        {
            stream.opening = Opening::Open;
            self.events.extend(stream.held.then_some(Event::Answered(id)));
        }
    }

    fn settle(&mut self, counted: Counted) -> Result<(), ProtocolError> {
        self.receive.sent(counted.sent)?;
        self.receive.free(counted.freed);
        if counted.freed > 0 || self.receive.is_low() {
            self.link_credit();
        }
        Ok(())
    }

    /// Whether the stream of a frame is there; a new one of the peer's is made. `false`: it is over.
    fn find(&mut self, id: StreamId) -> Result<bool, ProtocolError> {
        if self.streams.contains_key(&id) {
            return Ok(true);
        }
        if self.is_own(id) {
            return if id < self.next_stream {
                Ok(false)
            } else {
                Err(ProtocolError::Rule("a frame for a stream that was never opened"))
            };
        }
        if self.forgotten.contains(id >> 1) {
            return Ok(false);
        }
        let most = self.config.max_streams.saturating_mul(2).saturating_add(64);
        if self.opened_there >= most || self.forgotten.len() > most as usize {
            return Err(ProtocolError::Rule("far more streams than there may be"));
        }
        // A peer that opens and cuts streams but does not read what they are answered with.
        let control = |carrier: &Carrier| carrier.retained.len() - carrier.retained_data;
        let said = self.urgent.len() + self.lazy.len() + self.carriers.values().map(control).sum::<usize>();
        if said > CONTROL_MOST.max(most as usize) {
            return Err(ProtocolError::Rule("frames are not acknowledged"));
        }
        self.opened_there += 1;
        let credit = self.peer.as_ref().map_or(0, |peer| peer.stream_credit);
        let stream = Stream::new(Opening::Heard, credit, self.config.initial_window, false);
        self.streams.insert(id, Box::new(stream));
        Ok(true)
    }
}
