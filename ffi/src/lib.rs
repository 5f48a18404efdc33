//! kubetether for C: the header is `include/kubetether.h`, what it means stands in `README.md`.
//!
//! Every function is made by one macro, [`export`], with the panic boundary in it; the engine's own
//! [`host`](kubetether::host) does the work.

#![allow(
    unsafe_code,
    reason = "the C ABI: what callers give is read in `arguments`, exports are made in `export`, no other file has any"
)]
#![allow(non_camel_case_types, reason = "the names that C sees")]
#![allow(
    clippy::missing_safety_doc,
    reason = "the contract of all functions stands in the header's first comment"
)]

#[macro_use]
mod export;
mod arguments;
mod folder;

pub mod cancel;
pub mod care;
pub mod error;
pub mod events;
pub mod exchange;
pub mod forward;
pub mod handle;
pub mod log;
pub mod session;
pub mod status;
pub mod text;
pub mod version;

pub use self::export::Export;

/// Everything that is exported, in the order of the header.
#[must_use]
pub fn exports() -> Vec<&'static Export> {
    let parts = [
        version::EXPORTS,
        status::EXPORTS,
        error::EXPORTS,
        text::EXPORTS,
        session::EXPORTS,
        exchange::EXPORTS,
        forward::EXPORTS,
        events::EXPORTS,
        cancel::EXPORTS,
        care::EXPORTS,
        log::EXPORTS,
    ];
    parts.into_iter().flatten().collect()
}
