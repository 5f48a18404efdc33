use crate::code::GoodbyeCode;

/// Bytes of the peer that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The input ends inside a value.
    #[error("the input ends inside a value")]
    Truncated,
    /// A value is longer than its kind allows.
    #[error("{what} is longer than {limit} bytes")]
    TooLong {
        /// Which value.
        what: &'static str,
        /// How many bytes it may have.
        limit: usize,
    },
    /// A value that must be there is not.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A value is there but makes no sense.
    #[error("{0} is not valid")]
    Invalid(&'static str),
    /// A field of a later version that must not be skipped: see the protocol's page.
    #[error("field {0} is of a later version and must be understood")]
    Critical(u64),
}

/// What a peer did against the protocol, or why its bytes could not be read. The link is closed with
/// [`GoodbyeCode::Protocol`]: a peer that breaks one rule cannot be trusted with the next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// A frame could not be decoded.
    #[error("a {frame} frame cannot be read: {source}")]
    Decode {
        /// Name of the frame's kind.
        frame: &'static str,
        /// What was wrong.
        source: DecodeError,
    },
    /// A frame's length is above what its kind allows.
    #[error("a {frame} frame of {length} bytes is longer than the {limit} it may have")]
    TooLong {
        /// Name of the frame's kind.
        frame: &'static str,
        /// The length its header tells.
        length: usize,
        /// The length allowed.
        limit: usize,
    },
    /// A HELLO came, of a kubetether, and cannot be taken: what to tell its sender.
    #[error("the HELLO cannot be taken: {0}")]
    Hello(Goodbye),
    /// A rule between frames was broken.
    #[error("{0}")]
    Rule(&'static str),
}

/// A carrier was turned away: what the GOODBYE says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {text}")]
#[non_exhaustive]
pub struct Goodbye {
    /// Why, for programs.
    pub code: GoodbyeCode,
    /// Why, for people.
    pub text: String,
}

impl Goodbye {
    /// A goodbye with a reason for programs and one for people.
    pub fn new(code: GoodbyeCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}
