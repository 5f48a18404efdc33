//! Decoding of one LZMA stream into memory of known length, without a heap.
//!
//! The output is its own dictionary, so nothing is copied twice and no window is kept. Wrong input
//! gives an error, never a panic and never a byte outside of the output.

/// Why a payload could not be unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Corrupt {
    /// The properties byte is not one that [`decode`] knows.
    Properties,
    /// The input ended before the output was full.
    Truncated,
    /// A match reaches back before the start, or beyond the end, of the output.
    Match,
}

/// Literal context bits the decoder has room for: `lc + lp` at most 4.
const LITERAL_BITS: u32 = 4;
const LITERAL_PROBS: usize = 0x300 << LITERAL_BITS;
const STATES: usize = 12;
const POSITIONS: usize = 16;
const HALF: u16 = 1 << 10;

/// Fills `output` from `input`: a raw LZMA stream (no header, no end mark) with the properties byte
/// `(pb * 5 + lp) * 9 + lc`.
///
/// # Errors
/// [`Corrupt`] when the stream does not give exactly `output.len()` bytes.
pub fn decode(properties: u8, input: &[u8], output: &mut [u8]) -> Result<(), Corrupt> {
    let lc = u32::from(properties) % 9;
    let lp = u32::from(properties) / 9 % 5;
    let pb = u32::from(properties) / 45;
    if pb > 4 || lc + lp > LITERAL_BITS {
        return Err(Corrupt::Properties);
    }
    let mut decoder = Decoder {
        range: Range::new(input)?,
        literal: [HALF; LITERAL_PROBS],
        is_match: [[HALF; POSITIONS]; STATES],
        is_rep: [HALF; STATES],
        is_rep0: [HALF; STATES],
        is_rep1: [HALF; STATES],
        is_rep2: [HALF; STATES],
        is_rep0_long: [[HALF; POSITIONS]; STATES],
        slot: [[HALF; 64]; 4],
        special: [HALF; 128],
        align: [HALF; 16],
        match_length: Length::new(),
        rep_length: Length::new(),
    };
    decoder.run(lc, (1 << lp) - 1, (1 << pb) - 1, output)
}

struct Decoder<'a> {
    range: Range<'a>,
    literal: [u16; LITERAL_PROBS],
    is_match: [[u16; POSITIONS]; STATES],
    is_rep: [u16; STATES],
    is_rep0: [u16; STATES],
    is_rep1: [u16; STATES],
    is_rep2: [u16; STATES],
    is_rep0_long: [[u16; POSITIONS]; STATES],
    slot: [[u16; 64]; 4],
    special: [u16; 128],
    align: [u16; 16],
    match_length: Length,
    rep_length: Length,
}

impl Decoder<'_> {
    fn run(&mut self, lc: u32, lp_mask: usize, pb_mask: usize, output: &mut [u8]) -> Result<(), Corrupt> {
        let mut at = 0;
        let mut state = 0_usize;
        // Distances minus one of the four matches used last, newest first.
        let mut reps = [0_usize; 4];
        while at < output.len() {
            let position = at & pb_mask;
            if !self.range.bit(&mut self.is_match[state][position])? {
                let before = if at == 0 { 0 } else { output[at - 1] };
                let context = ((at & lp_mask) << lc) + (usize::from(before) >> (8 - lc));
                let probs = &mut self.literal[context * 0x300..][..0x300];
                output[at] = if state < 7 {
                    self.range.tree(probs, 0x100)? as u8
                } else {
                    let source = at.checked_sub(reps[0] + 1).ok_or(Corrupt::Match)?;
                    self.range.matched_literal(probs, output[source])?
                };
                at += 1;
                state = match state {
                    0..4 => 0,
                    4..10 => state - 3,
                    _ => state - 6,
                };
                continue;
            }
            let length = if !self.range.bit(&mut self.is_rep[state])? {
                let length = self.match_length.read(&mut self.range, position)?;
                let distance = self.distance(length)?;
                reps = [distance, reps[0], reps[1], reps[2]];
                state = if state < 7 { 7 } else { 10 };
                length
            } else if !self.range.bit(&mut self.is_rep0[state])? {
                if self.range.bit(&mut self.is_rep0_long[state][position])? {
                    state = if state < 7 { 8 } else { 11 };
                    self.rep_length.read(&mut self.range, position)?
                } else {
                    state = if state < 7 { 9 } else { 11 };
                    1
                }
            } else {
                if !self.range.bit(&mut self.is_rep1[state])? {
                    reps.swap(0, 1);
                } else if !self.range.bit(&mut self.is_rep2[state])? {
                    reps = [reps[2], reps[0], reps[1], reps[3]];
                } else {
                    reps = [reps[3], reps[0], reps[1], reps[2]];
                }
                state = if state < 7 { 8 } else { 11 };
                self.rep_length.read(&mut self.range, position)?
            };
            repeat(output, at, reps[0] + 1, length)?;
            at += length;
        }
        Ok(())
    }

    fn distance(&mut self, length: usize) -> Result<usize, Corrupt> {
        let slot = self.range.tree(&mut self.slot[(length - 2).min(3)], 64)? & 63;
        if slot < 4 {
            return Ok(slot);
        }
        let low_bits = (slot >> 1) - 1;
        let base = (2 | slot & 1) << low_bits;
        if slot < 14 {
            // The special trees of all slots share one table, each starting at its base.
            let start = base - slot;
            return Ok(base + self.range.reverse(&mut self.special[start..], low_bits)?);
        }
        let high = self.range.direct(low_bits - 4)? << 4;
        Ok(base + high + self.range.reverse(&mut self.align, 4)?)
    }
}

/// Copies `length` bytes from `distance` back; the two may overlap, which repeats a pattern.
fn repeat(output: &mut [u8], at: usize, distance: usize, length: usize) -> Result<(), Corrupt> {
    let source = at.checked_sub(distance).ok_or(Corrupt::Match)?;
    let area = output.get_mut(source..at + length).ok_or(Corrupt::Match)?;
    for index in 0..length {
        area[index + distance] = area[index];
    }
    Ok(())
}

struct Length {
    choice: [u16; 2],
    low: [[u16; 8]; POSITIONS],
    middle: [[u16; 8]; POSITIONS],
    high: [u16; 256],
}

impl Length {
    fn new() -> Self {
        Self {
            choice: [HALF; 2],
            low: [[HALF; 8]; POSITIONS],
            middle: [[HALF; 8]; POSITIONS],
            high: [HALF; 256],
        }
    }

    fn read(&mut self, range: &mut Range<'_>, position: usize) -> Result<usize, Corrupt> {
        if !range.bit(&mut self.choice[0])? {
            Ok(2 + (range.tree(&mut self.low[position], 8)? & 7))
        } else if !range.bit(&mut self.choice[1])? {
            Ok(10 + (range.tree(&mut self.middle[position], 8)? & 7))
        } else {
            Ok(18 + (range.tree(&mut self.high, 256)? & 255))
        }
    }
}

/// The range decoder: each probability is of a zero bit, in 1/2048.
struct Range<'a> {
    input: &'a [u8],
    next: usize,
    range: u32,
    code: u32,
}

impl<'a> Range<'a> {
    fn new(input: &'a [u8]) -> Result<Self, Corrupt> {
        // The encoder's first byte is always zero; the next four start the code.
        let &[_, a, b, c, d, ..] = input else { return Err(Corrupt::Truncated) };
        Ok(Self { input, next: 5, range: u32::MAX, code: u32::from_be_bytes([a, b, c, d]) })
    }

    #[inline(always)]
    fn normalize(&mut self) -> Result<(), Corrupt> {
        if self.range < 1 << 24 {
            let Some(&byte) = self.input.get(self.next) else { return Err(Corrupt::Truncated) };
            self.next += 1;
            self.range <<= 8;
            self.code = self.code << 8 | u32::from(byte);
        }
        Ok(())
    }

    #[inline(always)]
    fn bit(&mut self, probability: &mut u16) -> Result<bool, Corrupt> {
        self.normalize()?;
        let bound = (self.range >> 11) * u32::from(*probability);
        if self.code < bound {
            self.range = bound;
            *probability += (2048 - *probability) >> 5;
            Ok(false)
        } else {
            self.range -= bound;
            self.code -= bound;
            *probability -= *probability >> 5;
            Ok(true)
        }
    }

    /// Bits of even probability, highest first.
    fn direct(&mut self, bits: usize) -> Result<usize, Corrupt> {
        let mut value = 0;
        for _ in 0..bits {
            self.normalize()?;
            self.range >>= 1;
            let one = self.code >= self.range;
            if one {
                self.code -= self.range;
            }
            value = value << 1 | usize::from(one);
        }
        Ok(value)
    }

    /// A symbol of a binary tree with `size` leaves, with the leading one bit that the walk began with.
    #[inline(always)]
    fn tree(&mut self, probs: &mut [u16], size: usize) -> Result<usize, Corrupt> {
        let mut symbol = 1;
        while symbol < size {
            symbol = symbol << 1 | usize::from(self.bit(&mut probs[symbol])?);
        }
        Ok(symbol)
    }

    /// A symbol of a binary tree, lowest bit first.
    fn reverse(&mut self, probs: &mut [u16], bits: usize) -> Result<usize, Corrupt> {
        let mut symbol = 1;
        let mut value = 0;
        for shift in 0..bits {
            let bit = usize::from(self.bit(&mut probs[symbol])?);
            symbol = symbol << 1 | bit;
            value |= bit << shift;
        }
        Ok(value)
    }

    /// A literal after a match: the byte that the match would have given next helps to guess it,
    /// as long as the two agree.
    fn matched_literal(&mut self, probs: &mut [u16], guess: u8) -> Result<u8, Corrupt> {
        let mut guess = usize::from(guess);
        let mut symbol = 1;
        while symbol < 0x100 {
            let expected = guess >> 7 & 1;
            guess <<= 1;
            let bit = usize::from(self.bit(&mut probs[(1 + expected) << 8 | symbol])?);
            symbol = symbol << 1 | bit;
            if bit != expected {
                return Ok(self.rest(probs, symbol)? as u8);
            }
        }
        Ok(symbol as u8)
    }

    fn rest(&mut self, probs: &mut [u16], mut symbol: usize) -> Result<usize, Corrupt> {
        while symbol < 0x100 {
            symbol = symbol << 1 | usize::from(self.bit(&mut probs[symbol])?);
        }
        Ok(symbol)
    }
}

#[cfg(test)]
mod tests;
