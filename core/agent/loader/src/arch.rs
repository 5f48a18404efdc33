//! What differs by processor: entry point, system calls and their numbers.

#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::*;

#[cfg(not(target_arch = "x86_64"))]
compile_error!(
    "the loader knows x86_64 only so far: add src/arch/<processor>.rs with _start, syscall, the \
     system call numbers and the memory functions"
);
