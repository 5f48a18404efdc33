//! Errors: everything the engine knows of a failure.

use std::error::Error as StdError;

use kubetether::{Error, ErrorCode, host};

use crate::export::Neutral;
use crate::handle::{self, kt_error};
use crate::status::{KT_ARGUMENT, KT_OK, kt_status};
use crate::text::{Text, kt_str};

/// An error, in words that C can read.
#[derive(Debug)]
pub struct Failure {
    status: kt_status,
    message: Text,
    object: Text,
    hint: Text,
    causes: Vec<Text>,
    evidence: Vec<Text>,
    report: Text,
    json: Text,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (mut causes, mut cause) = (Vec::new(), error.source());
        while let Some(error) = cause {
            causes.push(error.to_string().into());
            cause = error.source();
        }
        Self {
            status: kt_status::of(error.code()),
            message: error.to_string().into(),
            object: error.object().unwrap_or_default().into(),
            hint: error.hint().unwrap_or_default().into(),
            causes,
            evidence: error.evidence().iter().map(|line| line.as_str().into()).collect(),
            report: error.report().into(),
            json: serde_json::to_string(&error).unwrap_or_default().into(),
        }
    }
}

/// What was given is no argument.
pub(crate) fn argument(message: String) -> Error {
    host::error(ErrorCode::Argument, message)
}

fn view(error: *const kt_error, part: impl FnOnce(&Failure) -> Option<&Text>) -> kt_str {
    handle::find(error).as_deref().and_then(part).map_or(kt_str::NEUTRAL, Text::view)
}

exports! {
    /// The kind of failure. `KT_OK` for NULL, `KT_ARGUMENT` for what is no error.
    plain fn kt_error_status(error: *const kt_error) -> kt_status {
        match handle::find(error) {
            Some(error) => error.status,
            None if error.is_null() => KT_OK,
            None => KT_ARGUMENT,
        }
    }

    /// What was tried and what failed, in one line.
    plain fn kt_error_message(error: *const kt_error) -> kt_str {
        view(error, |error| Some(&error.message))
    }

    /// What it is about, as `kind/name`; may be empty.
    plain fn kt_error_object(error: *const kt_error) -> kt_str {
        view(error, |error| Some(&error.object))
    }

    /// What to do about it; may be empty.
    plain fn kt_error_hint(error: *const kt_error) -> kt_str {
        view(error, |error| Some(&error.hint))
    }

    /// How many causes are known.
    plain fn kt_error_cause_count(error: *const kt_error) -> usize {
        handle::find(error).map_or(0, |error| error.causes.len())
    }

    /// One of the causes, from the nearest (0) to the first one; empty beyond them.
    plain fn kt_error_cause(error: *const kt_error, index: usize) -> kt_str {
        view(error, |error| error.causes.get(index))
    }

    /// How many lines of evidence there are.
    plain fn kt_error_evidence_count(error: *const kt_error) -> usize {
        handle::find(error).map_or(0, |error| error.evidence.len())
    }

    /// A line of what the cluster says of the pod to blame: conditions, events, its last log lines; empty beyond them.
    plain fn kt_error_evidence(error: *const kt_error, index: usize) -> kt_str {
        view(error, |error| error.evidence.get(index))
    }

    /// All of it for people, over several lines.
    plain fn kt_error_report(error: *const kt_error) -> kt_str {
        view(error, |error| Some(&error.report))
    }

    /// All of it for programs: `Error` of the schema.
    plain fn kt_error_json(error: *const kt_error) -> kt_str {
        view(error, |error| Some(&error.json))
    }

    /// Frees an error, and with it the views of its texts.
    plain fn kt_error_free(error: *mut kt_error) -> kt_status {
        handle::free(error)
    }
}
