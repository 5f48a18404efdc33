//! An end of a later version: what it sends has everything that this version is to skip.

use std::collections::BTreeMap;

use kubetether_wire::CarrierId;

use super::raw::{self, Field};

/// Makes what an end sends look like that of a later version, and takes back what the other end says about it.
pub(crate) struct Later {
    /// Which ends are of a later version.
    ends: [bool; 2],
    /// By sender and carrier: of the frames to acknowledge, which were put in.
    counted: [BTreeMap<CarrierId, Vec<bool>>; 2],
    /// How many frames were put in, and changed.
    pub(crate) added: u64,
}

/// Kinds that are not known, and whether they are to be acknowledged.
const UNKNOWN: [(u8, usize, bool); 6] = [
    (0x17, 0, true),
    (0x20, 5, true),
    (0x3f, 40_000, true),
    (0x07, 3, false),
    (0x41, 300, false),
    (0xff, 0, false),
];

impl Later {
    pub(crate) fn new(ends: [bool; 2]) -> Self {
        Self { ends, counted: Default::default(), added: 0 }
    }

    /// For [`World::tap`](super::world::World::tap).
    pub(crate) fn pass(&mut self, end: usize, carrier: CarrierId, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for (kind, body) in raw::frames(bytes) {
            let body = if kind == raw::ACK { self.acknowledge(end, body) } else { body.to_vec() };
            let body = if self.ends[end] { self.change(kind, body) } else { body };
            raw::put(&mut out, kind, &body);
            if raw::COUNTED.contains(&kind) {
                self.counted[end].entry(carrier).or_default().push(false);
            }
            // A hello comes first; behind it, and until the answer, nothing goes.
            let up = kind != raw::HELLO && kind != raw::ACK && kind != raw::GOODBYE;
            if self.ends[end] && up {
                let (kind, length, counted) = UNKNOWN[self.added as usize % UNKNOWN.len()];
                self.added += 1;
                raw::put(&mut out, kind, &vec![0xa5; length]);
                if counted {
                    self.counted[end].entry(carrier).or_default().push(true);
                }
            }
        }
        out
    }

    /// The other end counts also what was put in; the one that did not say it does not know of it.
    fn acknowledge(&self, end: usize, body: &[u8]) -> Vec<u8> {
        let mut input = body;
        let (carrier, frames) = (raw::take(&mut input), raw::take(&mut input));
        let counted = self.counted[1 - end].get(&(carrier as CarrierId)).map_or(&[][..], Vec::as_slice);
        let known = counted.iter().take(frames as usize).filter(|added| !**added).count();
        let mut out = Vec::new();
        raw::number(&mut out, carrier);
        raw::number(&mut out, known as u64);
        out.extend_from_slice(input);
        out
    }

    /// Fields and bytes behind those that this version knows.
    fn change(&mut self, kind: u8, mut body: Vec<u8>) -> Vec<u8> {
        match kind {
            raw::HELLO => {
                let mut fields = raw::fields(&body[10..]);
                for (tag, value) in &mut fields {
                    match tag {
                        2 => *value = vec![9],
                        // All capabilities but the first, which this version knows.
                        9 => {
                            let known = raw::take(&mut &value[..]);
                            *value = Vec::new();
                            raw::number(value, known | 0x3fff_ffff_ffff_fffe);
                        }
                        _ => {}
                    }
                }
                fields.push(later());
                fields.push((70_000, vec![7; 300]));
                body.truncate(10);
                raw::put_fields(&mut body, &fields);
            }
            raw::OPEN => raw::put_fields(&mut body, &[later()]),
            // Without a third number it would be one.
            raw::ACK if raw::numbers(&body) == 2 => body.extend_from_slice(&[0, 1, 2, 3]),
            raw::PING
            | raw::PONG
            | raw::ACK
            | raw::CLOCK
            | raw::OPENED
            | raw::CREDIT
            | raw::FIN
            | raw::RESET => {
                body.extend_from_slice(b"more");
            }
            _ => {}
        }
        body
    }
}

/// A field that may be skipped.
pub(crate) fn later() -> Field {
    (34, b"later".to_vec())
}

/// A field that may not.
pub(crate) fn critical() -> Field {
    (33, vec![1])
}
