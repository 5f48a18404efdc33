//! What dead sessions left is taken away; their Services are put back before.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::core::v1::Service;

use super::Unseen;
use super::objects::{self, KINDS, Kind, Ours};
use super::recover::{PutBack, mark, put_back_live};
use super::survey::{Seen, Survey, Taken};
use crate::cluster::lease::judge::{Place, Verdict};
use crate::cluster::lease::{self, Known, Recovery};
use crate::cluster::{Cluster, names};
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

    fn stays(&mut self, namespace: &str, object: String, why: &str) {
        let (namespace, why) = (namespace.to_owned(), why.to_owned());
        self.left.push(Left { namespace, object, why, error: None });
    }

    fn failed(&mut self, namespace: &str, object: String, error: Error) {
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
    let sweep = Sweep::plan(&survey, seen, options.all);
    if options.dry_run {
        return Ok(sweep.told());
    }
    let by = config.who.clone().unwrap_or_else(who);
    Ok(sweep.run(&survey.cluster, &by, config.linger, deadline).await)
}

/// What is to be done.
#[derive(Debug, Default)]
struct Sweep {
    /// Leases of dead sessions.
    bury: Vec<(String, Known)>,
    restore: Vec<Taken>,
    remove: Vec<(Ours, Option<String>)>,
    outcome: Cleaned,
}

impl Sweep {
    fn plan(survey: &Survey, seen: Seen, all: bool) -> Self {
        let mut sweep = Self::default();
        let verdict = |namespace: &str, lease: &str| survey.jury.verdict(namespace, lease);
        let mut living: BTreeSet<&str> = BTreeSet::new();
        for (place, known) in survey.jury.all() {
            let (namespace, name) = place;
            match verdict(namespace, name) {
                Verdict::Dead => sweep.bury.push((namespace.clone(), known.clone())),
                verdict => {
                    living.insert(namespace);
                    sweep.outcome.stays(
                        namespace,
                        format!("leases/{name}"),
                        &format!("its session{}", stays_because(verdict, &known.note.who)),
                    );
                }
            }
        }
        for ours in &seen.ours {
            let verdict = survey.verdict(&seen, ours);
            let may_go = match (ours.role.as_deref(), verdict) {
                // Shared, or of nobody in particular.
                (Some(names::ROLE_GATEWAY) | None, _) | (_, None) => {
                    all || !living.contains(ours.namespace.as_str())
                }
                (_, Some(verdict)) => all || verdict == Verdict::Dead,
            };
            let lease = ours.lease.clone().or_else(|| holder_of(&seen, ours));
            if may_go {
                sweep.remove.push((ours.clone(), lease));
            }
        }
        // Of those that several share, what has an owner that stays is not ours to take.
        let going: Vec<Ours> = sweep.remove.iter().map(|(ours, _)| ours.clone()).collect();
        let going: Vec<&Ours> = going.iter().collect();
        sweep.remove.retain(|(ours, _)| ours.kind != Kind::ConfigMap || !ours.has_owners_but(&going));
        for taken in seen.taken {
            let alive: Vec<&str> = taken
                .holders
                .iter()
                .filter(|holder| verdict(&taken.namespace, &holder.lease) != Verdict::Dead)
                .map(|holder| holder.lease.as_str())
                .collect();
            let object = format!("services/{}", taken.name);
            match (&taken.original, alive.as_slice()) {
                (Err(why), _) => sweep.outcome.stays(&taken.namespace, object, why),
                (Ok(_), []) => sweep.restore.push(taken),
                (Ok(_), _) if all => sweep.restore.push(taken),
                (Ok(_), alive) => {
                    let why = format!("leases/{} holds it and is not dead", alive.join(", leases/"));
                    sweep.outcome.stays(&taken.namespace, object, &why);
                }
            }
        }
        sweep.outcome.unseen = seen.unseen;
        sweep
    }

    /// What would be done.
    fn told(mut self) -> Cleaned {
        let done = &mut self.outcome.done;
        done.extend(self.restore.iter().map(restored));
        let deleted = self.remove.iter().map(|(ours, _)| (ours.namespace.clone(), ours.object()));
        let buried =
            self.bury.iter().map(|(namespace, known)| (namespace.clone(), format!("leases/{}", known.name)));
        done.extend(deleted.chain(buried).map(|(namespace, object)| Removal::Deleted { namespace, object }));
        self.outcome
    }

    /// `linger`: how long the interceptor of a Service that was put back goes on.
    async fn run(mut self, cluster: &Cluster, by: &str, linger: Duration, deadline: Deadline) -> Cleaned {
        let mut outcome = std::mem::take(&mut self.outcome);
        // Nothing of a session is touched before its Lease is gone, unchanged since it was found dead: one that came
        // back is seen here, and one that comes back later sees it.
        let mut spared: BTreeSet<Place> = BTreeSet::new();
        for (namespace, known) in &self.bury {
            let object = format!("leases/{}", known.name);
            match lease::bury(&cluster.in_namespace(namespace), known, deadline).await {
                Ok(true) => outcome.done.push(Removal::Deleted { namespace: namespace.clone(), object }),
                Ok(false) => {
                    outcome.stays(namespace, object, "its session has come back");
                    spared.insert((namespace.clone(), known.name.clone()));
                }
                Err(error) => {
                    outcome.failed(namespace, object, error);
                    spared.insert((namespace.clone(), known.name.clone()));
                }
            }
        }
        for taken in &self.restore {
            let is_spared = |lease: &str| spared.contains(&(taken.namespace.clone(), lease.to_owned()));
            if taken.holders.iter().any(|holder| is_spared(&holder.lease)) {
                outcome.stays(&taken.namespace, format!("services/{}", taken.name), "its holder stays");
                continue;
            }
            match self.put_back(cluster, taken, by, deadline).await {
                Ok(PutBack::Done) => outcome.done.push(restored(taken)),
                // Another sweep was quicker, or its user.
                Ok(PutBack::Free) => {}
                Ok(PutBack::Another) => {
                    spare(&mut spared, taken);
                    let object = format!("services/{}", taken.name);
                    outcome.stays(&taken.namespace, object, "somebody has taken it meanwhile");
                }
                Err(error) => {
                    // Its interceptor goes on passing its callers through.
                    spare(&mut spared, taken);
                    outcome.failed(&taken.namespace, format!("services/{}", taken.name), error);
                }
            }
        }
        if outcome.done.iter().any(|done| matches!(done, Removal::Restored { .. })) {
            // Nodes learn of it at their own pace, and lead callers to the interceptor until then.
            tokio::time::sleep(linger.min(deadline.left())).await;
        }
        let stays = |namespace: &str, lease: &Option<String>| {
            lease.as_ref().is_some_and(|lease| spared.contains(&(namespace.to_owned(), lease.clone())))
        };
        let (kept, going): (Vec<_>, Vec<_>) =
            self.remove.iter().partition(|(ours, lease)| stays(&ours.namespace, lease));
        for (ours, _) in kept {
            outcome.stays(&ours.namespace, ours.object(), "it serves what stays");
        }
        let going: Vec<&Ours> = going.into_iter().map(|(ours, _)| ours).collect();
        let left = objects::remove(cluster, &going, deadline).await;
        for ours in going {
            let (namespace, object) = (ours.namespace.clone(), ours.object());
            if !left.iter().any(|(place, name, _)| (place, name) == (&namespace, &object)) {
                outcome.done.push(Removal::Deleted { namespace, object });
            }
        }
        for (namespace, object, error) in left {
            outcome.failed(&namespace, object, error);
        }
        outcome
    }

    async fn put_back(
        &self,
        cluster: &Cluster,
        taken: &Taken,
        by: &str,
        deadline: Deadline,
    ) -> Result<PutBack> {
        let there = cluster.in_namespace(&taken.namespace);
        let buried = |lease: &str| {
            self.bury.iter().any(|(namespace, known)| *namespace == taken.namespace && known.name == lease)
        };
        for holder in taken.holders.iter().filter(|holder| !buried(&holder.lease)) {
            let recovery = Recovery::new(&taken.name, by);
            mark(&there, &holder.lease, taken.uid(), &recovery, deadline).await?;
        }
        // Only what was seen: somebody may have taken it since.
        let same = |live: &Service| {
            live.metadata.uid == taken.live.metadata.uid
                && live.metadata.annotations.as_ref().and_then(|all| all.get(names::EXCHANGE))
                    == taken.live.metadata.annotations.as_ref().and_then(|all| all.get(names::EXCHANGE))
        };
        let Ok(original) = &taken.original else { return Ok(PutBack::Another) };
        put_back_live(&there, &taken.name, original, same, deadline).await
    }
}

/// Nothing of those who hold it is taken away.
fn spare(spared: &mut BTreeSet<Place>, taken: &Taken) {
    let leases = taken.holders.iter().map(|holder| holder.lease.clone());
    spared.extend(leases.map(|lease| (taken.namespace.clone(), lease)));
}

fn stays_because(verdict: Verdict, who: &str) -> String {
    match verdict {
        Verdict::Lives => format!(" lives ({who})"),
        Verdict::Unclear | Verdict::Dead => format!(" could not be watched long enough ({who})"),
    }
}

fn restored(taken: &Taken) -> Removal {
    Removal::Restored {
        namespace: taken.namespace.clone(),
        object: format!("services/{}", taken.name),
        leases: taken.holders.iter().map(|holder| holder.lease.clone()).collect(),
    }
}

fn holder_of(seen: &Seen, ours: &Ours) -> Option<String> {
    let taken = seen.taken.iter().filter(|taken| taken.namespace == ours.namespace);
    let mut holders = taken.flat_map(|taken| &taken.holders);
    holders.find(|holder| Some(&holder.interceptor) == ours.instance.as_ref()).map(|it| it.lease.clone())
}
