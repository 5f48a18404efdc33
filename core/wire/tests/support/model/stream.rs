//! What is known of one stream without looking into the link: the reference.

use kubetether_wire::{Link, Read, Refusal, RefusalCode, ResetCode, StreamError, StreamId};

/// A stream and what its two ends did.
#[derive(Debug, Default)]
pub(crate) struct Both {
    pub(crate) opener: usize,
    /// Answered by the agent's program itself.
    pub(crate) call: bool,
    pub(crate) sides: [Side; 2],
    /// The link was lost under it: what comes is still right, but need not be all.
    pub(crate) lost: bool,
}

/// What one end did to a stream, and saw of it.
#[derive(Debug, Default)]
pub(crate) struct Side {
    /// The program knows it.
    pub(crate) here: bool,
    pub(crate) answered: bool,
    pub(crate) refused: bool,
    pub(crate) written: u64,
    /// It writes until here as there is room.
    pub(crate) target: u64,
    /// It finishes when it has written that.
    pub(crate) finishes: bool,
    pub(crate) read: u64,
    /// It reads as there is something.
    pub(crate) drains: bool,
    pub(crate) finished: bool,
    /// It cut the stream.
    pub(crate) cut: Option<ResetCode>,
    /// All that was written goes before the end, of whatever kind.
    pub(crate) dropped: bool,
    pub(crate) stopped: bool,
    pub(crate) released: bool,
    pub(crate) last: Option<Last>,
}

/// How a reader's stream ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Last {
    End,
    Cut(ResetCode),
    Refused(Refusal),
}

/// The byte that an end of a stream writes at an offset.
fn byte(id: StreamId, end: usize, offset: u64) -> u8 {
    (id.wrapping_mul(31) ^ (end as u64) << 7 ^ offset ^ offset >> 8 ^ offset >> 16) as u8
}

/// What the answer of a call has.
const ANSWER: u64 = 37;

impl Both {
    /// Whether the program at an end may do something with it.
    pub(crate) fn usable(&self, end: usize) -> bool {
        self.sides[end].here && !self.sides[end].released
    }

    /// Writes at most `most` bytes; returns whether there may be room for more.
    pub(crate) fn write(&mut self, end: usize, id: StreamId, most: u64, link: &mut Link) -> bool {
        let from = self.sides[end].written;
        let bytes: Vec<u8> = (from..from + most).map(|offset| byte(id, end, offset)).collect();
        let cut_there = self.sides[1 - end].cut.is_some() || self.lost;
        let side = &mut self.sides[end];
        match link.write_slice(id, &bytes) {
            Ok(written) => {
                side.written += written as u64;
                written > 0
            }
            Err(StreamError::Finished) => {
                assert!(side.finished || side.cut.is_some(), "stream {id} is finished at {end}, unasked");
                false
            }
            Err(StreamError::Cut(code)) => {
                assert!(cut_there || side.cut.is_some(), "stream {id} is cut at {end}, by nobody: {code}");
                false
            }
            Err(StreamError::Refused(refusal)) => {
                self.check_refused(end, id, &refusal);
                false
            }
        }
    }

    /// Writes what it wants to write, and finishes.
    pub(crate) fn push(&mut self, end: usize, id: StreamId, link: &mut Link) {
        while self.sides[end].written < self.sides[end].target && self.usable(end) {
            let most = (self.sides[end].target - self.sides[end].written).min(64 << 10);
            if !self.write(end, id, most, link) {
                break;
            }
        }
        let side = &self.sides[end];
        let done = side.written >= side.target || side.cut.is_some() || self.sides[1 - end].cut.is_some();
        if side.finishes && done {
            self.finish(end, id, link);
        }
    }

    pub(crate) fn finish(&mut self, end: usize, id: StreamId, link: &mut Link) {
        let side = &mut self.sides[end];
        if side.here && !side.released {
            link.finish(id);
            side.finished |= side.cut.is_none();
        }
    }

    /// Reads once; returns whether there may be more.
    pub(crate) fn read(&mut self, end: usize, id: StreamId, most: usize, link: &mut Link) -> bool {
        let lost = self.lost;
        let [a, b] = &mut self.sides;
        let (side, other) = if end == 0 { (a, b) } else { (b, a) };
        let result = link.read(id, most);
        let last = match result {
            Ok(Read::Chunk(bytes)) => {
                assert!(!bytes.is_empty() && bytes.len() <= most, "{} bytes of {most}", bytes.len());
                for got in bytes {
                    assert_eq!(got, byte(id, 1 - end, side.read), "stream {id} at {}", side.read);
                    side.read += 1;
                }
                assert!(side.read <= other.written, "stream {id}: more was read than was written");
                assert!(side.last.is_none(), "stream {id}: bytes behind its end");
                return true;
            }
            Ok(Read::Pending) => {
                assert!(side.last.is_none() || side.stopped, "stream {id}: {:?}, and now nothing", side.last);
                return false;
            }
            Ok(Read::End) => {
                assert!(other.finished, "stream {id} ended at {end}, unasked");
                assert!(side.read == other.written || side.stopped, "stream {id} ended early at {end}");
                Last::End
            }
            Err(StreamError::Cut(code)) => {
                let by = [side.cut, other.cut].into_iter().flatten().any(|cut| cut == code);
                assert!(by || lost, "stream {id} was cut at {end} by nobody: {code}, {side:?}, {other:?}");
                let whole = side.cut.is_some() || side.stopped || other.dropped || lost;
                assert!(whole || side.read == other.written, "stream {id}: cut before the bytes at {end}");
                Last::Cut(code)
            }
            Err(StreamError::Refused(refusal)) => {
                self.check_refused(end, id, &refusal);
                Last::Refused(refusal)
            }
            Err(StreamError::Finished) => panic!("a read says finished"),
        };
        let finished = self.sides[1 - end].finished;
        let side = &mut self.sides[end];
        // A cut of this end's own takes the place of what was seen before, and a FIN that a cut behind it overtook that of
        // the cut.
        if let Some(before) = side.last.replace(last.clone()) {
            let may = before == last || side.cut.is_some() || lost || finished && last == Last::End;
            assert!(may, "stream {id}: {before:?}, then {last:?}");
        }
        false
    }

    /// Reads all there is.
    pub(crate) fn drain(&mut self, end: usize, id: StreamId, link: &mut Link) {
        while self.usable(end) && self.read(end, id, 40_000, link) {}
        let side = &mut self.sides[end];
        if self.call && end != self.opener && side.last == Some(Last::End) && !side.finishes {
            (side.target, side.finishes) = (ANSWER, true);
            self.push(end, id, link);
        }
    }

    /// The answer to the opener.
    pub(crate) fn answered(&self, id: StreamId, link: &Link) {
        let there = &self.sides[1 - self.opener];
        match link.opened(id) {
            Some(Ok(())) => assert!(there.answered && !there.refused, "stream {id} is open, unasked"),
            Some(Err(StreamError::Refused(refusal))) => self.check_refused(self.opener, id, &refusal),
            Some(Err(StreamError::Cut(code))) => {
                let by = self.lost || self.sides.iter().any(|side| side.cut.is_some());
                assert!(by, "stream {id} was cut by nobody: {code}");
            }
            other => panic!("stream {id}: an answer that is none: {other:?}"),
        }
    }

    fn check_refused(&self, end: usize, id: StreamId, refusal: &Refusal) {
        assert!(end == self.opener, "stream {id} is refused to the one who was asked");
        assert!(self.sides[1 - end].refused, "stream {id} is refused by nobody: {refusal}");
        assert_eq!(*refusal, dice(id));
    }

    /// Whether an end has nothing to wait for any more.
    pub(crate) fn settled(&self, end: usize) -> bool {
        let side = &self.sides[end];
        !side.here || side.released || side.stopped || side.last.is_some()
    }
}

/// What a stream is refused with.
pub(crate) fn dice(id: StreamId) -> Refusal {
    Refusal::new(RefusalCode::NotAllowed, format!("the dice say no to {id}"))
}
