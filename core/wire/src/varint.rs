//! Variable-length integers as QUIC writes them (RFC 9000, section 16): the two top bits of the first byte tell the
//! length (1, 2, 4 or 8 bytes), the rest is the value, big endian.

use bytes::BufMut;

use crate::DecodeError;

/// The largest value a varint can carry.
pub(crate) const MAX: u64 = (1 << 62) - 1;

/// Bytes that `value` takes.
pub(crate) const fn len(value: u64) -> usize {
    match value {
        0..=0x3f => 1,
        0x40..=0x3fff => 2,
        0x4000..=0x3fff_ffff => 4,
        _ => 8,
    }
}

/// Appends `value`. Values above [`MAX`] are cut to it: no counter of ours gets there.
pub(crate) fn put(out: &mut impl BufMut, value: u64) {
    let value = value.min(MAX);
    match len(value) {
        1 => out.put_u8(value as u8),
        2 => out.put_u16(value as u16 | 0x4000),
        4 => out.put_u32(value as u32 | 0x8000_0000),
        _ => out.put_u64(value | 0xc000_0000_0000_0000),
    }
}

/// Takes one varint off the front of `input`.
pub(crate) fn take(input: &mut &[u8]) -> Result<u64, DecodeError> {
    let first = *input.first().ok_or(DecodeError::Truncated)?;
    let length = 1usize << (first >> 6);
    let (bytes, rest) = input.split_at_checked(length).ok_or(DecodeError::Truncated)?;
    *input = rest;
    Ok(bytes[1..].iter().fold(u64::from(first & 0x3f), |value, byte| value << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_rfc() {
        for (value, bytes) in [
            (151_288_809_941_952_652, &[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c][..]),
            (494_878_333, &[0x9d, 0x7f, 0x3e, 0x7d]),
            (15_293, &[0x7b, 0xbd]),
            (37, &[0x25]),
        ] {
            let mut out = Vec::new();
            put(&mut out, value);
            assert_eq!(out, bytes);
            assert_eq!(take(&mut &out[..]), Ok(value));
            assert_eq!(len(value), bytes.len());
        }
    }

    #[test]
    fn edges_round_trip_and_cut_input_is_told() {
        for value in [0, 63, 64, 16_383, 16_384, (1 << 30) - 1, 1 << 30, MAX] {
            let mut out = Vec::new();
            put(&mut out, value);
            assert_eq!(out.len(), len(value));
            assert_eq!(take(&mut &out[..]), Ok(value));
            for cut in 0..out.len() {
                assert_eq!(take(&mut &out[..cut]), Err(DecodeError::Truncated));
            }
        }
    }
}
