//! What a program does with streams.

use std::time::Duration;

use bytes::Bytes;

use super::{
    CloseReason, Event, Link, Side, StreamId,
    carrier::Retained,
    recv::{Taken, Tuning},
    send::Ending,
};
use crate::{
    DecodeError, Open, Refusal,
    code::ResetCode,
    link::stream::{Opening, Stream},
};

/// Why a stream cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenFailure {
    /// The link is closed.
    #[error("the link is closed: {0}")]
    Closed(CloseReason),
    /// As many streams are open as there may be.
    #[error("{0} streams are open, as many as there may be")]
    TooMany(u32),
    /// What to open cannot be said.
    #[error("cannot ask for this stream")]
    Invalid(#[source] DecodeError),
}

/// Why bytes cannot be read from or written to a stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// The stream was cut.
    #[error("the stream was cut: {0}")]
    Cut(ResetCode),
    /// The peer refused to open it.
    #[error("{0}")]
    Refused(Refusal),
    /// This end has finished writing, or what it writes is not what the stream is for: bytes or datagrams.
    #[error("the stream is finished for writing")]
    Finished,
}

/// What a read gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// Bytes in order, at least one.
    Chunk(Bytes),
    /// Nothing yet; [`Event::Readable`] will tell.
    Pending,
    /// The peer has finished.
    End,
}

impl Link {
    /// Asks the peer to open a stream, and holds it until [`release`](Self::release). [`Event::Answered`] tells that
    /// [`opened`](Self::opened) knows the answer; data may be written before. An association
    /// ([`Open::is_datagrams`]) for a peer that knows none is refused as
    /// [`Unsupported`](crate::RefusalCode::Unsupported) without being asked for.
    ///
    /// # Errors
    /// See [`OpenFailure`].
    pub fn open(&mut self, open: &Open) -> Result<StreamId, OpenFailure> {
        if let Some(reason) = &self.closed {
            return Err(OpenFailure::Closed(reason.clone()));
        }
        let fields = open.encode().map_err(OpenFailure::Invalid)?;
        let most = self.peer.as_ref().map_or(u32::MAX, |peer| peer.max_streams).min(self.config.max_streams);
        if self.opened_here >= most {
            return Err(OpenFailure::TooMany(most));
        }
        let id = self.next_stream;
        self.next_stream += 2;
        self.opened_here += 1;
        let credit = self.peer.as_ref().map_or(0, |peer| peer.stream_credit);
        let mut stream = Stream::new(Opening::Asked, credit, self.config.initial_window, true);
        stream.turn.call = *open == Open::Call;
        self.streams.insert(id, Box::new(stream));
        self.urgent.push_back(Retained::Open { stream: id, fields: fields.into() });
        if open.is_datagrams() {
            self.associate(id);
            if self.takes_associations() == Some(false) {
                self.refuse_here(id);
            }
        }
        Ok(id)
    }

    /// The answer to [`open`](Self::open); `None` while there is none.
    pub fn opened(&self, id: StreamId) -> Option<Result<(), StreamError>> {
        let Some(stream) = self.streams.get(&id) else {
            return Some(Err(self.gone()));
        };
        if !stream.held {
            return Some(Err(StreamError::Cut(stream.cut().unwrap_or(ResetCode::Dropped))));
        }
        match &stream.opening {
            Opening::Refused(refusal) => Some(Err(StreamError::Refused((**refusal).clone()))),
            Opening::Open => Some(Ok(())),
            Opening::Asked | Opening::Heard | Opening::Offered => {
                stream.cut().map(|code| Err(StreamError::Cut(code)))
            }
        }
    }

    /// Accepts a stream of [`Event::Incoming`].
    pub fn accept(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        if matches!(stream.opening, Opening::Offered) && stream.cut().is_none() {
            stream.opening = Opening::Open;
            // Who said something before it knew of the opening need not have that alone: the answer tells the same.
            let lazy = stream.recv.has_begun();
            self.say_soon(Retained::Opened(id), lazy);
        }
    }

    /// Refuses a stream of [`Event::Incoming`] and releases it.
    pub fn refuse(&mut self, id: StreamId, refusal: Refusal) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        stream.held = false;
        if matches!(stream.opening, Opening::Offered | Opening::Heard)
            && stream.cut().is_none()
            && self.closed.is_none()
        {
            stream.send.settle();
            self.urgent.push_back(Retained::Refuse { stream: id, refusal: Box::new(refusal) });
        }
        self.discard(id);
        self.after(id);
    }

    /// Takes over as many of the bytes as there is room for, without a copy. At 0, [`Event::Writable`] will tell when to
    /// come again.
    ///
    /// # Errors
    /// See [`StreamError`].
    pub fn write(&mut self, id: StreamId, bytes: &mut Bytes) -> Result<usize, StreamError> {
        let room = self.room(id)?;
        let taken = bytes.split_to(room.min(bytes.len()));
        let length = taken.len();
        if let Some(stream) = self.streams.get_mut(&id).filter(|_| length > 0) {
            stream.send.queue().push(taken);
            self.queue.hold(length as u64);
            self.make_ready(id);
        }
        Ok(length)
    }

    /// [`write`](Self::write) with a copy.
    ///
    /// # Errors
    /// See [`StreamError`].
    pub fn write_slice(&mut self, id: StreamId, bytes: &[u8]) -> Result<usize, StreamError> {
        let room = self.room(id)?;
        let taken = &bytes[..room.min(bytes.len())];
        if let Some(stream) = self.streams.get_mut(&id).filter(|_| !taken.is_empty()) {
            stream.send.queue().push_slice(taken);
            self.queue.hold(taken.len() as u64);
            self.make_ready(id);
        }
        Ok(taken.len())
    }

    /// Reads at most `max` bytes.
    ///
    /// # Errors
    /// See [`StreamError`]; what came before a cut is read first.
    pub fn read(&mut self, id: StreamId, max: usize) -> Result<Read, StreamError> {
        let Some(stream) = self.streams.get_mut(&id) else {
            return Err(self.gone());
        };
        match stream.recv.take(max) {
            Taken::Chunk(bytes) => {
                self.receive.free(bytes.len() as u64);
                self.stream_credit(id);
                self.link_credit();
                Ok(Read::Chunk(bytes))
            }
            Taken::Nothing => Ok(Read::Pending),
            Taken::End => Ok(Read::End),
            Taken::Cut(code) => Err(match &stream.opening {
                Opening::Refused(refusal) => StreamError::Refused((**refusal).clone()),
                Opening::Asked | Opening::Heard | Opening::Offered | Opening::Open => StreamError::Cut(code),
            }),
        }
    }

    /// Ends this end's direction: FIN follows what was written. An association has no such end: nothing happens.
    pub fn finish(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id)
            && !stream.send.is_closed()
            && stream.datagrams.is_none()
        {
            stream.send.finish();
            self.after(id);
        }
    }

    /// Cuts the stream in both directions; what is not sent yet is dropped.
    pub fn reset(&mut self, id: StreamId, code: ResetCode) {
        if let Some(stream) = self.streams.get_mut(&id) {
            let queued = stream.send.queued();
            stream.send.cut_now(code);
            stream.recv.cut_here(code);
            self.unqueue(queued);
            self.discard(id);
            self.tell_cut(id);
            self.after(id);
        }
    }

    /// Cuts the stream in both directions, but what was written before is still sent, and the peer reads it before it sees
    /// the cut.
    pub fn reset_after_data(&mut self, id: StreamId, code: ResetCode) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.send.cut_after(code);
            stream.recv.cut_here(code);
            self.discard(id);
            self.tell_cut(id);
            self.after(id);
        }
    }

    /// Nobody reads any more: what comes is thrown away.
    pub fn stop(&mut self, id: StreamId) {
        self.discard(id);
    }

    /// The program is done with the stream. A direction that is still open is cut.
    pub fn release(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        stream.held = false;
        let asked = matches!(stream.opening, Opening::Asked);
        if !stream.send.is_closed() {
            let queued = stream.send.queued();
            stream.send.cut_now(if asked { ResetCode::Cancelled } else { ResetCode::Dropped });
            self.unqueue(queued);
        } else if !stream.recv.is_settled() {
            // All that was written is still sent; only what the peer would send is not wanted.
            stream.send.cut_after(ResetCode::Dropped);
        }
        self.discard(id);
        self.after(id);
    }

    /// Whether nothing of what was written has been put on a carrier, so that the peer cannot have it.
    pub fn is_unsent(&self, id: StreamId) -> bool {
        self.streams.get(&id).is_some_and(|stream| stream.send.is_unsent())
    }

    /// Why the stream was cut by the peer or the link, if it was.
    pub fn cut(&self, id: StreamId) -> Option<ResetCode> {
        match self.streams.get(&id) {
            Some(stream) => stream.cut(),
            None => Some(self.closed.as_ref().map_or(ResetCode::Dropped, CloseReason::reset_code)),
        }
    }

    pub(super) fn gone(&self) -> StreamError {
        StreamError::Cut(self.closed.as_ref().map_or(ResetCode::Dropped, CloseReason::reset_code))
    }

    /// How many bytes may be written now; at 0, [`Event::Writable`] will tell when to come again.
    ///
    /// # Errors
    /// See [`StreamError`].
    pub fn room(&mut self, id: StreamId) -> Result<usize, StreamError> {
        let Some(stream) = self.streams.get(&id) else {
            return Err(self.gone());
        };
        if let Opening::Refused(refusal) = &stream.opening {
            return Err(StreamError::Refused((**refusal).clone()));
        }
        if let Some(code) = stream.send.lost() {
            return Err(StreamError::Cut(code));
        }
        if stream.send.is_closed() || stream.datagrams.is_some() {
            return Err(StreamError::Finished);
        }
        let room = self.room_of(stream);
        if room == 0 {
            self.wait_for_room(id);
        }
        Ok(room)
    }

    /// Throws away what came and what will come.
    fn discard(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        self.receive.free(stream.recv.discard());
        self.drop_datagrams(id, true);
        self.stream_credit(id);
        self.link_credit();
    }

    /// To be called when a stream's directions may have ended: says so to the peer, and forgets what is over.
    pub(super) fn after(&mut self, id: StreamId) {
        self.drop_datagrams(id, false);
        while let Some(ending) = self.streams.get_mut(&id).and_then(|stream| stream.send.ending()) {
            if self.closed.is_some() {
                continue;
            }
            match ending {
                Ending::Fin { end } => {
                    // Who opened it and knows the other end's end says its own last: nobody waits for that.
                    let known = self.streams.get(&id).is_some_and(|stream| stream.recv.is_settled());
                    self.say_soon(Retained::Fin { stream: id, end }, known && self.is_own(id));
                }
                Ending::Reset { code, end, deliver } => {
                    self.urgent.push_back(Retained::Reset { stream: id, code, end, deliver });
                }
            }
        }
        let Some(stream) = self.streams.get(&id) else {
            return;
        };
        if !stream.is_over() && (stream.held || self.closed.is_none()) {
            return;
        }
        // One that was cut before its OPEN came may hold bytes that nobody was offered.
        self.discard(id);
        if let Some(mut over) = self.streams.remove(&id) {
            let (before, _) = over.recv.growth(self.config.initial_window);
            self.receive.grow(before, 0);
        }
        if self.is_own(id) {
            self.opened_here -= 1;
        } else {
            self.opened_there -= 1;
            self.forgotten.insert(id >> 1);
        }
    }

    pub(super) fn is_own(&self, id: StreamId) -> bool {
        id.is_multiple_of(2) == (self.side == Side::Client)
    }

    /// Puts the stream into the queue of those to send, if it has something.
    pub(super) fn make_ready(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id)
            && stream.send.sendable() > 0
            && self.closed.is_none()
        {
            self.turns.push(id, &mut stream.turn);
        }
    }

    /// A new limit for the stream (or for the link: 0) is to be told.
    pub(super) fn credit_due(&mut self, id: StreamId) {
        if self.closed.is_some() {
            return;
        }
        let due = match self.streams.get_mut(&id) {
            _ if id == 0 => &mut self.link_credit_due,
            Some(stream) => &mut stream.credit_due,
            None => return,
        };
        if !std::mem::replace(due, true) {
            self.urgent.push_back(Retained::Credit(id));
        }
    }

    /// The round trip that windows are to be wide enough for.
    fn round_trip(&self) -> Duration {
        self.shortest.round_trip(self.rtt()).unwrap_or_default()
    }

    /// Tells the peer the link's new limit when it is worth it.
    pub(super) fn link_credit(&mut self) {
        if self.closed.is_none() && self.receive.raise(self.now, self.round_trip()) {
            self.credit_due(0);
        }
        self.look_later();
    }

    /// Tells the peer the stream's new limit when it is worth it.
    pub(super) fn stream_credit(&mut self, id: StreamId) {
        let tuning = Tuning {
            now: self.now,
            rtt: self.round_trip(),
            first: self.config.initial_window,
            most: self.config.stream_window,
            growth: self.receive.growth(),
        };
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        // Who is told of a cut sends no more.
        let raise = stream.recv.raise(&tuning) && !stream.send.is_cut();
        let (before, after) = stream.recv.growth(tuning.first);
        self.receive.grow(before, after);
        if raise {
            self.credit_due(id);
        }
    }

    /// Tells whoever waits on the stream that it was cut, by whichever end.
    pub(super) fn tell_cut(&mut self, id: StreamId) {
        if self.streams.get(&id).is_some_and(|stream| stream.held) {
            self.events.push_back(Event::Cut(id));
        }
    }
}
