//! The few system calls the loader makes, with their errors.

use core::ffi::CStr;

use crate::arch::{self, syscall};

/// A system call that failed: its name, and the errno.
#[derive(Clone, Copy)]
pub(crate) struct Failed {
    pub(crate) call: &'static str,
    pub(crate) errno: i32,
}

pub(crate) type Result<T> = core::result::Result<T, Failed>;

pub(crate) const EINVAL: i32 = 22;
const ENOENT: i32 = 2;
const EOPNOTSUPP: i32 = 95;
const AT_EMPTY_PATH: usize = 0x1000;
const MFD_CLOEXEC: usize = 1;
const MFD_EXEC: usize = 0x10;
const O_RDWR_CREAT_EXCL_CLOEXEC: usize = 0o2 | 0o100 | 0o200 | 0o2_000_000;
const OWNER_ALL: usize = 0o700;
const PROT_READ_WRITE: usize = 3;
const MAP_SHARED: usize = 1;
const SIG_BLOCK: usize = 0;
/// Signal n is bit n - 1.
const SIGINT_AND_SIGTERM: u64 = 1 << 1 | 1 << 14;

/// An open file descriptor; it stays open until [`File::close`] or the exec.
pub(crate) struct File(usize);

impl File {
    /// An anonymous file in memory that may be executed.
    pub(crate) fn memory() -> Result<Self> {
        let create = |flags| {
            // SAFETY: the name is a C string that outlives the call.
            let result = unsafe {
                syscall(arch::MEMFD_CREATE, [c"kubetether-agent".as_ptr() as usize, flags, 0, 0, 0, 0])
            };
            check("memfd_create", result)
        };
        match create(MFD_CLOEXEC | MFD_EXEC) {
            // Kernels before 6.3 do not know MFD_EXEC: there every memory file may be executed.
            Err(failed) if failed.errno == EINVAL => create(MFD_CLOEXEC),
            result => result,
        }
        .map(Self)
    }

    /// A new file at `path`; one that is there, left by an earlier start, is replaced.
    pub(crate) fn create(path: &CStr) -> Result<Self> {
        // SAFETY: `path` is a C string that outlives the call.
        let removed = unsafe { syscall(arch::UNLINK, [path.as_ptr() as usize, 0, 0, 0, 0, 0]) };
        match check("unlink", removed) {
            Err(failed) if failed.errno != ENOENT => return Err(failed),
            Ok(_) | Err(_) => {}
        }
        let arguments = [path.as_ptr() as usize, O_RDWR_CREAT_EXCL_CLOEXEC, OWNER_ALL, 0, 0, 0];
        // SAFETY: as above.
        check("open", unsafe { syscall(arch::OPEN, arguments) }).map(Self)
    }

    /// Makes the file `length` bytes long and hands them to `fill` as memory.
    pub(crate) fn fill<T>(&self, length: usize, fill: impl FnOnce(&mut [u8]) -> T) -> Result<T> {
        // Reserved, not only sized: on a full disk a store into the mapping would be a SIGBUS.
        // SAFETY: no pointers.
        let reserved = unsafe { syscall(arch::FALLOCATE, [self.0, 0, 0, length, 0, 0]) };
        match check("fallocate", reserved) {
            Err(failed) if failed.errno == EOPNOTSUPP => {
                // SAFETY: no pointers.
                check("ftruncate", unsafe { syscall(arch::FTRUNCATE, [self.0, length, 0, 0, 0, 0]) })?;
            }
            result => drop(result?),
        }
        let arguments = [0, length, PROT_READ_WRITE, MAP_SHARED, self.0, 0];
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
        let address = check("mmap", unsafe { syscall(arch::MMAP, arguments) })?;
        // SAFETY: the mapping is `length` bytes, readable and writable, initialised by the kernel,
        // and nobody else knows it: no process has the file but this one.
        let result = fill(unsafe { core::slice::from_raw_parts_mut(address as *mut u8, length) });
        // A file with a writable mapping cannot be executed everywhere.
        // SAFETY: the slice above is gone.
        check("munmap", unsafe { syscall(arch::MUNMAP, [address, length, 0, 0, 0, 0]) })?;
        Ok(result)
    }

    /// Becomes the program in this file. Returns only on failure.
    pub(crate) fn exec(&self, start: &Start) -> Failed {
        let arguments =
            [self.0, c"".as_ptr() as usize, start.argv as usize, start.envp as usize, AT_EMPTY_PATH, 0];
        // SAFETY: argv and envp are the kernel's own arrays, unchanged.
        failed("execveat", unsafe { syscall(arch::EXECVEAT, arguments) })
    }

    pub(crate) fn close(self) -> Result<()> {
        // SAFETY: no pointers; the descriptor is ours and not used again.
        check("close", unsafe { syscall(arch::CLOSE, [self.0, 0, 0, 0, 0, 0]) }).map(drop)
    }
}

/// What the kernel handed to this process.
pub(crate) struct Start {
    argv: *const *const u8,
    envp: *const *const core::ffi::c_char,
}

impl Start {
    /// # Safety
    /// `stack` must be the stack pointer at the entry of the process.
    pub(crate) unsafe fn new(stack: *const usize) -> Self {
        // SAFETY: the kernel puts argc, the argv pointers, a null, the envp pointers and a null there.
        unsafe {
            let argv = stack.add(1);
            Self { argv: argv.cast(), envp: argv.add(*stack + 1).cast() }
        }
    }

    /// The value of the environment variable `name`; `None` when it is not set or empty.
    pub(crate) fn variable(&self, name: &[u8]) -> Option<&'static CStr> {
        let mut entry = self.envp;
        loop {
            // SAFETY: the array ends with a null pointer, and we stop there.
            let pointer = unsafe { *entry };
            if pointer.is_null() {
                return None;
            }
            // SAFETY: each entry is a C string that lives as long as the process.
            let text: &'static CStr = unsafe { CStr::from_ptr(pointer) };
            if let Some(value) =
                text.to_bytes_with_nul().strip_prefix(name).and_then(|rest| rest.strip_prefix(b"="))
                && let Ok(value) = CStr::from_bytes_with_nul(value)
                && !value.is_empty()
            {
                return Some(value);
            }
            // SAFETY: not yet at the null, so the next entry is inside of the array.
            entry = unsafe { entry.add(1) };
        }
    }

    /// Becomes the program at `path`. Returns only on failure.
    pub(crate) fn exec(&self, path: &CStr) -> Failed {
        let arguments = [path.as_ptr() as usize, self.argv as usize, self.envp as usize, 0, 0, 0];
        // SAFETY: argv and envp are the kernel's own arrays, unchanged; `path` is a C string.
        failed("execve", unsafe { syscall(arch::EXECVE, arguments) })
    }
}

/// Keeps SIGTERM and SIGINT pending, in the program that is executed later as well.
pub(crate) fn hold_signals() {
    let set = SIGINT_AND_SIGTERM;
    let arguments = [SIG_BLOCK, (&raw const set).addr(), 0, size_of_val(&set), 0, 0];
    // Cannot fail with these arguments; and to run deaf would be better than not to run.
    // SAFETY: the set outlives the call, and the old one is not asked for.
    let _ = unsafe { syscall(arch::RT_SIGPROCMASK, arguments) };
}

/// Writes to standard error; what cannot be written is lost, there is nowhere else to say it.
pub(crate) fn say(text: &[u8]) {
    // SAFETY: the slice is valid for its length.
    let _ = unsafe { syscall(arch::WRITE, [2, text.as_ptr() as usize, text.len(), 0, 0, 0]) };
}

pub(crate) fn exit(code: u8) -> ! {
    loop {
        // SAFETY: no pointers; does not return.
        let _ = unsafe { syscall(arch::EXIT_GROUP, [usize::from(code), 0, 0, 0, 0, 0]) };
    }
}

fn check(call: &'static str, result: isize) -> Result<usize> {
    usize::try_from(result).map_err(|_| failed(call, result))
}

fn failed(call: &'static str, result: isize) -> Failed {
    Failed { call, errno: -result as i32 }
}
