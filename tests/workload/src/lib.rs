//! The workload of all scenarios: what serves in pods behind a Service, and what asks there.
//!
//! Blocking code with a thread per connection: thousands of connections are fine, and nothing in it
//! resembles the engine it is to judge. The tests use [`content`] to check bytes at their end.

pub mod args;
pub mod ask;
pub mod bulk;
pub mod content;
pub mod fault;
pub mod hog;
pub mod http;
pub mod load;
mod names;
pub mod ports;
pub mod process;
pub mod serve;
pub mod talk;
pub mod traffic;

use std::io;
use std::thread;

/// Threads are many and do little.
const STACK: usize = 128 * 1024;

/// Starts a thread with a small stack.
///
/// # Errors
/// When the system has no thread left.
pub fn spawn(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().stack_size(STACK).spawn(work).map(drop)
}
