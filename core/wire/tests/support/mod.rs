//! What the proofs of this crate share: two ends in a simulated world, programs for them, and what fuzzing calls.

#![allow(dead_code, reason = "not every test needs all of it")]

pub(crate) mod chat;
pub(crate) mod lane;
pub(crate) mod later;
pub(crate) mod model;
pub(crate) mod raw;
pub(crate) mod script;
pub(crate) mod targets;
pub(crate) mod transcript;
pub(crate) mod world;

/// How many cases a proof by samples tries: more where somebody has the time.
pub(crate) fn cases(normal: u32) -> u32 {
    std::env::var("KUBETETHER_PROOF_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(normal)
}
