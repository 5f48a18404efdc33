//! What every call returns.

use std::sync::OnceLock;

use kubetether::ErrorCode;

use crate::export::Neutral;
use crate::text::{Text, kt_str};

/// `KT_OK`, or the number of an [`ErrorCode`]. The header has it as an enum, made from the engine's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct kt_status(pub u32);

/// Done.
pub const KT_OK: kt_status = kt_status(0);
/// Nothing happened in time.
pub const KT_DEADLINE: kt_status = kt_status::of(ErrorCode::Deadline);
/// It is over.
pub const KT_CLOSED: kt_status = kt_status::of(ErrorCode::Closed);
/// What was given is no argument.
pub const KT_ARGUMENT: kt_status = kt_status::of(ErrorCode::Argument);
/// A fault of kubetether itself.
pub const KT_INTERNAL: kt_status = kt_status::of(ErrorCode::Internal);

impl kt_status {
    pub(crate) const fn of(code: ErrorCode) -> Self {
        Self(code as u32)
    }

    fn code(self) -> Option<ErrorCode> {
        ErrorCode::ALL.iter().copied().find(|code| code.number() == self.0)
    }
}

/// The name of a status in C: `KT_NO_SUCH_TARGET`.
#[must_use]
pub fn constant(code: ErrorCode) -> String {
    format!("KT_{}", code.as_str().to_uppercase())
}

/// Names and meanings as C reads them.
fn words(code: ErrorCode) -> &'static (Text, Text) {
    static WORDS: OnceLock<Vec<(Text, Text)>> = OnceLock::new();
    let words = WORDS.get_or_init(|| {
        ErrorCode::ALL.iter().map(|code| (code.as_str().into(), code.meaning().into())).collect()
    });
    let at = ErrorCode::ALL.iter().position(|other| *other == code).unwrap_or_default();
    &words[at]
}

exports! {
    /// The name of a status, the same in all languages: `no_such_target`; `ok` for `KT_OK`, empty for a number that is none.
    /// Not to be freed.
    plain fn kt_status_name(status: kt_status) -> kt_str {
        match (status, status.code()) {
            (KT_OK, _) => kt_str::of_static(c"ok"),
            (_, Some(code)) => words(code).0.view(),
            (_, None) => kt_str::NEUTRAL,
        }
    }

    /// What a status means, in a sentence; empty for a number that is none. Not to be freed.
    plain fn kt_status_meaning(status: kt_status) -> kt_str {
        match (status, status.code()) {
            (KT_OK, _) => kt_str::of_static(c"Done."),
            (_, Some(code)) => words(code).1.view(),
            (_, None) => kt_str::NEUTRAL,
        }
    }
}
