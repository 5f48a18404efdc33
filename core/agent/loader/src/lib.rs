//! The parts of the loader that need no system: unpacking.
//!
//! The carried agent is one static file: this loader with the agent's ELF inside, compressed. Small
//! matters, because it travels to the cluster in a ConfigMap of at most 1 MiB.

#![cfg_attr(not(test), no_std)]

pub mod branch;
pub mod lzma;
