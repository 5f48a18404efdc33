//! The one way in: how every exported function is made.

use std::panic::{AssertUnwindSafe, catch_unwind};

use kubetether::{ErrorCode, Result, host};

use crate::handle::{self, kt_error};
use crate::status::{KT_INTERNAL, KT_OK, kt_status};

/// An exported function, as the header and its tests need it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Export {
    /// `kt_...`.
    pub name: &'static str,
    /// Its comment, line by line.
    pub docs: &'static [&'static str],
    /// Its arguments as Rust writes them.
    pub arguments: &'static str,
    /// What it returns; empty for nothing.
    pub returns: &'static str,
}

/// Makes exported functions, each with a comment that says what it does. Two forms:
///
/// - `call fn`: the body is a `Result` of nothing, or of a status; the function gets a last argument `error`, through which a
///   failure is told, and returns the status.
/// - `plain fn`: the body is what it returns; should it panic, the neutral value is returned.
macro_rules! exports {
    ($($(#[doc = $doc:literal])+ $form:ident fn $name:ident($($arg:ident: $type:ty),* $(,)?) $(-> $ret:ty)? $body:block)*) => {
        $(export! { $form [$($doc),+] $name [$($arg: $type),*] [$($ret)?] $body })*

        /// What this file exports.
        pub(crate) const EXPORTS: &[$crate::Export] = &[
            $(export! { about $form [$($doc),+] $name [$($arg: $type),*] [$($ret)?] }),*
        ];
    };
}

macro_rules! export {
    (call [$($doc:literal),+] $name:ident [$($arg:ident: $type:ty),*] [] $body:block) => {
        $(#[doc = $doc])+
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(
            $($arg: $type,)*
            error: *mut *mut $crate::handle::kt_error,
        ) -> $crate::status::kt_status {
            // SAFETY: the caller keeps to the header: what it gives is NULL or valid for the type of the argument.
            unsafe { $crate::export::call(error, move || $body) }
        }
    };
    (plain [$($doc:literal),+] $name:ident [$($arg:ident: $type:ty),*] [$ret:ty] $body:block) => {
        $(#[doc = $doc])+
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($arg: $type),*) -> $ret {
            $crate::export::plain(move || $body)
        }
    };
    (about call [$($doc:literal),+] $name:ident [$($arg:ident: $type:ty),*] []) => {
        $crate::Export {
            name: stringify!($name),
            docs: &[$($doc),+],
            arguments: stringify!($($arg: $type,)* error: *mut *mut kt_error),
            returns: "kt_status",
        }
    };
    (about plain [$($doc:literal),+] $name:ident [$($arg:ident: $type:ty),*] [$ret:ty]) => {
        $crate::Export {
            name: stringify!($name),
            docs: &[$($doc),+],
            arguments: stringify!($($arg: $type),*),
            returns: stringify!($ret),
        }
    };
}

/// What a function returns whose body panicked.
pub(crate) trait Neutral {
    const NEUTRAL: Self;
}

/// A status in the place of an outcome.
pub(crate) trait Outcome {
    fn status(self) -> kt_status;
}

impl Outcome for () {
    fn status(self) -> kt_status {
        KT_OK
    }
}

impl Outcome for kt_status {
    fn status(self) -> kt_status {
        self
    }
}

/// Runs the body of a function that can fail, and tells a failure through `error` if that leads anywhere.
///
/// # Safety
/// `error` is NULL, or may be written to.
pub(crate) unsafe fn call<T: Outcome>(
    error: *mut *mut kt_error,
    body: impl FnOnce() -> Result<T>,
) -> kt_status {
    let failure = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(outcome)) => return outcome.status(),
        Ok(Err(failure)) => failure,
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().copied();
            let text =
                text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or_default();
            let fault = host::error(ErrorCode::Internal, format!("a fault of kubetether itself: {text}"));
            drop_quietly(panic);
            fault
        }
    };
    let status = kt_status::of(failure.code());
    if !error.is_null() && error.is_aligned() {
        let made = catch_unwind(AssertUnwindSafe(|| handle::put::<kt_error>(failure.into())));
        if let Ok(made) = made {
            // SAFETY: as this function's.
            unsafe { error.write(made) };
        }
    }
    status
}

/// Runs the body of a function that cannot fail.
pub(crate) fn plain<T: Neutral>(body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        drop_quietly(panic);
        T::NEUTRAL
    })
}

/// What a panic carries may panic itself when it is dropped.
fn drop_quietly(panic: Box<dyn std::any::Any + Send>) {
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        std::mem::forget(again);
    }
}

impl Neutral for kt_status {
    const NEUTRAL: Self = KT_INTERNAL;
}

impl Neutral for u32 {
    const NEUTRAL: Self = 0;
}

impl Neutral for u64 {
    const NEUTRAL: Self = 0;
}

impl Neutral for usize {
    const NEUTRAL: Self = 0;
}

#[cfg(test)]
mod tests {
    use std::ptr;

    use super::*;

    /// Panics again when it is dropped.
    struct Stubborn;

    impl Drop for Stubborn {
        fn drop(&mut self) {
            panic!("again");
        }
    }

    #[test]
    fn a_panic_ends_at_the_boundary_as_a_fault_that_is_told() {
        let mut error: *mut kt_error = ptr::null_mut();
        // SAFETY: a place of this test's own, then none.
        let told = unsafe { call(&raw mut error, || -> Result<()> { panic!("on purpose") }) };
        assert_eq!(told, KT_INTERNAL);
        let failure = handle::get(error.cast_const()).unwrap();
        assert!(format!("{failure:?}").contains("Failure"));
        assert_eq!(handle::free(error), KT_OK);
        // SAFETY: as above.
        let untold = unsafe { call(ptr::null_mut(), || -> Result<()> { std::panic::panic_any(Stubborn) }) };
        assert_eq!(untold, KT_INTERNAL);
        assert_eq!(plain(|| -> u64 { panic!("on purpose") }), 0);
        assert_eq!(plain(|| -> kt_status { std::panic::panic_any(Stubborn) }), KT_INTERNAL);
    }
}
