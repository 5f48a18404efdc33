//! One error type for the whole engine.

mod code;

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

pub use self::code::{ErrorClass, ErrorCode};

/// The result of an engine call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What was tried, on which object, why it failed, and what to do about it.
///
/// `Display` gives one line without the causes; walk [`source`](StdError::source) for those, or use
/// [`report`](Self::report) for everything. `Debug` gives the report too, since that is what a `main` or a test that returns
/// it prints; `{:#?}` gives the fields.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    code: ErrorCode,
    message: String,
    object: Option<String>,
    hint: Option<String>,
    evidence: Vec<String>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            code,
            message: message.into(),
            object: None,
            hint: None,
            evidence: Vec::new(),
            source: None,
        }))
    }

    /// The class of failure, the same number and name in every language.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        self.0.code
    }

    /// The object of the cluster or of this machine that it is about, as `kind/name`.
    #[must_use]
    pub fn object(&self) -> Option<&str> {
        self.0.object.as_deref()
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// What the cluster says of the pod to blame: conditions, events, last log lines.
    #[must_use]
    pub fn evidence(&self) -> &[String] {
        &self.0.evidence
    }

    /// The error with its causes, evidence and hint, over several lines.
    #[must_use]
    pub fn report(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            // What a line before it says already is not said again.
            let reason = error.to_string();
            if !text.contains(&reason) {
                text.push_str("\n  because: ");
                text.push_str(&reason);
            }
            cause = error.source();
        }
        for line in self.evidence() {
            text.push_str("\n  | ");
            text.push_str(line);
        }
        if let Some(hint) = self.hint() {
            text.push_str("\n  try: ");
            text.push_str(hint);
        }
        text
    }

    pub(crate) fn on(mut self, object: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.0).object = Some(object.into());
        self
    }

    pub(crate) fn try_this(mut self, hint: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.0).hint = Some(hint.into());
        self
    }

    pub(crate) fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Arc::make_mut(&mut self.0).source = Some(Arc::from(source.into()));
        self
    }

    pub(crate) fn with_evidence(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        Arc::make_mut(&mut self.0).evidence.extend(lines);
        self
    }

    pub(crate) fn deadline(what: impl fmt::Display) -> Self {
        Self::new(ErrorCode::Deadline, format!("{what}: not done by its deadline"))
    }

    pub(crate) fn closed(what: impl fmt::Display) -> Self {
        Self::new(ErrorCode::Closed, format!("{what} is closed"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            f.debug_tuple("Error").field(&self.0).finish()
        } else {
            f.write_str(&self.report())
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

impl From<std::convert::Infallible> for Error {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_is_what_a_person_reads() {
        let error = Error::new(ErrorCode::Kubeconfig, "no kubeconfig")
            .because(std::io::Error::from(std::io::ErrorKind::NotFound))
            .with_evidence(["a line".to_owned()])
            .try_this("write one");
        let expected = "no kubeconfig\n  because: entity not found\n  | a line\n  try: write one";
        assert_eq!(format!("{error:?}"), expected);
        assert!(format!("{error:#?}").contains("code: Kubeconfig"), "{error:#?}");
    }

    #[test]
    fn nothing_is_said_twice() {
        let inner = Error::new(ErrorCode::Cluster, "patch services/orders: no")
            .because(std::io::Error::other("HTTP 500"));
        let outer = Error::new(ErrorCode::NotRestored, format!("not put back: {inner}")).because(inner);
        assert_eq!(outer.report(), "not put back: patch services/orders: no\n  because: HTTP 500");
    }
}
