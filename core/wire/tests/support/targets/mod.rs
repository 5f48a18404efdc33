//! What fuzzing calls: one function for each way in which foreign bytes come in. `fuzz/` hands them what libFuzzer makes up,
//! `proof/corpus.rs` what it found before. Each panics where something is not as it must be.

mod doors;
mod peer;

use bytes::{Bytes, BytesMut};
use kubetether_wire::{Answer, Frame, FrameReader, MAX_DATA, MAX_DATAGRAM, Open, ProtocolError, Request};

pub(crate) use self::{
    doors::{acceptor, link},
    peer::peer,
};
use super::model;

/// A target: the bytes it takes.
pub(crate) type Target = fn(&[u8]);

/// All of them; each has a folder of this name in `fuzz/corpus` and a program in `fuzz/fuzz_targets`.
pub(crate) const ALL: &[(&str, Target)] = &[
    ("frames", frames),
    ("hello", hello),
    ("open", open),
    ("calls", calls),
    ("acceptor", acceptor),
    ("link", link),
    ("peer", peer),
    ("model", model),
];

/// A carrier's bytes, whole and in pieces: both give the same frames, and each frame comes back from its own bytes.
pub(crate) fn frames(data: &[u8]) {
    let (sizes, bytes) = split(data, 4);
    let (whole, error) = read_frames(bytes, &[]);
    let (pieces, other) = read_frames(bytes, &sizes);
    assert_eq!((&whole, &error), (&pieces, &other), "in pieces of {sizes:?} other frames come");
    for frame in whole {
        again(&frame);
    }
}

/// The body of a HELLO.
pub(crate) fn hello(data: &[u8]) {
    let mut bytes = vec![1, 0, (data.len() >> 8) as u8, data.len() as u8];
    bytes.extend_from_slice(data);
    if data.len() < 1 << 16 {
        match read_frames(&bytes, &[]) {
            (frames, None) => {
                assert!(matches!(frames[..], [Frame::Hello(_)]), "{frames:?}");
                again(&frames[0]);
                // Nothing secret is printed, and what is printed for people can be.
                assert!(format!("{:?}", frames[0]).len() < 20_000);
            }
            (_, Some(ProtocolError::Hello(goodbye))) => {
                again(&Frame::Goodbye(goodbye));
            }
            (_, Some(_)) => {}
        }
    }
}

/// The fields of an OPEN.
pub(crate) fn open(data: &[u8]) {
    if let Ok(open) = Open::decode(data) {
        let bytes = open.encode().expect("what was read can be said");
        assert_eq!(Open::decode(&bytes), Ok(open));
        assert!(bytes.len() < 1000, "{} bytes of fields", bytes.len());
    }
}

/// A request, and an answer.
pub(crate) fn calls(data: &[u8]) {
    if let Ok(request) = Request::decode(data) {
        assert_eq!(Request::decode(&request.encode()), Ok(request));
    }
    if let Ok(answer) = Answer::decode(data) {
        assert_eq!(Answer::decode(&answer.encode()), Ok(answer));
    }
}

/// Two honest ends, whatever happens to them.
pub(crate) fn model(data: &[u8]) {
    // Long lives show nothing that short ones do not, and take their time.
    model::run(&data[..data.len().min(1 + 4 * 400)]);
}

/// Takes so many bytes off the front, or fewer.
fn split(data: &[u8], most: usize) -> (Vec<u8>, &[u8]) {
    let (front, rest) = data.split_at(most.min(data.len()));
    (front.to_vec(), rest)
}

/// All frames of some bytes, which come in pieces of these sizes, again and again; and what went wrong.
fn read_frames(bytes: &[u8], sizes: &[u8]) -> (Vec<Frame>, Option<ProtocolError>) {
    let (mut reader, mut frames, mut rest) = (FrameReader::default(), Vec::new(), bytes);
    for turn in 0.. {
        let size = sizes.get(turn % sizes.len().max(1)).map_or(usize::MAX, |size| usize::from(*size) + 1);
        let (piece, behind) = rest.split_at(size.min(rest.len()));
        rest = behind;
        reader.push(Bytes::copy_from_slice(piece));
        loop {
            match reader.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
        if rest.is_empty() {
            break;
        }
    }
    (frames, None)
}

/// A frame that was read is within its limits, and can be said so that it is read again.
fn again(frame: &Frame) {
    match frame {
        Frame::Data { bytes, .. } => assert!((1..=MAX_DATA).contains(&bytes.len())),
        Frame::Datagram { bytes, .. } => assert!(bytes.len() <= MAX_DATAGRAM),
        Frame::Goodbye(goodbye) => assert!(!goodbye.text.contains(char::is_control)),
        _ => {}
    }
    let mut bytes = BytesMut::new();
    frame.encode(&mut bytes);
    // A text with broken characters grows by what stands for them, and is cut.
    match (frame, read_frames(&bytes, &[])) {
        (Frame::Goodbye(_) | Frame::Refuse { .. } | Frame::Hello(_), (frames, None)) => {
            assert_eq!(frames.len(), 1)
        }
        (frame, (frames, None)) => assert_eq!(frames, std::slice::from_ref(frame)),
        (frame, (_, Some(error))) => panic!("{frame:?} cannot be read again: {error}"),
    }
}
