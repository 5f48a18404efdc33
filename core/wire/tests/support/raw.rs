//! Frames and fields by hand: what tests of other versions need, who must not use this version's own code for it.

use std::ops::RangeInclusive;

pub(crate) const HELLO: u8 = 0x01;
pub(crate) const PING: u8 = 0x02;
pub(crate) const PONG: u8 = 0x03;
pub(crate) const GOODBYE: u8 = 0x04;
pub(crate) const ACK: u8 = 0x05;
pub(crate) const CLOCK: u8 = 0x06;
pub(crate) const OPEN: u8 = 0x10;
pub(crate) const OPENED: u8 = 0x11;
pub(crate) const REFUSE: u8 = 0x12;
pub(crate) const DATA: u8 = 0x13;
pub(crate) const CREDIT: u8 = 0x14;
pub(crate) const FIN: u8 = 0x15;
pub(crate) const RESET: u8 = 0x16;
pub(crate) const DATAGRAM: u8 = 0x40;
pub(crate) const COUNTED: RangeInclusive<u8> = 0x10..=0x3f;

/// Tag and value.
pub(crate) type Field = (u64, Vec<u8>);

/// Kinds and bodies of whole frames.
pub(crate) fn frames(mut bytes: &[u8]) -> Vec<(u8, &[u8])> {
    let mut frames = Vec::new();
    while let [kind, a, b, c, rest @ ..] = bytes {
        let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        let (body, behind) = rest.split_at(length);
        frames.push((*kind, body));
        bytes = behind;
    }
    assert!(bytes.is_empty(), "half a frame");
    frames
}

/// Appends a frame.
pub(crate) fn put(out: &mut Vec<u8>, kind: u8, body: &[u8]) {
    out.extend_from_slice(&(u32::from(kind) << 24 | body.len() as u32).to_be_bytes());
    out.extend_from_slice(body);
}

/// Takes a number off the front.
pub(crate) fn take(input: &mut &[u8]) -> u64 {
    let length = 1 << (input[0] >> 6);
    let (bytes, rest) = input.split_at(length);
    *input = rest;
    bytes[1..].iter().fold(u64::from(bytes[0] & 0x3f), |value, byte| value << 8 | u64::from(*byte))
}

/// How many numbers there are.
pub(crate) fn numbers(mut input: &[u8]) -> usize {
    let mut numbers = 0;
    while !input.is_empty() {
        take(&mut input);
        numbers += 1;
    }
    numbers
}

/// Appends a number, in eight bytes: nobody said that the shortest form is a must.
pub(crate) fn number(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&(value | 0xc000_0000_0000_0000).to_be_bytes());
}

/// All fields.
pub(crate) fn fields(mut input: &[u8]) -> Vec<Field> {
    let mut fields = Vec::new();
    while !input.is_empty() {
        let (tag, length) = (take(&mut input), take(&mut input) as usize);
        let (value, rest) = input.split_at(length);
        fields.push((tag, value.to_vec()));
        input = rest;
    }
    fields
}

/// Appends fields.
pub(crate) fn put_fields(out: &mut Vec<u8>, fields: &[Field]) {
    for (tag, value) in fields {
        number(out, *tag);
        number(out, value.len() as u64);
        out.extend_from_slice(value);
    }
}
