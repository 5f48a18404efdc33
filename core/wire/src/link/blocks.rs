use std::collections::BTreeMap;

/// Small pieces of a stream that came before their time, copied into blocks. However many pieces and gaps there are, a block
/// costs what it spans and an eighth: a peer cannot make it more by sending single bytes.
#[derive(Debug, Default)]
pub(super) struct Blocks(BTreeMap<u64, Box<Block>>);

#[derive(Debug)]
struct Block {
    bytes: [u8; SPAN],
    /// A bit for each byte that is there.
    there: [u64; SPAN / 64],
}

/// Bytes of the stream that one block stands for.
const SPAN: usize = 512;

impl Blocks {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keeps a copy of `bytes`, which begin at `offset`.
    pub(super) fn insert(&mut self, mut offset: u64, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (number, at) = place(offset);
            let (now, rest) = bytes.split_at(bytes.len().min(SPAN - at));
            let block = self
                .0
                .entry(number)
                .or_insert_with(|| Box::new(Block { bytes: [0; SPAN], there: [0; SPAN / 64] }));
            block.bytes[at..at + now.len()].copy_from_slice(now);
            for (index, word) in block.there.iter_mut().enumerate() {
                *word |= ones(at.saturating_sub(index * 64), (at + now.len()).saturating_sub(index * 64));
            }
            offset += now.len() as u64;
            bytes = rest;
        }
    }

    /// The bytes from `offset` on, as far as they are there within one block. What lies before is dropped.
    pub(super) fn at(&mut self, offset: u64) -> Option<&[u8]> {
        let (number, at) = place(offset);
        while let Some(first) = self.0.first_entry().filter(|first| *first.key() < number) {
            first.remove();
        }
        let block = self.0.get(&number)?;
        let mut there = 0;
        while at + there < SPAN {
            let bit = at + there;
            let ones = (block.there[bit / 64] >> (bit % 64)).trailing_ones() as usize;
            there += ones;
            if ones < 64 - bit % 64 {
                break;
            }
        }
        (there > 0).then(|| &block.bytes[at..at + there])
    }

    /// Drops everything from `offset` on, but for a part of a block.
    pub(super) fn truncate(&mut self, offset: u64) {
        let (number, _) = place(offset);
        self.0.split_off(&(number + 1));
    }
}

/// A word whose bits from `from` up to `to` are set; both may lie behind its end.
fn ones(from: usize, to: usize) -> u64 {
    let below = |bit: usize| if bit >= 64 { u64::MAX } else { (1 << bit) - 1 };
    below(to) & !below(from)
}

/// The number of a block, and the place in it.
fn place(offset: u64) -> (u64, usize) {
    (offset / SPAN as u64, (offset % SPAN as u64) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_come_out_as_far_as_they_are_whole() {
        let mut blocks = Blocks::default();
        let all: Vec<u8> = (0..10_000).map(|byte: u32| (byte % 251) as u8).collect();
        for start in (0..10_000_usize).step_by(100).rev().filter(|start| *start != 5000) {
            blocks.insert(start as u64, &all[start..start + 100]);
        }
        let mut next = 0;
        while let Some(bytes) = blocks.at(next) {
            assert_eq!(*bytes, all[next as usize..next as usize + bytes.len()]);
            next += bytes.len() as u64;
        }
        assert_eq!(next, 5000);
        blocks.insert(4990, &all[4990..5110]);
        while let Some(bytes) = blocks.at(next) {
            assert_eq!(*bytes, all[next as usize..next as usize + bytes.len()]);
            next += bytes.len() as u64;
        }
        assert_eq!(next, 10_000);
        assert!(blocks.at(next).is_none());
        blocks.at(20_000);
        assert!(blocks.is_empty());
    }

    #[test]
    fn single_bytes_cost_no_more_than_what_they_span() {
        let mut blocks = Blocks::default();
        for offset in (1..128 << 10).step_by(2) {
            blocks.insert(offset, &[1]);
        }
        assert_eq!(blocks.0.len(), (128 << 10) / SPAN);
        assert!(size_of::<Block>() <= SPAN + SPAN / 8);
        blocks.truncate(1024);
        assert_eq!(blocks.0.len(), 3);
    }
}
