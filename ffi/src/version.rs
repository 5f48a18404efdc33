//! Which version this is. The header has macros of the same values, for what it was compiled against.

use crate::text::{Text, kt_str};
use std::ffi::CStr;

/// As `KT_VERSION` of the header.
const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
    Ok(version) => version,
    Err(_) => panic!("a version has no NUL in it"),
};

/// `MAJOR << 16 | MINOR << 8 | PATCH`.
#[must_use]
pub fn number() -> u32 {
    let mut parts = env!("CARGO_PKG_VERSION").split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    next() << 16 | next() << 8 | next()
}

exports! {
    /// The version of the library that runs, as `KT_VERSION_NUMBER` has it: `MAJOR << 16 | MINOR << 8 | PATCH`.
    plain fn kt_version_number() -> u32 {
        number()
    }

    /// The same as text: `0.1.0`. Not to be freed.
    plain fn kt_version() -> kt_str {
        kt_str::of_static(VERSION)
    }

    /// The JSON Schema of everything that goes in and comes out. Not to be freed.
    plain fn kt_schema() -> kt_str {
        static SCHEMA: std::sync::OnceLock<Text> = std::sync::OnceLock::new();
        SCHEMA.get_or_init(|| kubetether::options::SCHEMA.into()).view()
    }
}
