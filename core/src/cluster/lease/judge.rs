//! Who lives and who is dead. A session is dead when its Lease was *watched* unchanged for as long as it holds: no time
//! that stands in an object is looked at, so no clock of another machine matters.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use k8s_openapi::api::coordination::v1::Lease;
use tokio::time::Instant;

use super::{Known, RENEWAL};
use crate::cluster::{Cluster, names};
use crate::{Deadline, ErrorCode, Result};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(2);
/// A pause between two looks that is longer is a gap: the session may have been as unable to write as we were to read.
const GAP: Duration = Duration::from_secs(10);
/// A Lease that is not there is dead after this long: a session whose Lease somebody deletes makes another one as soon as it
/// sees that, which takes three seconds when all goes well.
const GONE: Duration = RENEWAL;
/// Looks at single Leases under way at once.
const AT_ONCE: usize = 8;

/// What is known of a session's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// It was not watched long enough.
    Unclear,
    /// It renewed its Lease while it was watched.
    Lives,
    /// It did not for as long as the Lease holds.
    Dead,
}

/// Watches one Lease.
#[derive(Clone, Debug)]
pub(crate) struct Judge {
    /// How it was seen first and ever since.
    seen: Option<(String, String)>,
    limit: Duration,
    /// When it had been read like this.
    since: Instant,
    /// When it was read last.
    last: Instant,
    verdict: Verdict,
}

impl Judge {
    /// Begins with how the Lease is; `None` if it is not there. `answered`: when that was known.
    pub(crate) fn new(lease: Option<&Known>, answered: Instant) -> Self {
        Self {
            seen: lease.map(sign),
            limit: limit(lease),
            since: answered,
            last: answered,
            verdict: Verdict::Unclear,
        }
    }

    /// How it is now: `asked` for at one time, `answered` at another. Between the first answer and this question it was
    /// like this if it is the same.
    pub(crate) fn see(&mut self, lease: Option<&Known>, asked: Instant, answered: Instant) -> Verdict {
        let now = lease.map(sign);
        if now != self.seen {
            // One that is deleted says nothing of life; one that is written does.
            let verdict = if now.is_some() { Verdict::Lives } else { Verdict::Unclear };
            *self = Self { verdict, ..Self::new(lease, answered) };
        } else if asked.saturating_duration_since(self.last) > GAP {
            if self.verdict != Verdict::Dead {
                *self = Self { verdict: self.verdict, ..Self::new(lease, answered) };
            }
        } else if asked.saturating_duration_since(self.since) >= self.limit {
            self.verdict = Verdict::Dead;
        }
        self.last = answered;
        self.verdict
    }

    pub(crate) fn verdict(&self) -> Verdict {
        self.verdict
    }
}

fn sign(lease: &Known) -> (String, String) {
    (lease.uid.clone(), lease.version.clone())
}

fn limit(lease: Option<&Known>) -> Duration {
    lease.map_or(GONE, |lease| lease.duration)
}

/// The place of a Lease: namespace and name.
pub(crate) type Place = (String, String);

/// Watches all Leases that matter, side by side.
#[derive(Debug, Default)]
pub(crate) struct Jury {
    /// `None` until it was looked at.
    judges: BTreeMap<Place, Option<(Judge, Option<Known>)>>,
}

impl Jury {
    /// One more Lease to watch, by its name; it may not be there.
    pub(crate) fn summon(&mut self, namespace: &str, lease: &str) {
        self.judges.entry((namespace.to_owned(), lease.to_owned())).or_default();
    }

    /// A Lease as it was read among others.
    pub(crate) fn hear(&mut self, namespace: &str, lease: &str, known: Option<Known>, asked: Instant) {
        let answered = Instant::now();
        let place = (namespace.to_owned(), lease.to_owned());
        let judge = self.judges.entry(place).or_default();
        match judge {
            Some((judge, before)) => {
                judge.see(known.as_ref(), asked, answered);
                *before = known;
            }
            None => *judge = Some((Judge::new(known.as_ref(), answered), known)),
        }
    }

    /// What is known of the session with this Lease.
    pub(crate) fn verdict(&self, namespace: &str, lease: &str) -> Verdict {
        verdict(self.get(namespace, lease))
    }

    /// The Lease as it was read last, if it was there.
    pub(crate) fn known(&self, namespace: &str, lease: &str) -> Option<&Known> {
        self.get(namespace, lease)?.1.as_ref()
    }

    /// All Leases that are there.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&Place, &Known)> {
        self.judges.iter().filter_map(|(place, judge)| Some((place, judge.as_ref()?.1.as_ref()?)))
    }

    /// How many are not judged yet.
    pub(crate) fn unclear(&self) -> usize {
        self.judges.values().filter(|judge| verdict(judge.as_ref()) == Verdict::Unclear).count()
    }

    fn get(&self, namespace: &str, lease: &str) -> Option<&(Judge, Option<Known>)> {
        self.judges.get(&(namespace.to_owned(), lease.to_owned()))?.as_ref()
    }

    /// Looks once at each Lease it knows of that `which` wants to know more of.
    pub(crate) async fn look(
        &mut self,
        cluster: &Cluster,
        deadline: Deadline,
        which: impl Fn(Verdict) -> bool,
    ) -> Result<()> {
        let places: Vec<Place> = self
            .judges
            .iter()
            .filter(|(_, judge)| which(verdict(judge.as_ref())))
            .map(|(place, _)| place.clone())
            .collect();
        let looks = places.into_iter().map(|(namespace, lease)| async move {
            let asked = Instant::now();
            let there = cluster.in_namespace(&namespace);
            let found = super::find(&there, &lease, deadline).await;
            (namespace, lease, asked, found)
        });
        let mut looks = stream::iter(looks).buffer_unordered(AT_ONCE);
        let mut first = Ok(());
        while let Some((namespace, lease, asked, found)) = looks.next().await {
            match found {
                Ok(known) => self.hear(&namespace, &lease, known, asked),
                Err(error) => first = first.and(Err(error)),
            }
        }
        first
    }

    /// Watches until all are judged, or the time is over. Passing faults only make it longer.
    ///
    /// Cancel-safe.
    pub(crate) async fn judge(&mut self, cluster: &Cluster, deadline: Deadline) -> Result<()> {
        loop {
            let looked = self.look(cluster, deadline, |verdict| verdict == Verdict::Unclear).await;
            if let Err(error) = looked
                && matches!(error.code(), ErrorCode::Forbidden | ErrorCode::Unauthorized)
            {
                return Err(error);
            }
            if self.unclear() == 0 || deadline.left() <= LOOK {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

fn verdict(judge: Option<&(Judge, Option<Known>)>) -> Verdict {
    judge.map_or(Verdict::Unclear, |(judge, _)| judge.verdict())
}

/// All Leases of ours in a namespace, or everywhere, heard by the jury; those that it knew and are gone are heard as gone.
pub(crate) async fn hear_all(
    jury: &mut Jury,
    cluster: &Cluster,
    everywhere: bool,
    deadline: Deadline,
) -> Result<()> {
    let asked = Instant::now();
    let ours = format!("{}={}", names::MANAGED_BY, names::KUBETETHER);
    let found = cluster.list_in::<Lease>(everywhere, &ours, deadline).await?;
    let mut missing: Vec<Place> = jury.judges.keys().cloned().collect();
    for (lease, known) in found.iter().map(|lease| (lease, Known::of(lease))).filter(|(_, known)| known.ours)
    {
        let namespace = lease.metadata.namespace.clone().unwrap_or_default();
        missing.retain(|(there, name)| (there, name) != (&namespace, &known.name));
        let name = known.name.clone();
        jury.hear(&namespace, &name, Some(known), asked);
    }
    for (namespace, name) in missing {
        jury.hear(&namespace, &name, None, asked);
    }
    Ok(())
}
