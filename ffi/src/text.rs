//! Texts that C reads.

use std::ffi::{CStr, c_char};

use crate::export::Neutral;
use crate::handle::{self, kt_text};
use crate::status::kt_status;

/// A view of a text: UTF-8, `len` bytes long, with a NUL behind them. `ptr` is never NULL. It is valid as long as what it
/// was taken from.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct kt_str {
    /// The first byte.
    pub ptr: *const c_char,
    /// How many bytes there are, without the NUL.
    pub len: usize,
}

impl kt_str {
    pub(crate) fn of_static(text: &'static CStr) -> Self {
        Self { ptr: text.as_ptr(), len: text.count_bytes() }
    }
}

impl Neutral for kt_str {
    const NEUTRAL: Self = Self { ptr: c"".as_ptr(), len: 0 };
}

/// A text with a NUL behind it.
#[derive(Debug)]
pub struct Text(Box<[u8]>);

impl Text {
    pub(crate) fn view(&self) -> kt_str {
        kt_str { ptr: self.0.as_ptr().cast(), len: self.0.len() - 1 }
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        let mut bytes = text.into_bytes();
        bytes.push(0);
        Self(bytes.into())
    }
}

exports! {
    /// What is in a text: valid until that is freed. Empty for NULL and for what is no text.
    plain fn kt_text_get(text: *const kt_text) -> kt_str {
        handle::find(text).map_or(kt_str::NEUTRAL, |text| text.view())
    }

    /// Frees a text.
    plain fn kt_text_free(text: *mut kt_text) -> kt_status {
        handle::free(text)
    }
}
