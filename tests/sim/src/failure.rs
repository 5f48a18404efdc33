//! Refusals, as the API tells them.

use http::StatusCode;
use serde_json::{Value, json};

use crate::kinds::Kind;

/// Why a request is refused: a `Status` object of the API.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) code: u16,
    reason: String,
    message: String,
    details: Value,
    retry_after: Option<u32>,
}

impl Failure {
    pub(crate) fn new(code: u16, reason: &str, message: impl Into<String>) -> Self {
        let (reason, message) = (reason.to_owned(), message.into());
        Self { code, reason, message, details: Value::Null, retry_after: None }
    }

    fn on(mut self, kind: &Kind, name: &str) -> Self {
        self.details = json!({ "name": name, "group": kind.group, "kind": kind.plural });
        self
    }

    pub(crate) fn not_found(kind: &Kind, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{} \"{name}\" not found", qualified(kind))).on(kind, name)
    }

    pub(crate) fn no_such_path() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource")
    }

    pub(crate) fn already_exists(kind: &Kind, name: &str) -> Self {
        Self::new(409, "AlreadyExists", format!("{} \"{name}\" already exists", qualified(kind)))
            .on(kind, name)
    }

    pub(crate) fn conflict(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", qualified(kind));
        Self::new(409, "Conflict", message).on(kind, name)
    }

    pub(crate) fn invalid(kind: &Kind, name: &str, why: &str) -> Self {
        let what = if kind.group.is_empty() {
            kind.kind.to_owned()
        } else {
            format!("{}.{}", kind.kind, kind.group)
        };
        let message = format!("{what} \"{name}\" is invalid: {why}");
        let mut failure = Self::new(422, "Invalid", message).on(kind, name);
        failure.details["causes"] = json!([{ "reason": "FieldValueInvalid", "message": why }]);
        failure
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(403, "Forbidden", message)
    }

    pub(crate) fn expired(version: u64, oldest: u64) -> Self {
        Self::new(410, "Expired", format!("too old resource version: {version} ({oldest})"))
    }

    /// A refusal ordered by its number alone.
    pub(crate) fn scripted(
        code: u16,
        message: Option<&str>,
        retry_after: Option<u32>,
        kind: Option<&Kind>,
        name: &str,
    ) -> Self {
        let reason = match code {
            400 => "BadRequest",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "NotFound",
            409 => "Conflict",
            410 => "Expired",
            422 => "Invalid",
            429 => "TooManyRequests",
            500 => "InternalError",
            503 => "ServiceUnavailable",
            504 => "Timeout",
            _ => "Unknown",
        };
        let message =
            message.map_or_else(|| format!("{code} as ordered from the embedded cluster"), str::to_owned);
        let mut failure = Self::new(code, reason, message);
        if let Some(kind) = kind {
            failure = failure.on(kind, name);
        }
        failure.retry_after = retry_after;
        failure
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn retry_after(&self) -> Option<u32> {
        self.retry_after
    }

    pub(crate) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The `Status` object.
    pub(crate) fn object(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        });
        if !self.details.is_null() || self.retry_after.is_some() {
            status["details"] = if self.details.is_null() { json!({}) } else { self.details.clone() };
            if let Some(seconds) = self.retry_after {
                status["details"]["retryAfterSeconds"] = seconds.into();
            }
        }
        status
    }
}

fn qualified(kind: &Kind) -> String {
    if kind.group.is_empty() { kind.plural.to_owned() } else { format!("{}.{}", kind.plural, kind.group) }
}
