//! What the engine's calls give, as scenarios demand it.

use std::time::Duration;

use kubetether::{Error, ErrorCode, Result};

/// The time that a close of anything gets.
pub const CLOSE: Duration = Duration::from_secs(30);

/// Demands on what a call gave.
pub trait Outcome<T> {
    /// Demands success.
    ///
    /// # Panics
    /// With the engine's whole report.
    fn good(self) -> T;

    /// Demands an error of this code, whose report says each of `words`.
    ///
    /// # Panics
    /// When it was a success, another error, or says less.
    fn bad(self, code: ErrorCode, words: &[&str]) -> Error;
}

impl<T> Outcome<T> for Result<T> {
    #[track_caller]
    fn good(self) -> T {
        match self {
            Ok(value) => value,
            Err(error) => panic!("{} {}", error.code().as_str(), error.report()),
        }
    }

    #[track_caller]
    fn bad(self, code: ErrorCode, words: &[&str]) -> Error {
        let Err(error) = self else { panic!("a success instead of {}", code.as_str()) };
        let report = error.report();
        assert_eq!(error.code(), code, "{report}");
        for word in words {
            assert!(report.contains(word), "`{word}` is not said by:\n{report}");
        }
        error
    }
}
