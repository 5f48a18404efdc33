//! Subprotocol `v4.channel.k8s.io` (kubernetes/kubernetes, `pkg/kubelet/portforward` and
//! `apimachinery/pkg/util/httpstream/wsstream`): every message begins with the number of its channel; of one port, channel 0
//! carries the bytes and channel 1 what went wrong; the first message of each holds the port (u16, little endian). The
//! server takes each *frame* for a message, so a message must never be fragmented.

use std::io;

use bytes::{Buf, Bytes};

const DATA: u8 = 0;
const ERROR: u8 = 1;

/// Bytes before the data of a message.
pub(super) const HEADER: usize = 1;

/// The reading side.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// Of the message that has begun.
    channel: u8,
    /// Bytes of the port that have come, for each channel.
    port: [u8; 2],
}

impl Decoder {
    /// The carrier's bytes in a piece of a message, if it has any.
    ///
    /// # Errors
    /// What went wrong, in the server's words.
    pub(super) fn data(&mut self, first: bool, mut bytes: Bytes) -> io::Result<Bytes> {
        if first && !bytes.is_empty() {
            self.channel = bytes.get_u8();
        }
        let Some(seen) = self.port.get_mut(usize::from(self.channel)) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a channel that was not asked for"));
        };
        // The port, which is the one asked for.
        while *seen < 2 && !bytes.is_empty() {
            bytes.advance(1);
            *seen += 1;
        }
        match self.channel {
            ERROR if !bytes.is_empty() => Err(super::refused(&bytes)),
            _ => Ok(bytes),
        }
    }
}

/// Writes what stands before the data.
pub(super) fn wrap(header: &mut [u8]) {
    header.fill(DATA);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(messages: &[&[u8]]) -> io::Result<Vec<u8>> {
        let mut decoder = Decoder::default();
        let mut all = Vec::new();
        for message in messages {
            all.extend(decoder.data(true, Bytes::copy_from_slice(message))?);
        }
        Ok(all)
    }

    #[test]
    fn ports_are_taken_off_and_data_comes_through() {
        assert_eq!(data(&[&[0, 1, 2], &[1, 1, 2], &[0, 9, 8, 7], &[0], &[]]).unwrap(), [9, 8, 7]);
    }

    #[test]
    fn a_message_may_come_in_pieces() {
        let mut decoder = Decoder::default();
        let mut all = Vec::new();
        for (first, piece) in [(true, &[0, 1][..]), (false, &[2]), (true, &[0]), (false, &[9, 8])] {
            all.extend(decoder.data(first, Bytes::from_static(piece)).unwrap());
        }
        assert_eq!(all, [9, 8]);
    }

    #[test]
    fn a_refusal_comes_in_the_servers_words() {
        let error = data(&[&[0, 1, 2], &[1, 1, 2], &[1, b'n', b'o', b'\n']]).unwrap_err();
        assert_eq!((error.kind(), error.to_string()), (io::ErrorKind::ConnectionRefused, "no".into()));
    }

    #[test]
    fn an_unknown_channel_ends_the_carrier() {
        assert_eq!(data(&[&[7, 1, 2]]).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
