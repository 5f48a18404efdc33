//! Takes memory of its container until the kernel ends somebody there.

use std::fs::OpenOptions;
use std::io::Write;
use std::thread;

const CHUNK: usize = 64 * 1024;

/// Fills shared memory with `BYTES`, and keeps it until it is ended.
///
/// It is no process's own, so the kernel does not end this one, which is small, but the largest beside it.
///
/// # Errors
/// When there is no shared memory, or less of it.
pub fn run(args: &crate::args::Args) -> Result<(), String> {
    let bytes: usize = args.word(1, "how many bytes")?.parse().map_err(|_| "not a number of bytes")?;
    let path = format!("/dev/shm/hog-{}", std::process::id());
    let failed = |error: std::io::Error| format!("{path}: {error}");
    let mut file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(failed)?;
    // It goes with this process.
    std::fs::remove_file(&path).map_err(failed)?;
    for _ in 0..bytes.div_ceil(CHUNK) {
        file.write_all(&[1; CHUNK]).map_err(failed)?;
    }
    loop {
        thread::park();
    }
}
