use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Bytes in order, as the chunks they came in. Small chunks are copied together, so that many of them cost little more than
/// their bytes; big ones are kept as they are. Nothing but a pointer while it is empty, as most are most of the time.
#[derive(Debug, Default)]
pub(super) struct Chunks(Option<Box<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    chunks: VecDeque<Bytes>,
    /// Small chunks behind all of `chunks`.
    tail: BytesMut,
    len: usize,
}

/// A chunk of up to this many bytes is copied.
const SMALL: usize = 1 << 10;
/// The tail is closed at this size.
const TAIL: usize = 16 << 10;

impl Chunks {
    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |queue| queue.len)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Appends a chunk.
    pub(super) fn push(&mut self, bytes: Bytes) {
        if bytes.len() <= SMALL {
            return self.push_slice(&bytes);
        }
        let queue = self.0.get_or_insert_default();
        queue.close_tail();
        queue.len += bytes.len();
        queue.chunks.push_back(bytes);
    }

    /// Appends a copy.
    pub(super) fn push_slice(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let queue = self.0.get_or_insert_default();
        queue.len += bytes.len();
        if queue.tail.len() + bytes.len() > TAIL {
            queue.close_tail();
        }
        if bytes.len() > TAIL / 4 {
            queue.close_tail();
            queue.chunks.push_back(Bytes::copy_from_slice(bytes));
        } else {
            queue.tail.extend_from_slice(bytes);
        }
    }

    /// Takes at most `max` bytes off the front, all of one chunk.
    pub(super) fn pop(&mut self, max: usize) -> Option<Bytes> {
        if max == 0 {
            return None;
        }
        let queue = self.0.as_mut()?;
        let popped = match queue.chunks.front_mut() {
            Some(front) if front.len() > max => front.split_to(max),
            Some(_) => queue.chunks.pop_front()?,
            None if queue.tail.len() > max => queue.tail.split_to(max).freeze(),
            None => std::mem::take(&mut queue.tail).freeze(),
        };
        queue.len -= popped.len();
        if queue.len == 0 {
            self.0 = None;
        }
        Some(popped)
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        self.0 = None;
    }
}

impl Queue {
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
        assert!(chunks.0.as_ref().is_some_and(|queue| queue.chunks.is_empty()));
        assert_eq!(chunks.pop(usize::MAX).map(|bytes| bytes.len()), Some(10_000));
    }
}
