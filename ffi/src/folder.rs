//! Where this library lies: the agent's files are looked for beside it.

use std::ffi::{CStr, OsStr, c_void};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use kubetether::host::Host;

/// The engine, as from the folder of this library; of the program, where it was linked into that.
pub(crate) fn host() -> Host {
    own().map_or_else(Host::new, Host::in_folder)
}

fn own() -> Option<PathBuf> {
    let mut found = MaybeUninit::<libc::Dl_info>::uninit();
    let here: *const c_void = (host as fn() -> Host) as *const c_void;
    // SAFETY: any address may be asked for; `found` is written before it is read, and the name is the loader's own, which
    // stays as long as this library is loaded.
    let name = unsafe {
        if libc::dladdr(here, found.as_mut_ptr()) == 0 {
            return None;
        }
        let name = found.assume_init().dli_fname;
        if name.is_null() {
            return None;
        }
        CStr::from_ptr(name)
    };
    let file = Path::new(OsStr::from_bytes(name.to_bytes())).canonicalize().ok()?;
    file.parent().map(Path::to_owned)
}
