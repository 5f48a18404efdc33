use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Bytes in order, as the chunks they came in. Small chunks are copied together, so that many of them cost little more than
/// their bytes; big ones are kept as they are.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    chunks: VecDeque<Bytes>,
    /// Small chunks behind all of `chunks`.
    tail: BytesMut,
    len: usize,
}

/// A chunk of up to this many bytes is copied.
const SMALL: usize = 1 << 10;
/// The tail is closed at this size.
const TAIL: usize = 16 << 10;
/// An empty queue gives its slots back above this many.
const SLOTS: usize = 64;

impl Chunks {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends a chunk.
    pub(super) fn push(&mut self, bytes: Bytes) {
        if bytes.len() <= SMALL {
            return self.push_slice(&bytes);
        }
        self.close_tail();
        self.len += bytes.len();
        self.chunks.push_back(bytes);
    }

    /// Appends a copy.
    pub(super) fn push_slice(&mut self, bytes: &[u8]) {
        self.len += bytes.len();
        if self.tail.len() + bytes.len() > TAIL {
            self.close_tail();
        }
        if bytes.len() > TAIL / 4 {
            self.close_tail();
            self.chunks.push_back(Bytes::copy_from_slice(bytes));
        } else {
            self.tail.extend_from_slice(bytes);
        }
    }

    /// Takes at most `max` bytes off the front, all of one chunk.
    pub(super) fn pop(&mut self, max: usize) -> Option<Bytes> {
        if max == 0 {
            return None;
        }
        let popped = match self.chunks.front_mut() {
            Some(front) if front.len() > max => front.split_to(max),
            Some(_) => self.chunks.pop_front()?,
            None if self.tail.is_empty() => return None,
            None if self.tail.len() > max => self.tail.split_to(max).freeze(),
            None => std::mem::take(&mut self.tail).freeze(),
        };
        self.len -= popped.len();
        if self.len == 0 && self.chunks.capacity() > SLOTS {
            self.chunks = VecDeque::new();
        }
        Some(popped)
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn close_tail(&mut self) {
        if !self.tail.is_empty() {
            self.chunks.push_back(std::mem::take(&mut self.tail).freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_in_order_whatever_their_sizes() {
        let (mut chunks, mut expected) = (Chunks::default(), Vec::new());
        for (index, size) in [1, 5, 2000, 1, 1024, 16_000, 900, 40_000, 3].into_iter().enumerate() {
            let bytes = vec![index as u8; size];
            expected.extend_from_slice(&bytes);
            if index % 2 == 0 { chunks.push(bytes.into()) } else { chunks.push_slice(&bytes) }
        }
        assert_eq!(chunks.len(), expected.len());
        let mut got = Vec::new();
        while let Some(bytes) = chunks.pop(1500) {
            assert!(bytes.len() <= 1500);
            got.extend_from_slice(&bytes);
        }
        assert_eq!(got, expected);
        assert!(chunks.is_empty());
    }

    #[test]
    fn many_small_chunks_share_a_buffer() {
        let mut chunks = Chunks::default();
        for _ in 0..10_000 {
            chunks.push(Bytes::from_static(b"x"));
        }
        assert_eq!(chunks.chunks.len(), 0);
        assert_eq!(chunks.pop(usize::MAX).map(|bytes| bytes.len()), Some(10_000));
    }
}
