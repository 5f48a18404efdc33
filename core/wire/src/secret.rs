//! What proves that a carrier belongs to a link.

use std::fmt;

use sha2::{Digest, Sha256};

/// Made for one link by its client, which says it on the carriers that make the link. It is compared in a time that does not
/// tell where two differ, and never printed.
#[derive(Clone, Copy, Eq)]
pub struct Secret([u8; 32]);

/// Proves that an end knows the secret of a link, without saying it: HMAC-SHA-256 over the end and the carrier. Of use for
/// that carrier alone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Proof(Secret);

/// Who proves something.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Prover {
    Client,
    Agent,
}

/// What a carrier's two hellos are about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meeting {
    pub(crate) link: [u8; 16],
    /// Used once in the link, so that nothing that was proven can be said a second time.
    pub(crate) carrier: u32,
    /// The incarnation of the client, and of the agent that made the link.
    pub(crate) client: [u8; 16],
    pub(crate) agent: [u8; 16],
}

impl Secret {
    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// What the end says on this carrier.
    pub(crate) fn prove(&self, prover: Prover, meeting: &Meeting) -> Proof {
        let label: &[u8] = match prover {
            Prover::Client => b"kubetether client",
            Prover::Agent => b"kubetether agent ",
        };
        let carrier = meeting.carrier.to_be_bytes();
        // All of fixed lengths, so that no two meetings are the same bytes.
        let message = [label, &meeting.link, &carrier, &meeting.client, &meeting.agent];
        Proof(Self(hmac(&self.0, &message)))
    }
}

impl Proof {
    pub(crate) fn bytes(&self) -> &[u8; 32] {
        self.0.bytes()
    }
}

/// HMAC-SHA-256 (RFC 2104) with a key that is shorter than a block.
fn hmac(key: &[u8; 32], message: &[&[u8]]) -> [u8; 32] {
    let padded = |pad: u8| {
        let mut block = [pad; 64];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        Sha256::new().chain_update(block)
    };
    let inner = message.iter().fold(padded(0x36), |hash, part| hash.chain_update(part)).finalize();
    padded(0x5c).chain_update(inner).finalize().into()
}

impl From<[u8; 32]> for Secret {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl From<[u8; 32]> for Proof {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes.into())
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        let mut difference = 0;
        for (a, b) in self.0.iter().zip(&other.0) {
            difference |= std::hint::black_box(a ^ b);
        }
        std::hint::black_box(difference) == 0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proof")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_differ_by_any_bit() {
        for byte in 0..32 {
            let mut other = [3; 32];
            other[byte] ^= 1;
            assert_ne!(Secret([3; 32]), Secret(other));
        }
        assert_eq!(Secret([3; 32]), Secret([3; 32]));
    }

    #[test]
    fn the_code_is_that_of_the_standard() {
        // RFC 4231, cases 1 and 2: keys shorter than a block end in zeros.
        let code = |start: &[u8], message: &[&[u8]]| {
            let mut key = [0; 32];
            key[..start.len()].copy_from_slice(start);
            hmac(&key, message)[..4].to_vec()
        };
        assert_eq!(code(&[0x0b; 20], &[b"Hi ", b"There"]), [0xb0, 0x34, 0x4c, 0x61]);
        assert_eq!(code(b"Jefe", &[b"what do ya want ", b"for nothing?"]), [0x5b, 0xdc, 0xc1, 0x46]);
    }

    #[test]
    fn a_proof_is_of_use_for_one_end_of_one_carrier_alone() {
        let meeting = Meeting { link: [1; 16], carrier: 2, client: [3; 16], agent: [9; 16] };
        let secret = Secret([2; 32]);
        let proof = secret.prove(Prover::Client, &meeting);
        assert_eq!(proof, secret.prove(Prover::Client, &meeting));
        for other in [
            secret.prove(Prover::Agent, &meeting),
            Secret([7; 32]).prove(Prover::Client, &meeting),
            secret.prove(Prover::Client, &Meeting { carrier: 3, ..meeting }),
            secret.prove(Prover::Client, &Meeting { link: [2; 16], ..meeting }),
            secret.prove(Prover::Client, &Meeting { client: [4; 16], ..meeting }),
            secret.prove(Prover::Client, &Meeting { agent: [8; 16], ..meeting }),
        ] {
            assert_ne!(proof, other);
        }
    }
}
