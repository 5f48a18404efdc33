//! What the API server's answers mean: as an error for people, and for who may try again.

use std::fmt::{self, Debug};
use std::time::Duration;

use kube::client::UpgradeConnectionError;

use super::super::client::{Renewal, Unreachable};
use super::Cluster;
use crate::{Error, ErrorCode};

/// The reason of an answer that is no Status, so hardly the API server's; kube's own calls give it as well.
pub(crate) const UNREADABLE: &str = "Failed to parse error data";

impl Cluster {
    /// What came of a request, with the object, the verb and the cluster's own words.
    pub(crate) fn explain(&self, verb: &str, object: &str, error: kube::Error) -> Error {
        let place = format!("{verb} {object} in namespace {}", self.namespace);
        match error {
            kube::Error::Api(status) => {
                let code = match status.code {
                    401 => ErrorCode::Unauthorized,
                    403 if is_terminating(&status) => ErrorCode::NoSuchNamespace,
                    403 => ErrorCode::Forbidden,
                    404 if names_namespace(&status) => ErrorCode::NoSuchNamespace,
                    404 => ErrorCode::NoSuchTarget,
                    _ => ErrorCode::Cluster,
                };
                let said = format!("{place}: {}", words(&status));
                let message = match (code, status.code) {
                    // What was tried in it matters less.
                    (ErrorCode::NoSuchNamespace, 404) => {
                        format!("there is no namespace {} ({said})", self.namespace)
                    }
                    _ => said,
                };
                let error = Error::new(code, message).on(object).because(ApiStatus(status));
                match code {
                    ErrorCode::Unauthorized => error.try_this(
                        "log in again as your cluster's provider says; `kubectl auth whoami` tells whether that was enough",
                    ),
                    ErrorCode::Forbidden => error.try_this(format!(
                        "ask for the right to {verb} {} in namespace {}; `kubectl auth can-i {verb} {} -n {}` tells",
                        kind(object), self.namespace, kind(object), self.namespace
                    )),
                    ErrorCode::NoSuchNamespace => error.try_this("`kubectl get namespaces` lists those there are"),
                    _ => error,
                }
            }
            other => self.unreachable(&place, other).on(object),
        }
    }

    /// No answer: says why in the words of whoever knows best.
    fn unreachable(&self, place: &str, error: kube::Error) -> Error {
        if let kube::Error::Service(inner) = &error {
            if let Some(renewal) = inner.downcast_ref::<Renewal>() {
                return Error::new(ErrorCode::Unauthorized, format!("{place}: {renewal}")).because(error);
            }
            if let Some(known) = inner.downcast_ref::<Unreachable>() {
                return Error::new(ErrorCode::Unreachable, format!("{place}: {known}"));
            }
        }
        Error::new(
            ErrorCode::Unreachable,
            format!("{place}: the API server at {} cannot be reached", self.server),
        )
        .because(error)
        .try_this(format!("check that {} is the right server and answers from this machine", self.server))
    }
}

/// The cluster's answer as a cause; its text stands in the error's own line already.
struct ApiStatus(Box<kube::core::Status>);

impl Debug for ApiStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for ApiStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP {} {}", self.0.code, self.0.reason)
    }
}

impl std::error::Error for ApiStatus {}

fn status(error: &Error) -> Option<&kube::core::Status> {
    let source = std::error::Error::source(error)?;
    source.downcast_ref::<ApiStatus>().map(|status| &*status.0)
}

/// Whether the object was changed meanwhile, or a `test` of a JSON patch failed.
pub(crate) fn is_conflict(error: &Error) -> bool {
    // A failed `test` operation is a generic 422 (apiserver `endpoints/handlers/patch.go`), other than
    // an object that does not validate, whose 422 names the object.
    status(error).is_some_and(|status| {
        (status.code == 409 && status.reason == "Conflict")
            || (status.code == 422 && status.message.starts_with("the server rejected our request"))
    })
}

/// Whether an object of that name is there already.
pub(crate) fn is_already_there(error: &Error) -> bool {
    status(error).is_some_and(|status| status.code == 409 && status.reason == "AlreadyExists")
}

/// Whether somebody on the way did not know what he was asked for, so that another form of the request may do.
pub(crate) fn is_not_understood(error: &Error) -> bool {
    if let Some(status) = status(error) {
        // What a firewall forbids it does not say as the API server would.
        return matches!(status.code, 400 | 405 | 406 | 426 | 501)
            || status.code == 403 && status.reason == UNREADABLE;
    }
    matches!(kubes_own(error), Some(kube::Error::UpgradeConnection(why)) if !is_broken(why))
}

/// Whether there was no answer, though the server was connected to.
pub(crate) fn is_unanswered(error: &Error) -> bool {
    match error.code() {
        ErrorCode::Deadline => true,
        // One that was not connected to is explained; no library is the cause then.
        ErrorCode::Unreachable => kubes_own(error).is_some() && !is_not_understood(error),
        _ => false,
    }
}

fn kubes_own(error: &Error) -> Option<&kube::Error> {
    std::error::Error::source(error)?.downcast_ref()
}

fn is_broken(why: &UpgradeConnectionError) -> bool {
    matches!(why, UpgradeConnectionError::GetPendingUpgrade(_))
}

/// Whether waiting may help: the server is overloaded, restarting, or cannot be reached now.
pub(crate) fn is_passing(error: &Error) -> bool {
    match error.code() {
        ErrorCode::Unreachable | ErrorCode::Deadline => true,
        _ => is_fault(error),
    }
}

/// Whether the server answered, with a fault of its own or because it is too busy.
pub(super) fn is_fault(error: &Error) -> bool {
    status(error).is_some_and(|status| matches!(status.code, 429 | 500 | 502 | 503 | 504))
}

/// How long the API server wants us to wait before the next try, where it said so.
pub(crate) fn retry_after(error: &Error) -> Option<Duration> {
    let seconds = status(error)?.details.as_ref()?.retry_after_seconds;
    (seconds > 0).then(|| Duration::from_secs(seconds.into()))
}

fn words(status: &kube::core::Status) -> &str {
    if status.message.is_empty() { &status.reason } else { &status.message }
}

fn names_namespace(status: &kube::core::Status) -> bool {
    status.details.as_ref().is_some_and(|details| details.kind == "namespaces")
        || status.message.starts_with("namespaces ")
}

/// Whether something was refused because its namespace is being deleted (the admission plugin NamespaceLifecycle).
fn is_terminating(status: &kube::core::Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
}

fn kind(object: &str) -> &str {
    object.split('/').next().unwrap_or(object)
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use kube::core::Status;

    use super::super::fake::Fake;
    use super::*;

    #[tokio::test]
    async fn who_does_not_know_a_request_is_told_from_who_refuses_it() {
        let cluster = Fake::default().cluster();
        let explained = |error| cluster.explain("get", "pods/x/portforward", error);
        let answered = |code, reason| {
            explained(kube::Error::Api(Status::failure("words", reason).with_code(code).boxed()))
        };
        for (code, reason) in [(400, "BadRequest"), (426, UNREADABLE), (501, UNREADABLE), (403, UNREADABLE)] {
            let error = answered(code, reason);
            assert!(is_not_understood(&error) && !is_unanswered(&error), "{code} {reason}");
        }
        for (code, reason) in [
            (401, "Unauthorized"),
            (403, "Forbidden"),
            (404, UNREADABLE),
            (429, UNREADABLE),
            (500, UNREADABLE),
        ] {
            let error = answered(code, reason);
            assert!(!is_not_understood(&error) && !is_unanswered(&error), "{code} {reason}");
        }
        let switched = UpgradeConnectionError::ProtocolSwitch(StatusCode::OK);
        let error = explained(kube::Error::UpgradeConnection(switched));
        assert!(is_not_understood(&error) && !is_unanswered(&error));
        assert!(is_unanswered(&Error::deadline("asking")));
        assert!(is_unanswered(&explained(kube::Error::Service("broken off".into()))));
        assert!(!is_unanswered(&Error::new(ErrorCode::Unreachable, "nothing listens there")));
    }
}
