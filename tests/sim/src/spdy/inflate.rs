//! Inflate (RFC 1951) for headers: small, bounded, one call for each piece that ends at a byte.

/// The most that one piece may become.
const MOST: usize = 64 * 1024;
/// As far as a copy may reach back.
const WINDOW: usize = 32 * 1024;

const LENGTH_BASE: [u16; 29] = [
    3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195,
    227, 258,
];
const LENGTH_BITS: [u8; 29] =
    [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
const DISTANCE_BASE: [u16; 30] = [
    1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073,
    4097, 6145, 8193, 12289, 16385, 24577,
];
const DISTANCE_BITS: [u8; 30] =
    [0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13];
const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// A stream of pieces that refer to what came before.
#[derive(Debug)]
pub(super) struct Inflater {
    history: Vec<u8>,
}

impl Inflater {
    /// Begins as if `dictionary` had come before.
    pub(super) fn new(dictionary: Vec<u8>) -> Self {
        Self { history: dictionary }
    }

    /// What the next piece stands for; none for what is no deflate, or too much.
    pub(super) fn piece(&mut self, input: &[u8]) -> Option<Vec<u8>> {
        let start = self.history.len();
        let mut bits = Bits { input, at: 0, held: 0, count: 0 };
        // What is left at the end is less than a block's head.
        while bits.left() > 2 {
            let last = bits.take(1)? == 1;
            match bits.take(2)? {
                0 => self.stored(&mut bits)?,
                1 => self.block(&mut bits, &fixed())?,
                2 => {
                    let codes = dynamic(&mut bits)?;
                    self.block(&mut bits, &codes)?;
                }
                _ => return None,
            }
            if last || self.history.len() - start > MOST {
                break;
            }
        }
        let new = self.history.get(start..).filter(|new| new.len() <= MOST)?.to_vec();
        self.history.drain(..self.history.len().saturating_sub(WINDOW));
        Some(new)
    }

    fn stored(&mut self, bits: &mut Bits<'_>) -> Option<()> {
        bits.align();
        let (length, inverse) = (bits.take(16)?, bits.take(16)?);
        if length != !inverse & 0xffff {
            return None;
        }
        for _ in 0..length {
            let byte = bits.take(8)?;
            self.history.push(u8::try_from(byte).ok()?);
        }
        Some(())
    }

    fn block(&mut self, bits: &mut Bits<'_>, (lengths, distances): &(Code, Code)) -> Option<()> {
        let limit = self.history.len() + MOST;
        loop {
            let symbol = usize::from(lengths.next(bits)?);
            match symbol {
                0..256 => self.history.push(u8::try_from(symbol).ok()?),
                256 => return Some(()),
                _ => {
                    let at = symbol - 257;
                    let length =
                        LENGTH_BASE.get(at)? + u16::try_from(bits.take(*LENGTH_BITS.get(at)?)?).ok()?;
                    let at = usize::from(distances.next(bits)?);
                    let distance = u32::from(*DISTANCE_BASE.get(at)?) + bits.take(*DISTANCE_BITS.get(at)?)?;
                    let distance = usize::try_from(distance).ok()?;
                    for _ in 0..length {
                        let from = self.history.len().checked_sub(distance)?;
                        self.history.push(self.history[from]);
                    }
                }
            }
            if self.history.len() > limit {
                return None;
            }
        }
    }
}

/// Input, bit by bit from the lowest.
struct Bits<'a> {
    input: &'a [u8],
    at: usize,
    held: u32,
    count: u8,
}

impl Bits<'_> {
    fn left(&self) -> usize {
        (self.input.len() - self.at) * 8 + usize::from(self.count)
    }

    /// At most 16.
    fn take(&mut self, count: u8) -> Option<u32> {
        while self.count < count {
            self.held |= u32::from(*self.input.get(self.at)?) << self.count;
            self.at += 1;
            self.count += 8;
        }
        let bits = self.held & ((1 << count) - 1);
        self.held >>= count;
        self.count -= count;
        Some(bits)
    }

    /// To the next byte; none is held whole.
    fn align(&mut self) {
        let whole = self.count % 8;
        self.held >>= whole;
        self.count -= whole;
    }
}

/// A canonical Huffman code: how many symbols of each length, and the symbols in their order.
struct Code {
    counts: [u16; 16],
    symbols: Vec<u16>,
}

impl Code {
    fn new(lengths: &[u8]) -> Self {
        let mut counts = [0_u16; 16];
        lengths.iter().for_each(|length| counts[usize::from(*length & 15)] += 1);
        counts[0] = 0;
        let mut symbols: Vec<u16> =
            (0..).take(lengths.len()).filter(|at| lengths[usize::from(*at)] > 0).collect();
        symbols.sort_by_key(|at| lengths[usize::from(*at)]);
        Self { counts, symbols }
    }

    fn next(&self, bits: &mut Bits<'_>) -> Option<u16> {
        let (mut code, mut first, mut index) = (0_u32, 0_u32, 0_u32);
        for length in 1..16 {
            code |= bits.take(1)?;
            let count = u32::from(self.counts[length]);
            if code < first + count {
                let at = usize::try_from(index + code - first).ok()?;
                return self.symbols.get(at).copied();
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        None
    }
}

fn fixed() -> (Code, Code) {
    let mut lengths = [8_u8; 288];
    lengths[144..256].fill(9);
    lengths[256..280].fill(7);
    (Code::new(&lengths), Code::new(&[5; 30]))
}

fn dynamic(bits: &mut Bits<'_>) -> Option<(Code, Code)> {
    let mut count = |bits_of: u8, more: u32| usize::try_from(bits.take(bits_of)? + more).ok();
    let (symbols, distances, codes) = (count(5, 257)?, count(5, 1)?, count(4, 4)?);
    let mut lengths = [0_u8; 19];
    for at in ORDER.iter().take(codes) {
        lengths[*at] = u8::try_from(bits.take(3)?).ok()?;
    }
    let code = Code::new(&lengths);
    let mut all: Vec<u8> = Vec::with_capacity(symbols + distances);
    while all.len() < symbols + distances {
        let (value, times) = match code.next(bits)? {
            16 => (*all.last()?, bits.take(2)? + 3),
            17 => (0, bits.take(3)? + 3),
            18 => (0, bits.take(7)? + 11),
            length => (u8::try_from(length).ok()?, 1),
        };
        all.extend((0..times).map(|_| value));
    }
    let (first, second) = all.get(..symbols + distances)?.split_at(symbols);
    Some((Code::new(first), Code::new(second)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_fixed_and_dynamic_blocks_are_read() {
        // By zlib, raw: "hello hello hello hello", level 9, and a sync flush.
        let fixed =
            [0xca, 0x48, 0xcd, 0xc9, 0xc9, 0x57, 0xc8, 0x40, 0x27, 0x01, 0x00, 0x00, 0x00, 0xff, 0xff];
        let mut inflater = Inflater::new(Vec::new());
        assert_eq!(inflater.piece(&fixed).unwrap(), b"hello hello hello hello");
        let stored = [0, 2, 0, 0xfd, 0xff, b'o', b'k'];
        assert_eq!(inflater.piece(&stored).unwrap(), b"ok");
        assert_eq!(inflater.piece(&[0, 2, 0, 0, 0]), None);
        assert_eq!(inflater.piece(&[7, 7]), None);
    }
}
