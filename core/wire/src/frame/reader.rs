use bytes::{Buf, Bytes, BytesMut};

use super::{COUNTED, Frame, HEADER, kind, known};
use crate::{Hello, ProtocolError};

/// Cuts a carrier's bytes into frames. Bodies are slices of what was pushed; only a frame that is spread over several pushes
/// is copied together.
#[derive(Debug, Default)]
pub struct FrameReader {
    input: Bytes,
    /// Length of the last push: what a slice of it may keep alive.
    pushed: usize,
    /// The beginning of a frame whose end is not there yet.
    pub(super) partial: BytesMut,
    /// Bytes to be thrown away of a frame of unknown kind.
    skip: usize,
    /// The frame that is thrown away is one to count.
    skip_counts: bool,
    /// Frames to count that were thrown away and not asked for yet.
    skipped: u64,
}

impl FrameReader {
    /// Takes the next bytes. Where frames are left in the last ones, both are copied together: take all frames first.
    pub fn push(&mut self, bytes: Bytes) {
        self.input = if self.input.is_empty() { bytes } else { [&self.input[..], &bytes].concat().into() };
        self.pushed = self.input.len();
    }

    /// The next whole frame; `None` when more bytes are needed.
    ///
    /// # Errors
    /// When a frame is too long or cannot be read; nothing further can be read then.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, ProtocolError> {
        loop {
            let skipped = self.skip.min(self.input.len());
            self.input.advance(skipped);
            self.skip -= skipped;
            if self.skip == 0 && std::mem::take(&mut self.skip_counts) {
                self.skipped += 1;
            }
            if self.skip > 0 || self.input.is_empty() {
                return Ok(None);
            }
            if !self.partial.is_empty() || self.input.len() < HEADER {
                if let Some(frame) = self.next_spread()? {
                    return Ok(Some(frame));
                }
                continue;
            }
            let (kind, length) = header(&self.input);
            let Some((name, limit)) = known(kind) else {
                self.input.advance(HEADER);
                self.skip(kind, length);
                continue;
            };
            check_length(name, length, limit)?;
            if self.input.len() < HEADER + length {
                self.partial.reserve(HEADER + length);
                self.partial.extend_from_slice(&self.input);
                self.input.clear();
                return Ok(None);
            }
            let body = self.input.split_to(HEADER + length).slice(HEADER..);
            return decode(kind, name, body).map(Some);
        }
    }

    /// Frames of unknown kinds that came whole, have to be counted for ACK, and were not taken by this yet. Ask after each
    /// [`next_frame`](Self::next_frame), whatever it gave.
    pub(crate) fn take_skipped(&mut self) -> u64 {
        std::mem::take(&mut self.skipped)
    }

    fn skip(&mut self, kind: u8, length: usize) {
        self.skip = length;
        self.skip_counts = COUNTED.contains(&kind);
    }

    /// How many bytes a slice of the last push may keep alive.
    pub(crate) fn pushed(&self) -> usize {
        self.pushed
    }

    /// Goes on with a frame that came in pieces; `None` when the input is used up or the frame was one to skip.
    fn next_spread(&mut self) -> Result<Option<Frame>, ProtocolError> {
        self.fill(HEADER);
        if self.partial.len() < HEADER {
            return Ok(None);
        }
        let (kind, length) = header(&self.partial);
        let Some((name, limit)) = known(kind) else {
            self.partial.clear();
            self.skip(kind, length);
            return Ok(None);
        };
        check_length(name, length, limit)?;
        self.partial.reserve((HEADER + length).saturating_sub(self.partial.len()));
        self.fill(HEADER + length);
        if self.partial.len() < HEADER + length {
            return Ok(None);
        }
        let body = std::mem::take(&mut self.partial).freeze().slice(HEADER..);
        decode(kind, name, body).map(Some)
    }

    /// Moves input into the partial frame until it has `length` bytes.
    fn fill(&mut self, length: usize) {
        let missing = length.saturating_sub(self.partial.len()).min(self.input.len());
        self.partial.extend_from_slice(&self.input.split_to(missing));
    }
}

fn header(bytes: &[u8]) -> (u8, usize) {
    (bytes[0], usize::from(bytes[1]) << 16 | usize::from(bytes[2]) << 8 | usize::from(bytes[3]))
}

fn check_length(frame: &'static str, length: usize, limit: usize) -> Result<(), ProtocolError> {
    if length > limit { Err(ProtocolError::TooLong { frame, length, limit }) } else { Ok(()) }
}

fn decode(kind: u8, frame: &'static str, body: Bytes) -> Result<Frame, ProtocolError> {
    if kind == kind::HELLO {
        return Ok(Frame::Hello(Box::new(Hello::decode(&body)?)));
    }
    Frame::decode(kind, body).map_err(|source| ProtocolError::Decode { frame, source })
}
