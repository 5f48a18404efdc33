//! WebSocket frames as a client sends and reads them (RFC 6455), without a buffer of their own: payloads are slices of
//! what was read, and what is sent is masked where it lies. Libraries copy and clear more than that.

use std::io;

use bytes::{Buf, Bytes, BytesMut};

use super::take;

/// Room for the longest header of a frame of ours: two bytes, the length in eight, the mask's key.
pub(super) const HEADER: usize = 14;

const CONTINUATION: u8 = 0;
const BINARY: u8 = 2;
const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// The longest payload of a frame that controls the connection.
const MAX_CONTROL: u64 = 125;

/// A normal end: status code 1000.
const NORMAL: [u8; 2] = 1000_u16.to_be_bytes();

/// What a read brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Bytes of a binary message; `first` when a message begins with them.
    Data { first: bool, bytes: Bytes },
    /// To be answered with the same bytes.
    Ping(Bytes),
    /// The peer ends the connection: its code (1005: none) and words.
    Close(u16, String),
}

/// Cuts what comes into pieces; a message need not be here whole.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// Of the data frame that has begun: bytes still to come.
    left: u64,
    first: bool,
}

impl Decoder {
    /// The next piece of `input`; `None` when more has to be read.
    pub(super) fn next(&mut self, input: &mut BytesMut) -> io::Result<Option<Piece>> {
        loop {
            if self.left > 0 {
                if input.is_empty() {
                    return Ok(None);
                }
                let here = usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len());
                self.left -= here as u64;
                let first = std::mem::take(&mut self.first);
                return Ok(Some(Piece::Data { first, bytes: take(input, here) }));
            }
            let Some((opcode, length, header)) = header(input)? else { return Ok(None) };
            match opcode {
                CONTINUATION | BINARY => {
                    input.advance(header);
                    self.left = length;
                    // Kept over frames without a payload.
                    self.first |= opcode == BINARY;
                }
                CLOSE | PING | PONG if length > MAX_CONTROL => return Err(wrong("a long control frame")),
                CLOSE | PING | PONG => {
                    let length = length as usize;
                    if input.len() < header + length {
                        return Ok(None);
                    }
                    input.advance(header);
                    let payload = Bytes::copy_from_slice(&input.split_to(length));
                    match opcode {
                        CLOSE => return Ok(Some(close(payload))),
                        PING => return Ok(Some(Piece::Ping(payload))),
                        _ => {}
                    }
                }
                TEXT => return Err(wrong("a text message")),
                _ => return Err(wrong("a frame of unknown kind")),
            }
        }
    }
}

/// Kind, length of the payload and length of the header; `None` when it is not whole.
fn header(input: &[u8]) -> io::Result<Option<(u8, u64, usize)>> {
    let [first, second, rest @ ..] = input else { return Ok(None) };
    if first & 0x70 != 0 || second & 0x80 != 0 {
        return Err(wrong("a frame with bits that were not agreed on"));
    }
    let (length, header) = match second & 0x7f {
        126 => match rest.first_chunk() {
            Some(length) => (u64::from(u16::from_be_bytes(*length)), 4),
            None => return Ok(None),
        },
        127 => match rest.first_chunk() {
            Some(length) => (u64::from_be_bytes(*length), 10),
            None => return Ok(None),
        },
        length => (u64::from(length), 2),
    };
    Ok(Some((first & 0x0f, length, header)))
}

fn close(payload: Bytes) -> Piece {
    match payload.split_first_chunk() {
        Some((code, text)) => {
            Piece::Close(u16::from_be_bytes(*code), String::from_utf8_lossy(text).into_owned())
        }
        None => Piece::Close(1005, String::new()),
    }
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the API server sent {what} on a port-forward"))
}

/// Makes the bytes of `buffer` from `payload` on a whole binary message in one frame: masks them, and writes the header
/// before them. Returns where the frame begins. There must be room for [`HEADER`] bytes before the payload.
pub(super) fn wrap(buffer: &mut [u8], payload: usize) -> usize {
    frame(buffer, payload, BINARY)
}

/// A whole frame that answers a ping.
pub(super) fn pong(payload: &[u8]) -> Vec<u8> {
    control(PONG, payload)
}

/// A whole frame that ends the connection.
pub(super) fn normal_close() -> Vec<u8> {
    control(CLOSE, &NORMAL)
}

fn control(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut buffer = vec![0; HEADER];
    buffer.extend_from_slice(payload);
    let start = frame(&mut buffer, HEADER, opcode);
    buffer.split_off(start)
}

fn frame(buffer: &mut [u8], payload: usize, opcode: u8) -> usize {
    let key: [u8; 4] = rand::random();
    mask(&mut buffer[payload..], key);
    let length = buffer.len() - payload;
    let (second, extended): (u8, &[u8]) = match length {
        0..126 => (length as u8, &[]),
        126..0x1_0000 => (126, &(length as u16).to_be_bytes()),
        _ => (127, &(length as u64).to_be_bytes()),
    };
    let start = payload - 4 - extended.len() - 2;
    buffer[start] = 0x80 | opcode;
    buffer[start + 1] = 0x80 | second;
    buffer[start + 2..payload - 4].copy_from_slice(extended);
    buffer[payload - 4..payload].copy_from_slice(&key);
    start
}

fn mask(payload: &mut [u8], key: [u8; 4]) {
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut words = payload.chunks_exact_mut(8);
    for word in &mut words {
        if let Ok(bytes) = <[u8; 8]>::try_from(&*word) {
            word.copy_from_slice(&(u64::from_ne_bytes(bytes) ^ wide).to_ne_bytes());
        }
    }
    for (byte, key) in words.into_remainder().iter_mut().zip(key.into_iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a server reads of a frame of ours.
    fn unmasked(frame: &[u8]) -> (u8, Vec<u8>) {
        let mut clear = frame.to_vec();
        assert_eq!(clear[1] & 0x80, 0x80, "a client has to mask");
        clear[1] &= 0x7f;
        let (opcode, length, header) = header(&clear).unwrap().unwrap();
        assert_eq!(clear[0] & 0x80, 0x80, "a message in one frame");
        let (key, payload) = clear[header..].split_first_chunk::<4>().unwrap();
        assert_eq!(payload.len() as u64, length);
        (opcode, payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect())
    }

    #[test]
    fn frames_of_every_length_are_what_a_server_reads() {
        for length in [0, 1, 7, 8, 125, 126, 65_535, 65_536, 200_000] {
            let payload: Vec<u8> = (0..length).map(|index| index as u8).collect();
            let mut buffer = vec![0; HEADER + 3];
            buffer.extend_from_slice(&payload);
            let start = wrap(&mut buffer, HEADER + 3);
            assert_eq!(unmasked(&buffer[start..]), (BINARY, payload), "{length}");
        }
        assert_eq!(unmasked(&pong(b"abc")), (PONG, b"abc".to_vec()));
        assert_eq!(unmasked(&normal_close()), (CLOSE, vec![3, 232]));
    }

    #[test]
    fn what_a_server_sends_comes_out_however_it_is_cut() {
        let mut sent = vec![0x82, 3, 1, 2, 3, 0x89, 2, 8, 9, 0x02, 126, 1, 0];
        sent.extend([5; 256]);
        sent.extend([0x80, 1, 6, 0x8a, 0, 0x82, 0, 0x88, 4, 3, 232, b'o', b'k']);
        for cut in 1..sent.len() {
            let (mut decoder, mut input) = (Decoder::default(), BytesMut::new());
            let (mut data, mut others) = (Vec::<Vec<u8>>::new(), Vec::new());
            for part in sent.chunks(cut) {
                input.extend_from_slice(part);
                while let Some(piece) = decoder.next(&mut input).unwrap() {
                    match piece {
                        Piece::Data { first: true, bytes } => data.push(bytes.to_vec()),
                        Piece::Data { first: false, bytes } => data.last_mut().unwrap().extend(bytes),
                        other => others.push(other),
                    }
                }
            }
            assert_eq!(data, [vec![1, 2, 3], [vec![5; 256], vec![6]].concat()], "cut {cut}");
            let expected = [Piece::Ping(Bytes::from_static(&[8, 9])), Piece::Close(1000, "ok".into())];
            assert_eq!(others, expected, "cut {cut}");
        }
    }

    /// All that comes of what is sent in pieces of `cut` bytes, data joined to messages; what went wrong as its words.
    fn pieces(sent: &[u8], cut: usize) -> (Vec<Piece>, Option<String>) {
        let (mut decoder, mut input, mut all) = (Decoder::default(), BytesMut::new(), Vec::new());
        for part in sent.chunks(cut) {
            input.extend_from_slice(part);
            loop {
                match (decoder.next(&mut input), all.last_mut()) {
                    (Ok(None), _) => break,
                    (Err(error), _) => return (all, Some(error.to_string())),
                    (
                        Ok(Some(Piece::Data { first: false, bytes: next })),
                        Some(Piece::Data { bytes, .. }),
                    ) => {
                        *bytes = [&bytes[..], &next].concat().into();
                    }
                    (Ok(Some(piece)), _) => all.push(piece),
                }
            }
        }
        (all, None)
    }

    /// Frames that a server may send and others, of any kind and with any lengths: the same comes of them in any pieces.
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
                let first = [0x82, 0x02, 0x80, 0x00, 0x89, 0x8a, 0x88, roll()][usize::from(roll() % 8)];
                let length = [0, 1, 125, roll() % 126][usize::from(roll() % 4)];
                sent.extend([first, length]);
                sent.extend((0..length).map(|_| roll()));
            }
            sent.extend((0..roll() % 16).map(|_| roll()));
            let whole = pieces(&sent, usize::MAX);
            for cut in [1, 2, 7, 100] {
                assert_eq!(pieces(&sent, cut), whole, "{sent:?} in pieces of {cut}");
            }
        }
        // A message whose first frame is empty begins with the next.
        let begins = Piece::Data { first: true, bytes: Bytes::from_static(b"x") };
        assert_eq!(pieces(&[0x02, 0, 0x80, 1, b'x'], 1), (vec![begins], None));
    }

    #[test]
    fn what_was_not_agreed_on_ends_it() {
        let bad: [&[u8]; 5] =
            [&[0xc2, 1, 0], &[0x82, 0x81, 0, 0, 0, 0, 0], &[0x81, 1, 65], &[0x83, 0], &[0x89, 126, 0, 126]];
        for sent in bad {
            let read = Decoder::default().next(&mut BytesMut::from(sent));
            assert_eq!(read.unwrap_err().kind(), io::ErrorKind::InvalidData, "{sent:?}");
        }
    }

    #[test]
    fn little_does_not_keep_much_alive() {
        let mut input = BytesMut::with_capacity(64 << 10);
        input.extend_from_slice(&[0x82, 2, 1, 2]);
        let begin = input.as_ptr() as usize;
        let Some(Piece::Data { bytes, .. }) = Decoder::default().next(&mut input).unwrap() else { panic!() };
        let within = begin..begin + (64 << 10);
        assert!(!within.contains(&(bytes.as_ptr() as usize)));
    }
}
