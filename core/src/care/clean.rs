//! What dead sessions left is taken away; their Services are put back before.

use std::time::Duration;

use super::Unseen;
use super::objects::KINDS;
use super::survey::Survey;
use super::sweep::Sweep;
use crate::cluster::Cluster;
use crate::session::who;
use crate::{Config, Deadline, Error, Result};

/// The whole of it, unless told otherwise: 30 s for seeing who is dead, and what pods take to end.
const DEADLINE: Duration = Duration::from_secs(120);
/// Of that, what is kept for the work once it is clear who is dead.
const WORK: Duration = Duration::from_secs(60);

/// Settings of [`clean`].
#[derive(Clone, Debug)]
pub struct CleanOptions {
    dry_run: bool,
    all: bool,
    all_namespaces: bool,
    deadline: Duration,
}

impl Default for CleanOptions {
    fn default() -> Self {
        Self { dry_run: false, all: false, all_namespaces: false, deadline: DEADLINE }
    }
}

impl CleanOptions {
    /// The settings that suit most users: what is dead, in one namespace.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells what would be done, and changes nothing. Default: no.
    #[must_use]
    pub fn dry_run(mut self, yes: bool) -> Self {
        self.dry_run = yes;
        self
    }

    /// Also what belongs to sessions that live, or of which it could not be seen whether they do: their exchanges end as
    /// lost, their forwards begin anew, and their Leases stay with them. Default: no.
    #[must_use]
    pub fn all(mut self, yes: bool) -> Self {
        self.all = yes;
        self
    }

    /// All namespaces instead of the one of the [`Config`]; needs the rights there, too. Default: no.
    #[must_use]
    pub fn all_namespaces(mut self, yes: bool) -> Self {
        self.all_namespaces = yes;
        self
    }

    /// How long it may take in all: half a minute to see that a session is dead, then what its pods take to end. Default:
    /// 120 s.
    #[must_use]
    pub fn deadline(mut self, duration: Duration) -> Self {
        self.deadline = duration.min(crate::deadline::YEAR);
        self
    }
}

/// What was done to one object, or would be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Removal {
    /// A Service of the user's was put back.
    Restored {
        /// The namespace.
        namespace: String,
        /// `services/name`.
        object: String,
        /// The Leases of those who held it.
        leases: Vec<String>,
    },
    /// An object of kubetether's was deleted.
    Deleted {
        /// The namespace.
        namespace: String,
        /// `plural/name`.
        object: String,
    },
}

/// Something that stays, and why.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Left {
    /// The namespace.
    pub namespace: String,
    /// `plural/name`.
    pub object: String,
    /// Why, for people.
    pub why: String,
    /// What failed; `None` when it stays on purpose, since its session lives or may live.
    pub error: Option<Error>,
}

/// What came of a [`clean`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Cleaned {
    /// What was done, or would be.
    pub done: Vec<Removal>,
    /// What stays.
    pub left: Vec<Left>,
    /// What may not be looked at, so that something may be left there.
    pub unseen: Vec<Unseen>,
}

impl Cleaned {
    /// The first thing that could not be done.
    #[must_use]
    pub fn failure(&self) -> Option<&Error> {
        self.left.iter().find_map(|left| left.error.as_ref())
    }

    pub(super) fn stays(&mut self, namespace: &str, object: String, why: &str) {
        let (namespace, why) = (namespace.to_owned(), why.to_owned());
        self.left.push(Left { namespace, object, why, error: None });
    }

    pub(super) fn failed(&mut self, namespace: &str, object: String, error: Error) {
        let (namespace, why) = (namespace.to_owned(), error.to_string());
        self.left.push(Left { namespace, object, why, error: Some(error) });
    }
}

/// Takes away what dead sessions left, after their Services were put back; returns when it is gone.
///
/// A session is dead when its Lease was watched unchanged for as long as it holds; that takes half a minute, and nothing
/// when there is no session at all. Safe beside living sessions, and beside another `clean`. Not cancel-safe: what was begun
/// stays as it is, and the next `clean` goes on with it.
///
/// # Errors
/// As [`status`](crate::status). What could not be put back or deleted is told by [`Cleaned::left`].
pub async fn clean(config: &Config, options: CleanOptions) -> Result<Cleaned> {
    let deadline = Deadline::after(options.deadline);
    let (cluster, _) = Cluster::connect(config, deadline.at_most(config.start_deadline)).await?;
    let mut survey = Survey::new(cluster, options.all_namespaces);
    let first = survey.look(&KINDS, deadline).await?;
    if first.ours.is_empty() && first.taken.is_empty() {
        survey.namespace_is_there(deadline).await?;
    }
    // It may take all the time but what the work needs.
    let judging = deadline.left().saturating_sub(WORK).max(deadline.left() / 2);
    survey.judge(Deadline::after(judging)).await?;
    // As it is now: some of them may have ended by themselves.
    let seen = survey.look(&KINDS, deadline).await?;
    let sweep = Sweep::plan(&survey.jury, seen, options.all);
    if options.dry_run {
        return Ok(sweep.told());
    }
    let by = config.who.clone().unwrap_or_else(who);
    Ok(sweep.run(&survey.cluster, &by, config.linger, deadline).await)
}
