//! What a call comes to, on its way to the JavaScript thread.

use kubetether::Error;

use crate::handles::Handle;

/// The outcome of a call.
pub(crate) type Outcome = kubetether::Result<Value>;

/// What a call gives.
#[derive(Debug)]
pub(crate) enum Value {
    Json(String),
    /// What it is, as JSON, and the handle.
    Handle(String, Handle),
}

pub(crate) fn json(error: &Error) -> String {
    serde_json::to_string(error).unwrap_or_default()
}
