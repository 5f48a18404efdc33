//! What a [`clean`](super::clean) does: first as a plan, then in an order in which nobody is harmed wherever it ends.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::core::v1::Service;

use super::clean::{Cleaned, Removal};
use super::objects::{self, Kind, Ours};
use super::recover::{PutBack, mark, put_back_live};
use super::survey::{Returned, Seen, Taken};
use crate::cluster::lease::judge::{Jury, Place, Verdict};
use crate::cluster::lease::{self, Known, Recovery};
use crate::cluster::{Cluster, names};
use crate::{Deadline, Result};

/// What is to be done.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    /// Leases of dead sessions.
    bury: Vec<(String, Known)>,
    restore: Vec<Taken>,
    /// Services that sessions which live have put back for a while, and are not to take again.
    tell: Vec<Returned>,
    remove: Vec<(Ours, Option<String>)>,
    /// Fallback slices, which are not to be beside a Service that is put back.
    slices: Vec<Ours>,
    outcome: Cleaned,
}

impl Sweep {
    /// `all`: also what is not dead.
    pub(super) fn plan(jury: &Jury, seen: Seen, all: bool) -> Self {
        let mut sweep = Self::default();
        let mut living: BTreeSet<&str> = BTreeSet::new();
        let needed: Vec<Option<String>> = seen.ours.iter().map(|ours| needed(jury, &seen, ours)).collect();
        let serving = seen.ours.iter().zip(&needed).filter(|(_, needed)| needed.is_some());
        let serving: BTreeSet<(&str, &str)> =
            serving.filter_map(|(ours, _)| Some((ours.namespace.as_str(), ours.lease.as_deref()?))).collect();
        for (place, known) in jury.all() {
            let (namespace, name) = place;
            let why = match jury.verdict(namespace, name) {
                _ if !known.ours => "it is none that a session made".to_owned(),
                _ if known.is_later() => "its session is one of a later version of kubetether".to_owned(),
                Verdict::Dead if serving.contains(&(namespace, name)) => {
                    "what its session made is still needed".to_owned()
                }
                Verdict::Dead => {
                    sweep.bury.push((namespace.clone(), known.clone()));
                    continue;
                }
                verdict => format!("its session{}", stays_because(verdict, &known.note.who)),
            };
            living.insert(namespace);
            sweep.outcome.stays(namespace, format!("leases/{name}"), &why);
        }
        for (ours, needed) in seen.ours.iter().zip(needed) {
            let verdict = seen.verdict(jury, ours);
            let may_go = match (ours.role.as_deref(), verdict) {
                // Shared, or of nobody in particular.
                (Some(names::ROLE_GATEWAY) | None, _) | (_, None) => {
                    all || !living.contains(ours.namespace.as_str())
                }
                (_, Some(verdict)) => all || verdict == Verdict::Dead,
            };
            match needed {
                _ if !may_go => {}
                Some(why) => sweep.outcome.stays(&ours.namespace, ours.object(), &why),
                None => {
                    let lease = ours.lease.clone().or_else(|| holder_of(&seen, ours));
                    sweep.remove.push((ours.clone(), lease));
                }
            }
        }
        // Of those that several share, what has an owner that stays is not ours to take.
        let going: Vec<Ours> = sweep.remove.iter().map(|(ours, _)| ours.clone()).collect();
        let going: Vec<&Ours> = going.iter().collect();
        sweep.remove.retain(|(ours, _)| ours.kind != Kind::ConfigMap || !ours.has_owners_but(&going));
        let left = seen.ours.iter().filter(|ours| seen.verdict(jury, ours) == Some(Verdict::Dead));
        let left: Vec<&Ours> = left.collect();
        let left_by_the_dead =
            seen.taken.iter().filter(|taken| left.iter().any(|ours| taken.is_served_by(ours)));
        let left_by_the_dead: BTreeSet<String> =
            left_by_the_dead.map(|taken| taken.uid().to_owned()).collect();
        for taken in seen.taken {
            let alive: Vec<&str> = taken
                .holders
                .iter()
                .filter(|holder| jury.verdict(&taken.namespace, &holder.lease) != Verdict::Dead)
                .map(|holder| holder.lease.as_str())
                .collect();
            let object = format!("services/{}", taken.name);
            match (&taken.original, alive.as_slice()) {
                (Err(unknown), _) if unknown.later && !left_by_the_dead.contains(taken.uid()) => {
                    sweep.outcome.stays(&taken.namespace, object, &unknown.why);
                }
                (Err(unknown), _) => {
                    let error = unknown.error(&taken.name);
                    sweep.outcome.failed(&taken.namespace, object, error);
                }
                (Ok(_), []) => sweep.restore.push(taken),
                (Ok(_), _) if all => sweep.restore.push(taken),
                (Ok(_), alive) => {
                    let why = format!("leases/{} holds it and is not dead", alive.join(", leases/"));
                    sweep.outcome.stays(&taken.namespace, object, &why);
                }
            }
        }
        if all {
            sweep.tell = seen.returned;
        }
        sweep.slices = seen.ours;
        sweep.slices.retain(|ours| ours.kind == Kind::EndpointSlice);
        sweep.outcome.unseen = seen.unseen;
        sweep
    }

    /// What would be done.
    pub(super) fn told(mut self) -> Cleaned {
        let done = &mut self.outcome.done;
        done.extend(self.restore.iter().map(restored));
        let deleted = self.remove.iter().map(|(ours, _)| (ours.namespace.clone(), ours.object()));
        let buried =
            self.bury.iter().map(|(namespace, known)| (namespace.clone(), format!("leases/{}", known.name)));
        done.extend(deleted.chain(buried).map(|(namespace, object)| Removal::Deleted { namespace, object }));
        self.outcome
    }

    /// `linger`: how long the interceptor of a Service that was put back goes on.
    pub(super) async fn run(
        mut self,
        cluster: &Cluster,
        by: &str,
        linger: Duration,
        deadline: Deadline,
    ) -> Cleaned {
        let mut outcome = std::mem::take(&mut self.outcome);
        // Nothing of a session is touched before its Lease is gone, unchanged since it was found dead: one that came
        // back is seen here, and one that comes back later sees it.
        let mut spared = Spared::default();
        for (namespace, known) in &self.bury {
            let object = format!("leases/{}", known.name);
            let place = (namespace.clone(), known.name.clone());
            match lease::bury(&cluster.in_namespace(namespace), known, deadline).await {
                Ok(true) => outcome.done.push(Removal::Deleted { namespace: namespace.clone(), object }),
                Ok(false) => {
                    outcome.stays(namespace, object, "its session has come back");
                    spared.leases.insert(place);
                }
                Err(error) => {
                    outcome.failed(namespace, object, error);
                    spared.leases.insert(place);
                }
            }
        }
        for returned in &self.tell {
            if let Err(error) = returned.tell(cluster, by, deadline).await {
                outcome.failed(&returned.namespace, format!("services/{}", returned.name), error);
            }
        }
        for taken in &self.restore {
            if taken.holders.iter().any(|holder| spared.holds(&taken.namespace, &holder.lease)) {
                outcome.stays(&taken.namespace, format!("services/{}", taken.name), "its holder stays");
                spared.serve(taken);
                continue;
            }
            match self.put_back(cluster, taken, by, deadline).await {
                Ok(PutBack::Done) => outcome.done.push(restored(taken)),
                // Another sweep was quicker, or its user.
                Ok(PutBack::Free) => {}
                Ok(PutBack::Another) => {
                    spared.serve(taken);
                    let object = format!("services/{}", taken.name);
                    outcome.stays(&taken.namespace, object, "somebody has taken it meanwhile");
                }
                Err(error) => {
                    // Its interceptor goes on passing its callers through.
                    spared.serve(taken);
                    outcome.failed(&taken.namespace, format!("services/{}", taken.name), error);
                }
            }
        }
        if outcome.done.iter().any(|done| matches!(done, Removal::Restored { .. })) {
            // Nodes learn of it at their own pace, and lead callers to the interceptor until then.
            tokio::time::sleep(linger.min(deadline.left())).await;
        }
        let (kept, going): (Vec<_>, Vec<_>) =
            self.remove.iter().partition(|(ours, lease)| spared.keeps(ours, lease.as_deref()));
        for (ours, _) in kept {
            outcome.stays(&ours.namespace, ours.object(), "it serves what stays");
        }
        let going: Vec<&Ours> = going.into_iter().map(|(ours, _)| ours).collect();
        for (ours, removed) in objects::remove(cluster, &going, deadline).await {
            let (namespace, object) = (ours.namespace.clone(), ours.object());
            match removed {
                Ok(true) => outcome.done.push(Removal::Deleted { namespace, object }),
                // Somebody else's by now.
                Ok(false) => {}
                Err(error) => outcome.failed(&namespace, object, error),
            }
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
        let put_back = put_back_live(&there, &taken.name, original, same, deadline);
        objects::clear_the_way(&there, taken, &self.slices, put_back, deadline).await
    }
}

/// What turned out to stay while the plan was carried out.
#[derive(Debug, Default)]
struct Spared<'a> {
    /// Leases of sessions that came back.
    leases: BTreeSet<Place>,
    /// Services that were not put back.
    services: Vec<&'a Taken>,
}

impl<'a> Spared<'a> {
    /// Nothing of those who hold it, and nothing that serves it, is taken away.
    fn serve(&mut self, taken: &'a Taken) {
        let leases = taken.holders.iter().map(|holder| holder.lease.clone());
        self.leases.extend(leases.map(|lease| (taken.namespace.clone(), lease)));
        self.services.push(taken);
    }

    fn holds(&self, namespace: &str, lease: &str) -> bool {
        self.leases.contains(&(namespace.to_owned(), lease.to_owned()))
    }

    fn keeps(&self, ours: &Ours, lease: Option<&str>) -> bool {
        lease.is_some_and(|lease| self.holds(&ours.namespace, lease))
            || self.services.iter().any(|taken| taken.is_served_by(ours))
    }
}

/// Why an interceptor has to stay though nobody is there who made it: callers may have no other way.
fn needed(jury: &Jury, seen: &Seen, ours: &Ours) -> Option<String> {
    if ours.role.as_deref() != Some(names::ROLE_INTERCEPTOR) {
        return None;
    }
    if seen.services_unseen {
        return Some("its Service may lead to it, and may not be looked at".to_owned());
    }
    let known = ours.lease.as_deref().and_then(|lease| jury.known(&ours.namespace, lease));
    if known.is_some_and(Known::is_later) {
        return Some("it is one of a later version of kubetether".to_owned());
    }
    let lost = seen.taken.iter().find(|taken| taken.original.is_err() && taken.is_served_by(ours))?;
    Some(format!("services/{} leads to it, and cannot be put back", lost.name))
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
