//! What others do to an exchanged Service: it is taken again with what they wrote for its originals, left to them for a while
//! when they insist, and given up when it is not this exchange's any more.

use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use tokio::time::Instant;

use super::{ANSWER, ATTEMPT, End, Fate, Guard, Held, LOOK, SILENT};
use crate::cluster::names;
use crate::exchange::changes::editor;
use crate::exchange::interceptor::Whole;
use crate::exchange::kept::Kept;
use crate::exchange::note::Note;
use crate::exchange::plan::{Look, Plan};
use crate::exchange::service::{self, Standing};
use crate::{Deadline, Error, ErrorCode, HandleState};

/// What somebody else changes is put back so often within [`WINDOW`], then it is theirs for a while.
const PUT_BACKS: usize = 3;
const WINDOW: Duration = Duration::from_secs(60);
/// Between two looks at what serves the Service.
pub(super) const LOOK_AFTER: Duration = Duration::from_secs(10);

/// Why a Service is to be taken again, if it is not as it was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Somebody may have changed it.
    Foreign,
    /// This exchange may have put it back itself, because of this.
    PutBack(&'static str),
    /// Another interceptor serves it, because of this: the note is written in any case.
    Anew(&'static str),
}

impl Guard {
    /// Whether nothing is to be done about a Service that was seen like this. What is told by a watch may be old by the
    /// time it is heard, so anything else is no more than a reason to look.
    pub(super) fn is_as_left(&self, told: Option<&Service>) -> bool {
        let look = |told| self.plan.look(told, &names::lease(&self.shared.id));
        self.held == Held::Ours && told.is_some_and(|told| look(told) == Look::Ours)
    }

    /// Answers a change of the Service, with another interceptor where that is needed.
    pub(super) async fn answer(&mut self, note: &mut Note, kept: &mut Kept) -> Option<End> {
        let fate = self.regain(Why::Foreign, note, kept).await;
        self.conclude(fate, note, kept).await
    }

    /// Does what is to be done.
    pub(super) async fn conclude(&mut self, fate: Fate, note: &mut Note, kept: &mut Kept) -> Option<End> {
        match fate {
            Fate::Settled | Fate::Later(_) => None,
            Fate::Lost(reason) => Some(End::Lost(reason)),
            Fate::Anew(why) => Box::pin(self.anew(kept, note, &why)).await,
        }
    }

    /// Takes the Service again, if it is not as it was left and that is right: only after it and the session's own Lease
    /// were read.
    pub(super) async fn regain(&mut self, why: Why, note: &Note, kept: &mut Kept) -> Fate {
        if why != Why::Foreign && self.held == Held::Away {
            // If this fails it is tried again like anything that somebody else has done.
            self.held = Held::Theirs;
        }
        let found = self.shared.cluster.find::<Service>(&self.plan.service, Deadline::after(ATTEMPT)).await;
        let live = match found {
            Ok(live) => live,
            Err(error) => {
                self.look_again = Some(Instant::now() + LOOK);
                return Fate::Later(error);
            }
        };
        let by = match why {
            Why::Foreign => live.as_ref().map(editor).unwrap_or_default(),
            Why::PutBack(cause) | Why::Anew(cause) => cause.to_owned(),
        };
        let next = match self.look(live.as_ref(), &by).await {
            Ok(None) if !matches!(why, Why::Anew(_)) => {
                self.ours();
                return Fate::Settled;
            }
            Ok(next) => next.unwrap_or_else(|| self.plan.clone()),
            Err(reason) => return Fate::Lost(reason),
        };
        match self.standing().await {
            Fate::Settled => {}
            Fate::Later(error) => {
                self.not_now(&error);
                return Fate::Later(error);
            }
            other => return other,
        }
        if kept.made_under != self.shared.tenure.now().uid {
            self.plan = next;
            return Fate::Anew("this session was taken for dead, and its interceptor with it".to_owned());
        }
        self.adopt(next, kept).await;
        if why == Why::Foreign
            && let Some(fate) = self.is_to_wait(&by).await
        {
            return fate;
        }
        self.take_again(note, &by).await;
        Fate::Settled
    }

    /// Looks after what serves the Service: somebody may have deleted or changed that.
    pub(super) async fn look_after(&mut self, kept: &Kept) -> Fate {
        self.look_after = Instant::now() + LOOK_AFTER;
        if !self.reached {
            return Fate::Settled;
        }
        let (cluster, interceptor) = (&self.shared.cluster, &kept.interceptor);
        let whole = match interceptor.inspect(cluster, Deadline::after(ANSWER)).await {
            Ok(whole) => whole,
            Err(error) => return Fate::Later(error),
        };
        match whole {
            Whole::Yes => self.scaled = false,
            Whole::NoWayBack => {
                return Fate::Anew(format!(
                    "services/{} was deleted",
                    names::pass_through(&interceptor.name)
                ));
            }
            Whole::Scaled(pods) => {
                let one = interceptor.one_pod(cluster, Deadline::after(ANSWER)).await;
                let outcome = match &one {
                    Ok(()) => "it has one again".to_owned(),
                    Err(error) => error.to_string(),
                };
                // Whoever does so goes on doing it: told once.
                if !std::mem::replace(&mut self.scaled, true) {
                    self.life.notice(format!(
                        "deployments/{} was scaled to {pods} pods, of which one leads here, and the original pods answered the rest: {outcome}",
                        interceptor.name
                    ));
                }
            }
        }
        Fate::Settled
    }

    /// What somebody else wrote is the original from now on.
    async fn adopt(&mut self, next: Plan, kept: &mut Kept) {
        if next.original != self.plan.original {
            // First the way back, so that what is passed through goes where the Service leads now.
            let follow = kept.interceptor.follow(&self.shared.cluster, &next, Deadline::after(ATTEMPT));
            match follow.await {
                Ok(()) => kept.made_for = next.clone(),
                Err(error) => {
                    tracing::debug!(error = error.report(), "the way back does not follow the Service")
                }
            }
        }
        self.plan = next;
    }

    /// Whether a Service that somebody changed is not taken again yet, and what comes of that.
    async fn is_to_wait(&mut self, by: &str) -> Option<Fate> {
        if self.held == Held::Away {
            return Some(Fate::Settled);
        }
        if !self.reached {
            // Whoever put it back may have taken the interceptor away, too.
            let text = "the interceptor cannot be reached at the moment";
            let error = Error::new(ErrorCode::AgentUnreachable, text);
            self.not_now(&error);
            return Some(Fate::Later(error));
        }
        self.put_backs.retain(|at| at.elapsed() < WINDOW);
        if self.put_backs.len() < PUT_BACKS {
            self.put_backs.push_back(Instant::now());
            return None;
        }
        self.give_in(by).await;
        let allowed = self.put_backs.front().map(|oldest| *oldest + WINDOW);
        self.look_again = self.look_again.or(allowed);
        Some(Fate::Settled)
    }

    /// What the Service has become: `None` as it was left, else how it would be taken again; `Err` when it is lost.
    pub(super) async fn look(&self, live: Option<&Service>, by: &str) -> Result<Option<Plan>, String> {
        let name = &self.plan.service;
        let Some(live) = live else { return Err(format!("services/{name} was deleted")) };
        match self.plan.look(live, &names::lease(&self.shared.id)) {
            Look::Ours => Ok(None),
            Look::Replaced => Err(format!("services/{name} was deleted and made anew")),
            Look::Taken(lease) => {
                let deadline = Deadline::after(ATTEMPT);
                Err(service::taken_by(&self.shared.cluster, live, &lease, deadline).await)
            }
            Look::Unreadable { why, .. } => Err(why),
            Look::Reshaped(what) => Err(format!(
                "{by} gave services/{name} {what}, which the interceptor was not made for: start the exchange again"
            )),
            Look::Drifted(next) => Ok(Some(*next)),
        }
    }

    /// Whether the Service may be taken again, by the session's own Lease.
    pub(super) async fn standing(&self) -> Fate {
        let (cluster, lease) = (&self.shared.cluster, names::lease(&self.shared.id));
        match service::standing(cluster, &lease, &self.plan.uid, Deadline::after(ATTEMPT)).await {
            Ok(Standing::Holds(uid)) => {
                self.shared.tenure.stands(&uid);
                Fate::Settled
            }
            Ok(Standing::Recovered(recovery)) => Fate::Lost(format!(
                "services/{} was put back by {} (kubetether recover or clean, {})",
                self.plan.service, recovery.by, recovery.at
            )),
            Ok(Standing::NoLease(error)) => {
                // It is made anew as soon as that is seen.
                self.shared.look.notify_one();
                Fate::Later(error)
            }
            Err(error) => Fate::Later(error),
        }
    }

    /// The Service leads here.
    fn ours(&mut self) {
        self.held = Held::Ours;
        if let Some(fallback) = &self.fallback {
            fallback.resume();
        }
        if !self.reached {
            self.lost_at = self.lost_at.or_else(|| Some(Instant::now() + SILENT));
        }
        self.active_again();
    }

    /// The Service is not ours for the moment, and is looked at again soon.
    fn not_now(&mut self, error: &Error) {
        if self.held != Held::Away {
            self.held = Held::Theirs;
        }
        if let Some(fallback) = &self.fallback {
            fallback.stand_aside();
        }
        self.look_again = Some(Instant::now() + LOOK);
        self.life.set(HandleState::PassThrough(error.to_string()));
    }

    async fn take_again(&mut self, note: &Note, by: &str) {
        let note = Note { original: self.plan.original.clone(), ..note.clone() };
        let (cluster, lease) = (&self.shared.cluster, names::lease(&self.shared.id));
        let taken = service::take(cluster, &self.plan, &note, &lease, None, Deadline::after(ATTEMPT)).await;
        match taken {
            Ok(()) => {
                self.life.notice(format!("{by} changed services/{}; it was taken again", self.plan.service));
                self.ours();
            }
            Err(error) => self.not_now(&error),
        }
    }

    /// Lets somebody who insists have the Service for a while.
    async fn give_in(&mut self, by: &str) {
        self.held = Held::Theirs;
        // What still is ours must not stay beside what is theirs: callers would find nobody.
        if let Err(error) = self.restore(Deadline::after(ATTEMPT)).await {
            tracing::debug!(
                error = error.report(),
                "a Service that somebody keeps changing was not put back"
            );
        }
        self.life.set(HandleState::PassThrough(format!(
            "{by} keeps changing services/{}; it was put back {PUT_BACKS} times within a minute",
            self.plan.service
        )));
    }
}
