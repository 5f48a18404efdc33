//! The ways to change an object in part.

mod apply;
mod strategic;

use serde_json::Value;

pub(crate) use self::apply::{Applied, apply};
use crate::failure::Failure;

/// How a patch is written, by its media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    Merge,
    Strategic,
    Apply,
}

impl Form {
    pub(crate) fn of(media_type: &str) -> Option<Self> {
        match media_type.split(';').next().unwrap_or_default().trim() {
            "application/json-patch+json" => Some(Self::Json),
            "application/merge-patch+json" => Some(Self::Merge),
            "application/strategic-merge-patch+json" => Some(Self::Strategic),
            "application/apply-patch+yaml" => Some(Self::Apply),
            _ => None,
        }
    }
}

/// The object as it is after a patch of any form but `Apply`.
pub(crate) fn patched(form: Form, object: &Value, patch: Value) -> Result<Value, Failure> {
    let mut new = object.clone();
    match form {
        Form::Json => {
            let patch: json_patch::Patch = serde_json::from_value(patch)
                .map_err(|error| Failure::bad_request(format!("error decoding patch: {error}")))?;
            // As the API server says it: clients know a failed test by these words.
            json_patch::patch(&mut new, &patch).map_err(|error| {
                let message =
                    format!("the server rejected our request due to an error in our request: {error}");
                Failure::new(422, "Invalid", message)
            })?;
        }
        Form::Merge => json_patch::merge(&mut new, &patch),
        Form::Strategic => strategic::merge(&mut new, patch),
        Form::Apply => return Err(Failure::bad_request("an apply is no patch of another form")),
    }
    if !new.is_object() {
        return Err(Failure::bad_request("the patch leaves no object"));
    }
    Ok(new)
}
