//! The carried agent's first instructions: unpack the agent into memory and become it.
//!
//! Needs nothing of the image it runs in: no libraries, no shell, no /proc, no writable directory,
//! no capability. Where a node forbids executable memory (`vm.memfd_noexec=2`) it unpacks into the
//! directory named by `KUBETETHER_UNPACK`, an emptyDir.
//!
//! Exit codes: 111 the payload is corrupt, 112 the node forbids executable memory and
//! `KUBETETHER_UNPACK` is not set, 113 the agent could not be unpacked into it or started from there.

#![no_std]
#![no_main]

mod arch;
mod report;
mod sys;

use core::ffi::CStr;
use core::panic::PanicInfo;

use kubetether_loader::{branch, lzma};

use report::Line;
use sys::{Failed, File, Start};

include!(concat!(env!("OUT_DIR"), "/payload.rs"));

const CORRUPT: u8 = 111;
const NO_MEMORY_FILE: u8 = 112;
const NO_FILE: u8 = 113;
const UNPACK: &str = "KUBETETHER_UNPACK";
const FILE: &[u8] = b"/kubetether-agent\0";
/// Longer paths than this are no emptyDir's.
const PATH_MAX: usize = 256;

/// The first Rust code of the process; called by `_start` with the initial stack pointer.
extern "C" fn entry(stack: *const usize) -> ! {
    // First of all: as process 1 of a container we would never hear of a signal that comes before there is a handler.
    // One that is blocked stays pending, over the exec too; the agent lets it in.
    sys::hold_signals();
    // SAFETY: `_start` hands over the stack pointer as the kernel set it.
    let start = unsafe { Start::new(stack) };
    let in_memory = run_from_memory(&start);
    let Some(directory) = start.variable(UNPACK.as_bytes()) else {
        Line::new("cannot run the agent from memory: ")
            .failed(in_memory)
            .text("; mount an emptyDir and name it in ")
            .text(UNPACK)
            .say();
        sys::exit(NO_MEMORY_FILE)
    };
    let in_directory = run_from(&start, directory);
    Line::new("cannot run the agent from memory: ")
        .failed(in_memory)
        .text("; nor from ")
        .bytes(directory.to_bytes())
        .text(": ")
        .failed(in_directory)
        .text("; it must be writable and not mounted noexec")
        .say();
    sys::exit(NO_FILE)
}

fn run_from_memory(start: &Start) -> Failed {
    let unpacked = File::memory().and_then(|file| {
        unpack(&file)?;
        Ok(file)
    });
    match unpacked {
        Ok(file) => file.exec(start),
        Err(failed) => failed,
    }
}

fn run_from(start: &Start, directory: &CStr) -> Failed {
    let mut path = [0; PATH_MAX];
    let directory = directory.to_bytes();
    let Some(room) = path.get_mut(..directory.len() + FILE.len()) else {
        return Failed { call: "path of KUBETETHER_UNPACK is too long", errno: sys::EINVAL };
    };
    room[..directory.len()].copy_from_slice(directory);
    room[directory.len()..].copy_from_slice(FILE);
    let Ok(path) = CStr::from_bytes_with_nul(room) else {
        return Failed { call: "path of KUBETETHER_UNPACK", errno: sys::EINVAL };
    };
    let unpacked = File::create(path).and_then(|file| {
        unpack(&file)?;
        // A file that is open for writing cannot be executed.
        file.close()
    });
    match unpacked {
        Ok(()) => start.exec(path),
        Err(failed) => failed,
    }
}

fn unpack(file: &File) -> sys::Result<()> {
    let unpacked = file.fill(LENGTH, |memory| {
        lzma::decode(PROPERTIES, PACKED, memory)?;
        branch::relative(memory);
        Ok::<(), lzma::Corrupt>(())
    })?;
    if unpacked.is_err() {
        Line::new("the agent's file is corrupt: fetch or build it again").say();
        sys::exit(CORRUPT);
    }
    Ok(())
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    Line::new("internal error").say();
    sys::exit(CORRUPT)
}
