//! What links hold, counted by the allocator: idle for long, with very many streams, and against peers that want them to hold
//! more.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test looks for what it expects")]
#![allow(clippy::print_stdout, reason = "figures for whoever asks with --nocapture")]

mod counting;
mod hostile;
mod idle;
#[path = "../support/mod.rs"]
mod support;
