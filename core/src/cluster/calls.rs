//! The engine's questions to an agent, with errors that say what was asked of whom.

use std::net::SocketAddr;
use std::time::Duration;

use kubetether_link::{Answer, CallCode, CallError, Link, Request};

use crate::{Deadline, Error, ErrorCode, Result};

/// No answer of an agent takes longer than this beyond what it was told to take.
const ANSWER: Duration = Duration::from_secs(10);

/// From now on connections to these ports come here.
pub(crate) async fn arm(link: &Link, exposed: Vec<u16>, holder: &str, deadline: Deadline) -> Result<()> {
    let request = Request::Arm { exposed, holder: holder.to_owned() };
    ask(link, &request, deadline).await.map(|_| ())
}

/// From now on everything goes to the originals again. Returns how many connections are still here.
pub(crate) async fn disarm(link: &Link, deadline: Deadline) -> Result<u64> {
    match ask(link, &Request::Disarm, deadline).await? {
        Answer::Disarm { open_flows } => Ok(open_flows),
        other => Err(unexpected(link, "disarm", &other)),
    }
}

/// Whether the originals of a port accept connections from the agent; `Err` with the reason if not.
pub(crate) async fn probe(link: &Link, port: u16, deadline: Deadline) -> Result<Result<(), String>> {
    let request = Request::Probe { port, times: 1, deadline: deadline.left().min(Duration::from_secs(2)) };
    match ask(link, &request, deadline).await? {
        Answer::Probe { failed: 0, .. } => Ok(Ok(())),
        Answer::Probe { last_error, .. } => Ok(Err(last_error)),
        other => Err(unexpected(link, "probe", &other)),
    }
}

/// Where connections to a Service arrive, as the agent sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proof {
    pub(crate) here: u8,
    pub(crate) elsewhere: u8,
    pub(crate) failed: u8,
    pub(crate) last_error: String,
}

/// Connects to the Service `times` times.
pub(crate) async fn prove(
    link: &Link,
    port: u16,
    address: SocketAddr,
    times: u8,
    deadline: Deadline,
) -> Result<Proof> {
    let limit = deadline.left().min(Duration::from_secs(2));
    let request = Request::Prove { port, address, times, deadline: limit };
    match ask(link, &request, deadline).await? {
        Answer::Prove { here, elsewhere, failed, last_error } => {
            Ok(Proof { here, elsewhere, failed, last_error })
        }
        other => Err(unexpected(link, "prove", &other)),
    }
}

/// The agent is about to be taken away. Whether it agrees; a gateway does not while it has other clients.
pub(crate) async fn drain(link: &Link, deadline: Deadline) -> Result<bool> {
    match ask(link, &Request::Drain, deadline).await? {
        Answer::Drain { accepted, .. } => Ok(accepted),
        other => Err(unexpected(link, "drain", &other)),
    }
}

async fn ask(link: &Link, request: &Request, deadline: Deadline) -> Result<Answer> {
    link.ask(request, deadline.at_most(ANSWER).instant()).await.map_err(|error| {
        let code = match &error {
            CallError::Failed(failure) => match failure.code {
                CallCode::Held => ErrorCode::Held,
                CallCode::Unsupported => ErrorCode::AgentVersion,
                CallCode::TimedOut => ErrorCode::Deadline,
                _ => ErrorCode::AgentUnreachable,
            },
            CallError::TimedOut => ErrorCode::Deadline,
            _ => ErrorCode::AgentUnreachable,
        };
        let who = agent(link);
        let hint = match code {
            ErrorCode::Held => "end the other exchange of the Service first",
            ErrorCode::AgentVersion => "use the agent that belongs to this version",
            _ => "try again; the log of the agent's pod tells how it is",
        };
        Error::new(code, format!("asking {who} to {}: {error}", request.name()))
            .on(who)
            .try_this(hint)
            .because(error)
    })
}

fn unexpected(link: &Link, call: &str, answer: &Answer) -> Error {
    let who = agent(link);
    Error::new(ErrorCode::AgentVersion, format!("{who} answered {call} with {answer:?}"))
        .on(who)
        .try_this("use the agent that belongs to this version")
}

/// What the agent is, for people.
fn agent(link: &Link) -> String {
    link.peer().map_or_else(
        || "the agent".to_owned(),
        |peer| format!("the {} (version {})", peer.role, peer.software),
    )
}
