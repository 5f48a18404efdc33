//! Frames: four bytes of header (kind, length of the body as 24 bits big endian) and a body. Numbers in a body are varints.
//! Bytes behind the known fields of a body are ignored, and frames of an unknown kind are skipped, so that both can grow.

mod reader;

use std::ops::RangeInclusive;

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    DecodeError, Goodbye, Hello, Refusal,
    code::{GoodbyeCode, RefusalCode, ResetCode},
    tlv, varint,
};

pub use self::reader::FrameReader;

/// Bytes of a frame's header.
pub(crate) const HEADER: usize = 4;
/// The most bytes of a stream that one DATA frame may carry.
pub const MAX_DATA: usize = 32 << 10;
/// The most bytes that one DATAGRAM frame may carry: the largest UDP payload. Such a frame is longer than the buffers of some
/// carriers: it spans several, as any frame may, since a carrier is a stream of bytes.
pub const MAX_DATAGRAM: usize = 65_507;
/// The most bytes of fields in HELLO and OPEN.
pub(crate) const MAX_FIELDS: usize = 4096;
/// Room that DATA needs beside its payload at most: header, stream, offset.
pub(crate) const DATA_OVERHEAD: usize = HEADER + 16;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// The first frame of a carrier, in both directions.
    Hello(Box<Hello>),
    /// Asks for a PONG with the same token.
    Ping(u64),
    /// Answers a PING.
    Pong(u64),
    /// The carrier is turned away, or the link ends.
    Goodbye(Goodbye),
    /// The sender's link holds this many of the retained frames of that carrier, counted from its first.
    Ack {
        /// The carrier they came on; not always the one this is said on.
        carrier: u32,
        /// How many, from the first.
        frames: u64,
        /// The carrier is lost for the sender: no more will come from there, and nothing said there arrives.
        last: bool,
    },
    /// The sender's clock, in microseconds from any beginning; said before an ACK.
    Clock(u64),
    /// Opens a stream.
    Open {
        /// Its number.
        stream: u64,
        /// See [`Open`](crate::Open).
        fields: Bytes,
    },
    /// The far end accepted the stream.
    Opened(u64),
    /// The far end did not accept the stream; both directions are over.
    Refuse {
        /// The stream.
        stream: u64,
        /// Why.
        refusal: Refusal,
    },
    /// Bytes of a stream.
    Data {
        /// The stream.
        stream: u64,
        /// Where the bytes belong, counted from the stream's first.
        offset: u64,
        /// At least one, at most [`MAX_DATA`].
        bytes: Bytes,
    },
    /// The receiver of this may send up to the limit.
    Credit {
        /// The stream, or 0 for all of the link together.
        stream: u64,
        /// Bytes from the first on; never goes back.
        limit: u64,
    },
    /// The sender's direction of the stream ends.
    Fin {
        /// The stream.
        stream: u64,
        /// How many bytes it had.
        end: u64,
    },
    /// The stream is cut, in both directions.
    Reset {
        /// The stream.
        stream: u64,
        /// Why.
        code: ResetCode,
        /// How many bytes the sender of this has sent, for the credits.
        end: u64,
        /// Bytes up to here are delivered before the cut is told.
        deliver: u64,
    },
    /// One datagram of an association; never retained, never sent to an end that did not announce the capability.
    Datagram {
        /// The association.
        stream: u64,
        /// Its payload.
        bytes: Bytes,
    },
}

/// The kinds, as they travel. Append-only. Those of [`COUNTED`] are kept by their sender until they are acknowledged, and so
/// are counted by their receiver, known or not; all others never.
mod kind {
    pub(super) const HELLO: u8 = 0x01;
    pub(super) const PING: u8 = 0x02;
    pub(super) const PONG: u8 = 0x03;
    pub(super) const GOODBYE: u8 = 0x04;
    pub(super) const ACK: u8 = 0x05;
    pub(super) const CLOCK: u8 = 0x06;
    pub(super) const OPEN: u8 = 0x10;
    pub(super) const OPENED: u8 = 0x11;
    pub(super) const REFUSE: u8 = 0x12;
    pub(super) const DATA: u8 = 0x13;
    pub(super) const CREDIT: u8 = 0x14;
    pub(super) const FIN: u8 = 0x15;
    pub(super) const RESET: u8 = 0x16;
    pub(super) const DATAGRAM: u8 = 0x40;
}

/// The kinds of frames that ACK counts.
const COUNTED: RangeInclusive<u8> = 0x10..=0x3f;

/// Name and longest body of a known kind. Bodies of a few numbers get room to grow.
fn known(kind: u8) -> Option<(&'static str, usize)> {
    Some(match kind {
        kind::HELLO => ("HELLO", MAX_FIELDS),
        kind::PING => ("PING", 64),
        kind::PONG => ("PONG", 64),
        kind::GOODBYE => ("GOODBYE", 64 + tlv::MAX_TEXT),
        kind::ACK => ("ACK", 64),
        kind::CLOCK => ("CLOCK", 64),
        kind::OPEN => ("OPEN", 8 + MAX_FIELDS),
        kind::OPENED => ("OPENED", 64),
        kind::REFUSE => ("REFUSE", 64 + tlv::MAX_TEXT),
        kind::DATA => ("DATA", 16 + MAX_DATA),
        kind::CREDIT => ("CREDIT", 64),
        kind::FIN => ("FIN", 64),
        kind::RESET => ("RESET", 64),
        kind::DATAGRAM => ("DATAGRAM", 8 + MAX_DATAGRAM),
        _ => return None,
    })
}

impl Frame {
    /// Appends the frame. Texts are cut to 1,024 bytes.
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Hello(hello) => body(out, kind::HELLO, |out| hello.encode(out)),
            Self::Ping(token) => body(out, kind::PING, |out| varint::put(out, *token)),
            Self::Pong(token) => body(out, kind::PONG, |out| varint::put(out, *token)),
            Self::Goodbye(Goodbye { code, text }) => {
                body(out, kind::GOODBYE, |out| code_and_text(out, code.number(), text));
            }
            Self::Ack { carrier, frames, last } => body(out, kind::ACK, |out| {
                numbers(out, &[(*carrier).into(), *frames]);
                if *last {
                    varint::put(out, 1);
                }
            }),
            Self::Clock(time) => body(out, kind::CLOCK, |out| varint::put(out, *time)),
            Self::Open { stream, fields } => body(out, kind::OPEN, |out| {
                varint::put(out, *stream);
                out.extend_from_slice(fields);
            }),
            Self::Opened(stream) => body(out, kind::OPENED, |out| varint::put(out, *stream)),
            Self::Refuse { stream, refusal } => body(out, kind::REFUSE, |out| {
                varint::put(out, *stream);
                code_and_text(out, refusal.code.number(), &refusal.text);
            }),
            Self::Data { stream, offset, bytes } => data(out, *stream, *offset, bytes),
            Self::Credit { stream, limit } => {
                body(out, kind::CREDIT, |out| numbers(out, &[*stream, *limit]));
            }
            Self::Fin { stream, end } => body(out, kind::FIN, |out| numbers(out, &[*stream, *end])),
            Self::Reset { stream, code, end, deliver } => body(out, kind::RESET, |out| {
                numbers(out, &[*stream, code.number().into(), *end, *deliver]);
            }),
            Self::Datagram { stream, bytes } => {
                datagram(out, *stream, bytes.clone(), usize::MAX);
            }
        }
    }

    /// Reads the body of a known kind.
    fn decode(kind: u8, body: Bytes) -> Result<Self, DecodeError> {
        let mut input = &body[..];
        let take = |input: &mut &[u8]| varint::take(input);
        Ok(match kind {
            kind::PING => Self::Ping(take(&mut input)?),
            kind::PONG => Self::Pong(take(&mut input)?),
            kind::GOODBYE => {
                let code = GoodbyeCode::from_number(small(take(&mut input)?)?);
                Self::Goodbye(Goodbye { code, text: tlv::text(input) })
            }
            kind::ACK => Self::Ack {
                carrier: small(take(&mut input)?)?,
                frames: take(&mut input)?,
                // Left out by most; other numbers are for later versions.
                last: !input.is_empty() && take(&mut input)? == 1,
            },
            kind::CLOCK => Self::Clock(take(&mut input)?),
            kind::OPEN => {
                let stream = stream(take(&mut input)?)?;
                Self::Open { stream, fields: rest(&body, input) }
            }
            kind::OPENED => Self::Opened(stream(take(&mut input)?)?),
            kind::REFUSE => {
                let stream = stream(take(&mut input)?)?;
                let code = RefusalCode::from_number(small(take(&mut input)?)?);
                Self::Refuse { stream, refusal: Refusal { code, text: tlv::text(input) } }
            }
            kind::DATA => {
                let (stream, offset) = (stream(take(&mut input)?)?, take(&mut input)?);
                if input.is_empty() || input.len() > MAX_DATA {
                    return Err(DecodeError::Invalid("the payload's length"));
                }
                // So that an offset behind the bytes is always a varint, too.
                if offset > varint::MAX - MAX_DATA as u64 {
                    return Err(DecodeError::Invalid("the offset"));
                }
                Self::Data { stream, offset, bytes: rest(&body, input) }
            }
            kind::CREDIT => Self::Credit { stream: take(&mut input)?, limit: take(&mut input)? },
            kind::FIN => Self::Fin { stream: stream(take(&mut input)?)?, end: take(&mut input)? },
            kind::RESET => {
                let stream = stream(take(&mut input)?)?;
                let code = ResetCode::from_number(small(take(&mut input)?)?);
                let (end, deliver) = (take(&mut input)?, take(&mut input)?);
                if deliver > end {
                    return Err(DecodeError::Invalid("the offset to deliver to"));
                }
                Self::Reset { stream, code, end, deliver }
            }
            kind::DATAGRAM => {
                let stream = stream(take(&mut input)?)?;
                if input.len() > MAX_DATAGRAM {
                    return Err(DecodeError::Invalid("the payload's length"));
                }
                Self::Datagram { stream, bytes: rest(&body, input) }
            }
            _ => return Err(DecodeError::Invalid("the kind")),
        })
    }
}

/// Appends a DATA frame; the one that is written most, so it needs no [`Frame`].
pub(crate) fn data(out: &mut BytesMut, stream: u64, offset: u64, bytes: &[u8]) {
    let length = varint::len(stream) + varint::len(offset) + bytes.len();
    out.put_u32(u32::from(kind::DATA) << 24 | length as u32);
    varint::put(out, stream);
    varint::put(out, offset);
    out.extend_from_slice(bytes);
}

/// Appends a DATAGRAM frame, or as much of it as there is room for; returns the rest.
pub(crate) fn datagram(out: &mut BytesMut, stream: u64, mut bytes: Bytes, room: usize) -> Bytes {
    let front = varint::len(stream);
    out.put_u32(u32::from(kind::DATAGRAM) << 24 | (front + bytes.len()) as u32);
    varint::put(out, stream);
    let now = bytes.split_to(room.saturating_sub(HEADER + front).min(bytes.len()));
    out.extend_from_slice(&now);
    bytes
}

fn body(out: &mut BytesMut, kind: u8, write: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_u32(0);
    write(out);
    let length = (out.len() - start - HEADER) as u32;
    out[start..start + HEADER].copy_from_slice(&(u32::from(kind) << 24 | length).to_be_bytes());
}

fn numbers(out: &mut BytesMut, numbers: &[u64]) {
    for number in numbers {
        varint::put(out, *number);
    }
}

fn code_and_text(out: &mut BytesMut, code: u32, text: &str) {
    varint::put(out, code.into());
    out.extend_from_slice(tlv::cut(text, tlv::MAX_TEXT).as_bytes());
}

fn small(number: u64) -> Result<u32, DecodeError> {
    u32::try_from(number).map_err(|_| DecodeError::Invalid("a number of 32 bits"))
}

fn stream(number: u64) -> Result<u64, DecodeError> {
    if number == 0 { Err(DecodeError::Invalid("the stream's number")) } else { Ok(number) }
}

/// What is left of `body`, as a slice of it.
fn rest(body: &Bytes, input: &[u8]) -> Bytes {
    body.slice(body.len() - input.len()..)
}

#[cfg(test)]
mod tests;
