use super::*;
use crate::ProtocolError;

fn samples() -> Vec<Frame> {
    vec![
        Frame::Ping(70_000),
        Frame::Ack { carrier: 3, frames: 1 << 40, last: false },
        Frame::Ack { carrier: 3, frames: 7, last: true },
        Frame::Clock(1 << 50),
        Frame::Open { stream: 2, fields: Bytes::from_static(&[1, 1, 3]) },
        Frame::Refuse { stream: 2, refusal: Refusal::new(RefusalCode::Refused, "no") },
        Frame::Data { stream: 4, offset: 1 << 33, bytes: Bytes::from(vec![9; MAX_DATA]) },
        Frame::Fin { stream: 4, end: 12 },
        Frame::Reset { stream: 4, code: ResetCode::Reset, end: 12, deliver: 12 },
        Frame::Datagram { stream: 6, bytes: Bytes::new() },
        Frame::Datagram { stream: 6, bytes: Bytes::from(vec![9; MAX_DATAGRAM]) },
        Frame::Goodbye(Goodbye::new(GoodbyeCode::Busy, "full")),
    ]
}

fn read_in_pieces(bytes: &[u8], size: usize) -> Result<Vec<Frame>, ProtocolError> {
    let (mut reader, mut frames) = (FrameReader::default(), Vec::new());
    for piece in bytes.chunks(size) {
        reader.push(Bytes::copy_from_slice(piece));
        while let Some(frame) = reader.next_frame()? {
            frames.push(frame);
        }
    }
    Ok(frames)
}

#[test]
fn frames_come_back_however_they_are_cut() {
    let mut bytes = BytesMut::new();
    for frame in samples() {
        frame.encode(&mut bytes);
    }
    for size in [1, 2, 3, 5, 64, 1000, 32_768, bytes.len()] {
        assert_eq!(read_in_pieces(&bytes, size), Ok(samples()), "pieces of {size}");
    }
}

#[test]
fn unknown_kinds_are_skipped_without_being_held() {
    let mut bytes = BytesMut::new();
    bytes.put_u32(0x7f << 24 | 0x00ff_ffff);
    bytes.resize(bytes.len() + 0x00ff_ffff, 0);
    Frame::Pong(1).encode(&mut bytes);
    for size in [1000, 65_536] {
        let (mut reader, mut frames) = (FrameReader::default(), Vec::new());
        for piece in bytes.chunks(size) {
            reader.push(Bytes::copy_from_slice(piece));
            while let Some(frame) = reader.next_frame().unwrap() {
                frames.push(frame);
            }
            assert!(reader.partial.capacity() < 1000);
        }
        assert_eq!(frames, [Frame::Pong(1)]);
    }
}

#[test]
fn skipped_frames_are_counted_by_their_range_alone() {
    let kinds = [0x00, 0x0f, 0x17, 0x20, 0x3f, 0x41, 0xff];
    let mut bytes = BytesMut::new();
    for kind in kinds {
        body(&mut bytes, kind, |out| out.extend_from_slice(b"later"));
        body(&mut bytes, kind, |_| {});
    }
    for size in [1, 3, 7, 1000] {
        let (mut reader, mut skipped) = (FrameReader::default(), 0);
        for piece in bytes.chunks(size) {
            reader.push(Bytes::copy_from_slice(piece));
            assert_eq!(reader.next_frame(), Ok(None));
            skipped += reader.take_skipped();
        }
        assert_eq!(skipped, 6, "pieces of {size}");
    }
    // Not before its last byte is there.
    let mut reader = FrameReader::default();
    reader.push(Bytes::from_static(&[0x3f, 0, 0, 2, 1]));
    assert_eq!((reader.next_frame(), reader.take_skipped()), (Ok(None), 0));
}

#[test]
fn too_long_is_told_from_the_header_alone() {
    for (kind, length) in [(kind::PING, 65), (kind::DATA, 17 + MAX_DATA), (kind::OPEN, 9 + MAX_FIELDS)] {
        let header = (u32::from(kind) << 24 | length as u32).to_be_bytes();
        assert!(matches!(read_in_pieces(&header, 4), Err(ProtocolError::TooLong { .. })));
        assert!(matches!(read_in_pieces(&header, 1), Err(ProtocolError::TooLong { .. })));
    }
}

#[test]
fn bodies_that_make_no_sense_are_told() {
    let bad: [(u8, &[u8]); 6] = [
        (kind::PING, &[]),
        (kind::DATA, &[2, 0]),
        (kind::DATA, &[0, 0, 1]),
        (kind::RESET, &[2, 1, 3, 4]),
        (kind::ACK, &[0xc0, 0, 0, 1, 0, 0, 0, 0, 1]),
        (kind::DATA, &[2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
    ];
    for (kind, bad) in bad {
        let mut bytes = BytesMut::new();
        body(&mut bytes, kind, |out| out.extend_from_slice(bad));
        assert!(matches!(read_in_pieces(&bytes, 100), Err(ProtocolError::Decode { .. })), "{kind}");
    }
}

#[test]
fn later_fields_of_a_known_frame_are_ignored() {
    let mut bytes = BytesMut::new();
    body(&mut bytes, kind::OPENED, |out| numbers(out, &[6, 99, 98]));
    assert_eq!(read_in_pieces(&bytes, 100), Ok(vec![Frame::Opened(6)]));
}
