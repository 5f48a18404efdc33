//! The branch filter: calls and jumps of x86 with absolute targets instead of relative ones.
//!
//! A function called from many places then is the same five bytes everywhere, which makes the
//! payload some 8 % smaller. Reversible for any bytes: what is not code survives too.

const OPERAND: usize = 4;

/// Makes targets absolute; what the build does before it compresses.
pub fn absolute(bytes: &mut [u8]) {
    convert(bytes, |relative, at, size| {
        if (-at..size - at).contains(&relative) {
            Some(relative + at)
        } else if (size - at..size).contains(&relative) {
            // These values are taken by the absolute ones above: they go where those came from.
            Some(relative - size)
        } else {
            None
        }
    });
}

/// Makes targets relative again; what the loader does after it has unpacked.
pub fn relative(bytes: &mut [u8]) {
    convert(bytes, |absolute, at, size| {
        if (0..size).contains(&absolute) {
            Some(absolute - at)
        } else if (-at..0).contains(&absolute) {
            Some(absolute + size)
        } else {
            None
        }
    });
}

fn convert(bytes: &mut [u8], change: impl Fn(i32, i32, i32) -> Option<i32>) {
    // Beyond 1 GiB the sums would overflow; such a payload is left as it is by both directions.
    let Ok(size) = i32::try_from(bytes.len()) else { return };
    if size > 1 << 30 {
        return;
    }
    let mut at = 0;
    while at + 1 + OPERAND <= bytes.len() {
        // Near call, near jump.
        if bytes[at] & 0xfe != 0xe8 {
            at += 1;
            continue;
        }
        if let Some(operand) = bytes[at + 1..].first_chunk_mut::<OPERAND>()
            && let Some(changed) = change(i32::from_le_bytes(*operand), at as i32, size)
        {
            *operand = changed.to_le_bytes();
        }
        at += 1 + OPERAND;
    }
}

#[cfg(test)]
mod tests {
    use super::{absolute, relative};

    #[test]
    fn calls_of_one_function_become_equal() {
        let mut bytes = [0x90; 64];
        for (at, target) in [(3_usize, 40_i32), (20, 40)] {
            bytes[at] = 0xe8;
            bytes[at + 1..at + 5].copy_from_slice(&(target - at as i32).to_le_bytes());
        }
        absolute(&mut bytes);
        assert_eq!(bytes[3..8], bytes[20..25]);
    }

    #[test]
    fn any_bytes_survive() {
        // Dense in opcodes and with operands around every border.
        let mut seed = 1_u32;
        for length in 0..200_i32 {
            let mut bytes: Vec<u8> = (0..length)
                .map(|_| {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    [0xe8, 0xe9, 0, 0xff, length as u8, (-length) as u8, 1, (seed >> 8) as u8]
                        [(seed >> 24) as usize % 8]
                })
                .collect();
            let before = bytes.clone();
            absolute(&mut bytes);
            relative(&mut bytes);
            assert_eq!(before, bytes);
        }
    }
}
