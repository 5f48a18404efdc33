//! Proofs of the link: two ends under simulated time, whatever carriers do.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test looks for what it expects")]
#![allow(clippy::print_stdout, reason = "what a failed case was")]

#[path = "../support/mod.rs"]
mod support;

mod corpus;
mod cuts;
mod ends;
mod fair;
mod meetings;
mod random;
mod retire;
mod skew;
mod transcripts;
