//! Connections and associations that were not opened, and why.

use kubetether_link::{OpenError, RefusalCode};
use tokio::net::TcpStream;

use crate::flow::FlowEnd;
use crate::{Destination, Error, ErrorCode};

/// What a gateway answered, as an error.
pub(super) fn refused(destination: &Destination, host: &str, error: OpenError) -> Error {
    let code = match &error {
        OpenError::Refused(refusal) => match refusal.code {
            RefusalCode::NameNotFound => ErrorCode::NameNotFound,
            RefusalCode::TimedOut => ErrorCode::Deadline,
            RefusalCode::Refused | RefusalCode::Unreachable => ErrorCode::Refused,
            _ => ErrorCode::AgentUnreachable,
        },
        _ => ErrorCode::AgentUnreachable,
    };
    let hint = match code {
        ErrorCode::NameNotFound => {
            "look at the name: SERVICE, SERVICE.NAMESPACE or a full name, as a pod of the namespace would use it"
        }
        ErrorCode::Refused => "see that its pods are ready and listen on that port",
        _ => "try again",
    };
    let seen_from =
        if destination.to_string().starts_with(host) { String::new() } else { format!(" ({host})") };
    Error::new(code, format!("{destination}{seen_from}, dialled from the cluster: {error}"))
        .on(destination.to_string())
        .try_this(hint)
        .because(error)
}

/// What the error of a flow that was not opened means for it.
pub(super) fn never_opened(error: &Error) -> FlowEnd {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<OpenError>());
    match source {
        Some(OpenError::Refused(refusal)) => FlowEnd::refused(refusal),
        Some(OpenError::Reset(code)) => FlowEnd::cut(*code),
        Some(OpenError::Closed(reason)) => FlowEnd::Lost(reason.to_string()),
        _ => FlowEnd::Refused(error.to_string()),
    }
}

/// Whether the caller has reset its connection, which then has no other end any more.
pub(super) fn has_reset(caller: &TcpStream) -> bool {
    caller.peer_addr().is_err()
}

#[cfg(test)]
mod tests {
    use kubetether_link::{Refusal, ResetCode};
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn a_flow_is_told_the_refusal_in_a_few_words() {
        let destination: Destination = "db:5432".parse().unwrap();
        let refusal = Refusal::new(RefusalCode::NameNotFound, "db.shop.svc.cluster.local has no address");
        let error = refused(&destination, "db", OpenError::Refused(refusal));
        assert_eq!(never_opened(&error), FlowEnd::Refused("name not found".into()));
        let lost = refused(&destination, "db", OpenError::Reset(ResetCode::LinkLost));
        assert_eq!(never_opened(&lost), FlowEnd::Lost(ResetCode::LinkLost.to_string()));
        let late = Error::deadline("dialling db:5432 from the cluster");
        assert_eq!(never_opened(&late), FlowEnd::Refused(late.to_string()));
    }

    #[tokio::test]
    async fn who_has_reset_is_known_and_who_has_only_said_all_is_not_gone() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        for reset in [true, false] {
            let caller = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (mut socket, _) = listener.accept().await.unwrap();
            assert!(!has_reset(&socket));
            if reset {
                caller.set_zero_linger().unwrap();
            }
            drop(caller);
            // The word of it comes once, to who reads first.
            assert_eq!(socket.read(&mut [0]).await.is_err(), reset);
            assert_eq!(has_reset(&socket), reset);
        }
    }
}
