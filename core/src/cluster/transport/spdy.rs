//! A SPDY/3.1 connection to the node: by itself, or cut into the messages of a WebSocket (subprotocol
//! `SPDY/3.1+portforward.k8s.io`, KEP-4006; API servers from 1.31 on). The node's side of `v4.channel.k8s.io` takes thrice
//! the time for each byte.
//!
//! Of SPDY (draft-mbelshe-httpbis-spdy-00, SPDY Protocol 3.1) as much as a port-forward has: two streams that we open, one for
//! what goes wrong and one for the bytes. Windows are not kept by the other side (moby/spdystream), so not here either:
//! the link bounds what is under way.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Bytes before the data of a frame.
pub(super) const HEADER: usize = 8;

/// What goes wrong comes here; nothing is sent on it.
const ERRORS: u32 = 1;
/// The bytes.
const DATA: u32 = 3;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;

const FIN: u8 = 1;
const CONTROL: u32 = 0x8003_0000;

/// How much of what went wrong is told.
const MOST_WORDS: usize = 4096;

/// The most bytes of a control frame whose content matters.
const MOST_CONTROL: usize = 64;

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The carrier's bytes.
    Data(Bytes),
    /// The node has taken the stream of the bytes: before this it throws them away.
    Ready,
    /// A whole frame that is to be sent back.
    Answer(Bytes),
    /// No more bytes come.
    End,
}

/// The reading side.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// The beginning of a frame: its header, and of some control frames all.
    frame: BytesMut,
    /// What to do with the rest of the frame.
    rest: Rest,
    left: usize,
    fin: bool,
    words: Vec<u8>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Rest {
    /// None has begun.
    #[default]
    Header,
    Data,
    Words,
    Control(u16),
    Skip,
}

impl Decoder {
    /// Takes from `input` up to the next event; `None` when it is used up.
    ///
    /// # Errors
    /// What went wrong, in the node's words.
    pub(super) fn next(&mut self, input: &mut Bytes) -> io::Result<Option<Event>> {
        loop {
            if self.rest == Rest::Header {
                if !fill(&mut self.frame, HEADER, input) {
                    return Ok(None);
                }
                self.begin();
            }
            if self.left == 0 {
                if let Some(event) = self.finish()? {
                    return Ok(Some(event));
                }
                continue;
            }
            if input.is_empty() {
                return Ok(None);
            }
            let here = self.left.min(input.len());
            match self.rest {
                Rest::Data => {
                    self.left -= here;
                    return Ok(Some(Event::Data(input.split_to(here))));
                }
                Rest::Words => {
                    let room = MOST_WORDS.saturating_sub(self.words.len()).min(here);
                    self.words.extend_from_slice(&input[..room]);
                    input.advance(here);
                    self.left -= here;
                }
                Rest::Control(_) if self.frame.len() < HEADER + MOST_CONTROL => {
                    let room = here.min(HEADER + MOST_CONTROL - self.frame.len());
                    self.frame.extend_from_slice(&input.split_to(room));
                    self.left -= room;
                }
                Rest::Control(_) | Rest::Skip | Rest::Header => {
                    input.advance(here);
                    self.left -= here;
                }
            }
        }
    }

    /// A header is there.
    fn begin(&mut self) {
        let first = (&self.frame[..4]).get_u32();
        let second = (&self.frame[4..]).get_u32();
        self.left = (second & 0xff_ffff) as usize;
        self.fin = (second >> 24) as u8 & FIN != 0;
        self.rest = match first {
            DATA => Rest::Data,
            ERRORS => Rest::Words,
            _ if first & 0x8000_0000 != 0 => Rest::Control(first as u16),
            _ => Rest::Skip,
        };
    }

    /// A frame is whole.
    fn finish(&mut self) -> io::Result<Option<Event>> {
        let (rest, frame) = (std::mem::take(&mut self.rest), std::mem::take(&mut self.frame));
        let stream = || frame.get(HEADER..HEADER + 4).map(|mut id| id.get_u32() & 0x7fff_ffff);
        match rest {
            Rest::Data if self.fin => Ok(Some(Event::End)),
            Rest::Words if !self.words.is_empty() => Err(super::refused(&std::mem::take(&mut self.words))),
            Rest::Control(SYN_REPLY) if stream() == Some(DATA) => {
                Ok(Some(if self.fin { Event::End } else { Event::Ready }))
            }
            Rest::Control(RST_STREAM) if stream() == Some(DATA) => {
                Err(io::Error::new(io::ErrorKind::ConnectionReset, "the node reset the port-forward"))
            }
            // Even numbers are the other side's own; odd ones would answer ours, and we ask none. A longer one is no PING, and of
            // the longest not all is here.
            Rest::Control(PING)
                if frame.len() == HEADER + 4 && stream().is_some_and(|id| id.is_multiple_of(2)) =>
            {
                Ok(Some(Event::Answer(frame.freeze())))
            }
            Rest::Control(GOAWAY) => Ok(Some(Event::End)),
            Rest::Header | Rest::Data | Rest::Words | Rest::Control(_) | Rest::Skip => Ok(None),
        }
    }
}

/// Moves bytes from `input` until `frame` has `length`; whether it has.
fn fill(frame: &mut BytesMut, length: usize, input: &mut Bytes) -> bool {
    let missing = length.saturating_sub(frame.len()).min(input.len());
    frame.extend_from_slice(&input.split_to(missing));
    frame.len() >= length
}

/// Writes what stands before `length` bytes of data, which fit 24 bits.
pub(super) fn wrap(mut header: &mut [u8], length: usize) {
    header.put_u32(DATA);
    header.put_u32(length as u32 & 0xff_ffff);
}

/// What opens the two streams to a port of the pod's loopback.
pub(super) fn open(port: u16) -> BytesMut {
    let mut out = BytesMut::new();
    syn_stream(&mut out, ERRORS, FIN, "error", port, true);
    syn_stream(&mut out, DATA, 0, "data", port, false);
    out
}

/// Appends a SYN_STREAM with the headers that name the port.
fn syn_stream(out: &mut BytesMut, stream: u32, flags: u8, kind: &str, port: u16, first: bool) {
    let port = port.to_string();
    let mut headers = BytesMut::new();
    let pairs = [("port", port.as_str()), ("requestid", "0"), ("streamtype", kind)];
    headers.put_u32(pairs.len() as u32);
    for text in pairs.iter().flat_map(|(name, value)| [name, value]) {
        headers.put_u32(text.len() as u32);
        headers.put_slice(text.as_bytes());
    }
    let mut block = BytesMut::new();
    if first {
        // Headers are one zlib stream (RFC 1950) with SPDY's dictionary, named by its Adler-32.
        block.put_slice(&[0x78, 0xbb, 0xe3, 0xc6, 0xa7, 0xc2]);
    }
    // A stored block needs no dictionary; the empty one behind it lets the reader see that nothing follows yet.
    stored(&mut block, &headers);
    stored(&mut block, &[]);
    out.put_u32(CONTROL | u32::from(SYN_STREAM));
    out.put_u32(u32::from(flags) << 24 | (10 + block.len()) as u32);
    out.put_u32(stream);
    // No other stream it belongs to; the highest priority.
    out.put_slice(&[0; 6]);
    out.put_slice(&block);
}

/// A block of deflate that is not compressed (RFC 1951, 3.2.4).
fn stored(out: &mut BytesMut, bytes: &[u8]) {
    let length = bytes.len() as u16;
    out.put_u8(0);
    out.put_u16_le(length);
    out.put_u16_le(!length);
    out.put_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(stream: u32, flags: u8, bytes: &[u8]) -> Vec<u8> {
        let mut frame = stream.to_be_bytes().to_vec();
        frame.extend((u32::from(flags) << 24 | bytes.len() as u32).to_be_bytes());
        frame.extend(bytes);
        frame
    }

    fn control(kind: u16, body: &[u8]) -> Vec<u8> {
        data(CONTROL | u32::from(kind), 0, body)
    }

    /// All that comes of what is sent in pieces of `cut` bytes; data joined.
    fn events(sent: &[u8], cut: usize) -> io::Result<Vec<Event>> {
        let mut decoder = Decoder::default();
        let mut all = Vec::new();
        for piece in sent.chunks(cut) {
            let mut piece = Bytes::copy_from_slice(piece);
            while let Some(event) = decoder.next(&mut piece)? {
                match (all.last_mut(), event) {
                    (Some(Event::Data(last)), Event::Data(next)) => {
                        *last = [&last[..], &next].concat().into()
                    }
                    (_, event) => all.push(event),
                }
            }
            assert!(piece.is_empty());
        }
        Ok(all)
    }

    #[test]
    fn what_a_node_sends_comes_out_however_it_is_cut() {
        let reply = control(SYN_REPLY, &[[0, 0, 0, 3].as_slice(), &[7; 100]].concat());
        let errors_reply = control(SYN_REPLY, &[0, 0, 0, 1, 9, 9]);
        let ping = control(PING, &[0, 0, 0, 2]);
        let our_ping = control(PING, &[0, 0, 0, 1]);
        let window = control(9, &[0, 0, 0, 3, 0, 0, 1, 0]);
        let sent = [
            errors_reply,
            reply,
            data(DATA, 0, b"abc"),
            data(DATA, 0, b""),
            ping.clone(),
            our_ping,
            window,
            data(5, 0, b"none of ours"),
            data(ERRORS, FIN, b""),
            data(DATA, 0, &[1; 1000]),
            data(DATA, FIN, b"z"),
        ]
        .concat();
        let expected = [
            Event::Ready,
            Event::Data(Bytes::from_static(b"abc")),
            Event::Answer(ping.into()),
            Event::Data([&[1; 1000][..], b"z"].concat().into()),
            Event::End,
        ];
        for cut in 1..sent.len() {
            assert_eq!(events(&sent, cut).unwrap(), expected, "cut {cut}");
        }
    }

    /// Frames of any kind, stream and length, whole and not: the same comes of them in any pieces.
    #[test]
    fn any_bytes_in_any_pieces() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut roll = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        };
        for _ in 0..3000 {
            let mut sent = Vec::new();
            for _ in 0..roll() % 8 {
                let stream = u32::from(roll() % 6);
                let kind = u32::from(roll() % 12);
                let first = if roll() % 2 == 0 { stream } else { CONTROL | kind };
                let length = usize::from(roll() % 90) * usize::from(roll() % 2);
                let mut body: Vec<u8> = (0..length).map(|_| roll()).collect();
                body.splice(..4.min(length), stream.to_be_bytes().into_iter().take(length));
                sent.extend(data(first, roll() & roll(), &body));
            }
            sent.extend((0..roll() % 16).map(|_| roll()));
            let told = |cut| events(&sent, cut).map_err(|error| error.to_string());
            let whole = told(usize::MAX);
            for cut in [1, 2, 7, 100] {
                assert_eq!(told(cut), whole, "{sent:?} in pieces of {cut}");
            }
        }
    }

    #[test]
    fn a_refusal_comes_in_the_nodes_words() {
        let sent = [data(ERRORS, 0, b"connection refused\n"), control(RST_STREAM, &[0, 0, 0, 3, 0, 0, 0, 5])];
        for cut in 1..sent.concat().len() {
            let error = events(&sent.concat(), cut).unwrap_err();
            assert_eq!(error.to_string(), "connection refused", "cut {cut}");
        }
        let error = events(&sent[1], 3).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        let long = data(ERRORS, 0, &[b'x'; 100_000]);
        assert_eq!(events(&long, 999).unwrap_err().to_string().len(), MOST_WORDS);
    }

    #[test]
    fn a_ping_of_the_wrong_length_is_not_answered() {
        for length in [0, 3, 5, 64, 65, 1000] {
            let sent = control(PING, &vec![0; length]);
            assert_eq!(events(&sent, 7).unwrap(), [], "{length} bytes");
        }
    }

    #[test]
    fn going_away_is_an_end() {
        assert_eq!(events(&control(GOAWAY, &[0; 8]), 5).unwrap(), [Event::End]);
    }

    #[test]
    fn the_streams_are_opened_as_a_node_reads_them() {
        let mut sent: Bytes = open(10_350).freeze();
        for (stream, flags, kind, zlib) in [(ERRORS, FIN, "error", 6), (DATA, 0, "data", 0)] {
            assert_eq!(sent.get_u32(), 0x8003_0001);
            let second = sent.get_u32();
            assert_eq!((second >> 24) as u8, flags);
            let mut body = sent.split_to((second & 0xff_ffff) as usize);
            assert_eq!((body.get_u32(), body.get_u32(), body.get_u16()), (stream, 0, 0));
            body.advance(zlib);
            assert_eq!(body.get_u8(), 0, "a stored block, and not the last");
            let length = body.get_u16_le();
            assert_eq!(body.get_u16_le(), !length);
            let mut headers = body.split_to(length.into());
            assert_eq!(&body[..], [0, 0, 0, 0xff, 0xff]);
            assert_eq!(headers.get_u32(), 3);
            let mut text = || {
                let length = headers.get_u32() as usize;
                String::from_utf8(headers.split_to(length).to_vec()).unwrap()
            };
            let said: Vec<String> = (0..6).map(|_| text()).collect();
            assert_eq!(said, ["port", "10350", "requestid", "0", "streamtype", kind]);
        }
        assert!(sent.is_empty());
    }

    #[test]
    fn data_goes_out_behind_its_header() {
        let mut header = [0; HEADER];
        wrap(&mut header, 0x01_02_03);
        assert_eq!(header, [0, 0, 0, 3, 0, 1, 2, 3]);
    }
}
