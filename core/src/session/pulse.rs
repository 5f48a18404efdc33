//! Whether the API server answers, and the renewal of the session's Lease.

use std::time::Duration;

use tokio::time::Instant;

use super::{Part, Shared};
use crate::backoff::{Backoff, Pace};
use crate::cluster::agent_link::Health;
use crate::cluster::{api, lease, names};
use crate::{Deadline, Error, ErrorCode, Result};

/// Between two looks at an API server that answers: a session without links would else not notice in time that it
/// cannot be reached. Controllers write their leases as often.
const LOOK: Duration = Duration::from_secs(3);
/// A look that takes longer is no answer.
const LOOK_LIMIT: Duration = Duration::from_millis(1500);
/// A renewal that takes longer has failed.
const RENEWAL_LIMIT: Duration = Duration::from_secs(5);
/// Between two looks at an API server that does not answer.
const PACE: Pace = Pace { first: Duration::from_millis(500), last: Duration::from_secs(2) };

/// When the next look and the next renewal are due.
#[derive(Debug)]
pub(super) struct Pulse {
    look: Instant,
    renewal: Instant,
    backoff: Backoff,
    failing: bool,
}

/// What came of a beat.
#[derive(Debug)]
enum Outcome {
    Answers,
    /// No answer in time, but bytes flow: it may be busy, or the line narrow.
    Unclear,
    Fails(Error),
    /// The namespace is deleted, and everything in it.
    Gone(Error),
}

impl Pulse {
    /// The Lease was made just now.
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self { look: now + LOOK, renewal: now + lease::RENEWAL, backoff: Backoff::new(PACE), failing: false }
    }

    /// When [`beat`](Self::beat) is to be called.
    pub(super) fn due(&self) -> Instant {
        match self.failing {
            // Both are one question to a server that does not answer.
            true => self.look,
            false => self.look.min(self.renewal),
        }
    }

    /// Something has failed that suggests that the API server does not answer.
    pub(super) fn hurry(&mut self) {
        if !self.failing {
            self.look = self.look.min(Instant::now());
        }
    }

    /// Looks or renews, whichever is due, and takes down how the API server stands; the reason when there is no place
    /// for the session any more. Cancel-safe.
    pub(super) async fn beat(&mut self, shared: &Shared) -> Option<String> {
        let renewal = self.renewal <= Instant::now();
        let result = if renewal { renew(shared).await } else { look(shared).await };
        let renewed = renewal && result.is_ok();
        let outcome = outcome(result, renewal, shared.any_link_up());
        let now = Instant::now();
        self.look = now + LOOK;
        match outcome {
            Outcome::Answers => {
                self.backoff.reset();
                self.failing = false;
                shared.part(Part::Api, Health::Up);
            }
            Outcome::Unclear => {}
            Outcome::Gone(error) => {
                return Some(format!("namespace {} was deleted: {error}", shared.cluster.namespace()));
            }
            Outcome::Fails(error) => {
                tracing::debug!(
                    error = error.report(),
                    renewal,
                    "the API server does not answer as it should"
                );
                self.look = now + self.backoff.after(&error);
                self.failing = true;
                shared.part(Part::Api, Health::Down(error.to_string()));
            }
        }
        if renewed {
            self.renewal = now + lease::RENEWAL;
        }
        None
    }
}

fn outcome(result: Result<()>, renewal: bool, flows: bool) -> Outcome {
    match result {
        Ok(()) => Outcome::Answers,
        Err(error) if error.code() == ErrorCode::NoSuchNamespace => Outcome::Gone(error),
        // A Lease that is not renewed counts as dead to others, whatever the reason.
        Err(error) if renewal => Outcome::Fails(error),
        Err(error) if error.code() == ErrorCode::Deadline && flows => Outcome::Unclear,
        Err(error) if api::is_passing(&error) || error.code() == ErrorCode::Unauthorized => {
            Outcome::Fails(error)
        }
        // It answers; that this user may not look at Leases is another matter.
        Err(_) => Outcome::Answers,
    }
}

async fn look(shared: &Shared) -> Result<()> {
    let name = names::lease(&shared.id);
    match lease::find(&shared.cluster, &name, Deadline::after(LOOK_LIMIT)).await? {
        Some(known) => {
            shared.tenure.stands(&known.uid);
            Ok(())
        }
        // Somebody took it for a dead session's, or cleaned up too much.
        None => renew(shared).await,
    }
}

async fn renew(shared: &Shared) -> Result<()> {
    let deadline = Deadline::after(RENEWAL_LIMIT);
    let uid = match lease::renew(&shared.cluster, &shared.id, deadline).await {
        Err(error) if error.code() == ErrorCode::NoSuchTarget => {
            lease::create(&shared.cluster, &shared.id, &shared.who, deadline).await?
        }
        other => other?.uid,
    };
    shared.tenure.stands(&uid);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_beat_tells() {
        use ErrorCode::{Cluster, Deadline, Forbidden, NoSuchNamespace, Unauthorized, Unreachable};
        let rows = [
            // what failed, at a renewal, while bytes flow -> answers, unclear, fails or gone
            (None, false, false, "answers"),
            (None, true, true, "answers"),
            (Some(Unreachable), false, true, "fails"),
            (Some(Deadline), false, false, "fails"),
            (Some(Deadline), false, true, "unclear"),
            (Some(Deadline), true, true, "fails"),
            (Some(Unauthorized), false, true, "fails"),
            (Some(Forbidden), false, true, "answers"),
            (Some(Forbidden), true, true, "fails"),
            (Some(Cluster), false, true, "answers"),
            (Some(NoSuchNamespace), false, true, "gone"),
            (Some(NoSuchNamespace), true, false, "gone"),
        ];
        for (code, renewal, flows, expected) in rows {
            let result = code.map_or(Ok(()), |code| Err(Error::new(code, "")));
            let told = match outcome(result, renewal, flows) {
                Outcome::Answers => "answers",
                Outcome::Unclear => "unclear",
                Outcome::Fails(_) => "fails",
                Outcome::Gone(_) => "gone",
            };
            assert_eq!(told, expected, "{code:?} {renewal} {flows}");
        }
    }
}
