use std::io::Write;

use lzma_rust2::{LzmaOptions, LzmaWriter};

use super::{Corrupt, decode};

fn pack(plain: &[u8], lc: u32, lp: u32, pb: u32) -> (u8, Vec<u8>) {
    let mut options = LzmaOptions::with_preset(6);
    (options.lc, options.lp, options.pb) = (lc, lp, pb);
    let mut writer = LzmaWriter::new_no_header(Vec::new(), &options, false).unwrap();
    writer.write_all(plain).unwrap();
    (options.get_props(), writer.finish().unwrap())
}

/// Runs, repeats at many distances, and noise: every branch of the decoder.
fn sample() -> Vec<u8> {
    let mut seed = 7_u32;
    let mut plain = Vec::new();
    while plain.len() < 300_000 {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let draw = (seed >> 8) as usize;
        match draw % 4 {
            0 => plain.extend(std::iter::repeat_n(draw as u8, draw / 4 % 400)),
            1 => plain.extend((0..20).map(|step| (draw >> (step % 16)) as u8)),
            _ if plain.is_empty() => plain.push(0),
            _ => {
                let start = draw / 4 % plain.len();
                let end = (start + 2 + draw % 500).min(plain.len());
                plain.extend_from_within(start..end);
            }
        }
    }
    plain
}

#[test]
fn gives_back_what_was_packed() {
    let plain = sample();
    for (lc, lp, pb) in [(3, 0, 2), (3, 0, 0), (0, 4, 4), (4, 0, 1)] {
        let (properties, packed) = pack(&plain, lc, lp, pb);
        let mut output = vec![0; plain.len()];
        decode(properties, &packed, &mut output).unwrap();
        assert!(output == plain, "lc {lc} lp {lp} pb {pb}");
    }
}

#[test]
fn nothing_is_fine() {
    let (properties, packed) = pack(&[], 3, 0, 2);
    decode(properties, &packed, &mut []).unwrap();
}

#[test]
fn a_cut_input_is_an_error() {
    let plain = sample();
    let (properties, packed) = pack(&plain, 3, 0, 2);
    for length in [0, 4, 5, 100, packed.len() / 2] {
        let mut output = vec![0; plain.len()];
        assert_eq!(decode(properties, &packed[..length], &mut output), Err(Corrupt::Truncated));
    }
}

#[test]
fn wrong_bytes_never_panic() {
    let plain = sample();
    let (properties, packed) = pack(&plain, 3, 0, 2);
    for at in (0..packed.len()).step_by(97) {
        let mut wrong = packed.clone();
        wrong[at] ^= 0x55;
        let mut output = vec![0; plain.len()];
        let _ = decode(properties, &wrong, &mut output);
    }
    for properties in 0..=255 {
        let mut output = vec![0; 5000];
        let _ = decode(properties, &packed, &mut output);
    }
}
