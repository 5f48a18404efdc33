//! What callers give, read once and looked at before it is used.

use std::ffi::c_char;

use kubetether::Result;

use crate::error::argument;
use crate::handle::{self, Opaque};

/// A text that the caller owns; NULL of no length is the empty one.
///
/// # Safety
/// `pointer` is NULL, or `len` bytes can be read there as long as the call lasts.
pub(crate) unsafe fn text<'a>(pointer: *const c_char, len: usize, name: &str) -> Result<&'a str> {
    if pointer.is_null() {
        return match len {
            0 => Ok(""),
            _ => Err(argument(format!("`{name}` is NULL, but not its length"))),
        };
    }
    if isize::try_from(len).is_err() {
        return Err(argument(format!("`{name}_len` is {len}, which no text is long")));
    }
    // SAFETY: as this function's; not NULL, and bytes need no alignment.
    let bytes = unsafe { std::slice::from_raw_parts(pointer.cast::<u8>(), len) };
    std::str::from_utf8(bytes).map_err(|error| argument(format!("`{name}` is not UTF-8: {error}")))
}

/// A place for one output; it is written on success alone.
pub(crate) struct Out<T>(*mut T);

impl<T> Out<T> {
    /// Before any work is done, so that its result has a place to go.
    ///
    /// # Safety
    /// `pointer` is NULL, or may be written to as long as the call lasts.
    pub(crate) unsafe fn new(pointer: *mut T, name: &str) -> Result<Self> {
        if pointer.is_null() || !pointer.is_aligned() {
            return Err(argument(format!("`{name}` is no place for an output")));
        }
        Ok(Self(pointer))
    }

    pub(crate) fn set(self, value: T) {
        // SAFETY: as that of `new`; neither NULL nor unaligned.
        unsafe { self.0.write(value) }
    }
}

impl<T: Opaque> Out<*mut T> {
    /// A new handle of an object.
    pub(crate) fn put(self, object: T::Object) {
        self.set(handle::put(object));
    }
}
