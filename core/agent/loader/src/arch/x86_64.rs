//! x86-64: entry point, system calls, their numbers, and the memory functions the compiler calls.

use core::arch::{asm, global_asm};

pub(crate) const CLOSE: usize = 3;
pub(crate) const MMAP: usize = 9;
pub(crate) const MUNMAP: usize = 11;
pub(crate) const RT_SIGPROCMASK: usize = 14;
pub(crate) const WRITE: usize = 1;
pub(crate) const OPEN: usize = 2;
pub(crate) const EXECVE: usize = 59;
pub(crate) const FTRUNCATE: usize = 77;
pub(crate) const UNLINK: usize = 87;
pub(crate) const EXIT_GROUP: usize = 231;
pub(crate) const FALLOCATE: usize = 285;
pub(crate) const MEMFD_CREATE: usize = 319;
pub(crate) const EXECVEAT: usize = 322;

// The kernel starts us with argc, argv, envp on the stack and no return address.
global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "mov rdi, rsp",
    "and rsp, -16",
    "call {entry}",
    "ud2",
    entry = sym crate::entry,
);

/// One system call; a result in `-4095..0` is a negative errno.
///
/// # Safety
/// Pointers among the arguments must be valid for what the call does with them.
pub(crate) unsafe fn syscall(number: usize, arguments: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = arguments;
    let result;
    // SAFETY: the kernel's calling convention; rcx and r11 are all it clobbers. What the call does
    // to memory is the caller's promise.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a,
            in("rsi") b,
            in("rdx") c,
            in("r10") d,
            in("r8") e,
            in("r9") f,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// What the compiler emits calls to in place of a C library.
///
/// # Safety
/// As C's `memcpy`.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    // SAFETY: the caller's promise is C's: both valid for `count` bytes, not overlapping.
    unsafe {
        asm!("rep movsb", inout("rcx") count => _, inout("rdi") to => _, inout("rsi") from => _,
            options(nostack, preserves_flags));
    }
    to
}

/// # Safety
/// As C's `memset`.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, value: i32, count: usize) -> *mut u8 {
    // SAFETY: the caller's promise is C's: valid for `count` bytes.
    unsafe {
        asm!("rep stosb", inout("rcx") count => _, inout("rdi") to => _, in("al") value as u8,
            options(nostack, preserves_flags));
    }
    to
}

/// # Safety
/// As C's `strlen`.
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(text: *const u8) -> usize {
    let end: *const u8;
    // SAFETY: the caller's promise is C's: there is a zero byte, and the scan stops behind it.
    unsafe {
        asm!("repne scasb", inout("rcx") usize::MAX => _, inout("rdi") text => end, in("al") 0_u8,
            options(nostack, readonly));
    }
    end.addr() - text.addr() - 1
}
