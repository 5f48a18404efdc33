//! Who is there, what they hold, since when, and how it stands.

use std::time::Duration;

use super::Unseen;
use super::objects::{Kind, Ours};
use super::survey::{Seen, Survey, Taken};
use crate::cluster::Cluster;
use crate::cluster::lease::{self, judge::Verdict};
use crate::exchange::note::Holder;
use crate::exchange::put_back::is_taken;
use crate::plain;
use crate::{Config, Deadline, Result};

/// Between two looks of a watch.
const LOOK: Duration = Duration::from_secs(2);
/// A look takes no longer, with a server that answers.
const ONE_LOOK: Duration = Duration::from_secs(30);
/// What is looked at beside Services and Leases.
const KINDS: [Kind; 3] = [Kind::Deployment, Kind::Job, Kind::Service];

/// Settings of [`status`].
#[derive(Clone, Debug)]
pub struct StatusOptions {
    all_namespaces: bool,
    patience: Duration,
}

impl Default for StatusOptions {
    fn default() -> Self {
        Self { all_namespaces: false, patience: lease::DURATION + Duration::from_secs(5) }
    }
}

impl StatusOptions {
    /// The settings that suit most users.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// All namespaces instead of the one of the [`Config`]; needs the rights there, too. Default: no.
    #[must_use]
    pub fn all_namespaces(mut self, yes: bool) -> Self {
        self.all_namespaces = yes;
        self
    }

    /// How long to watch whether sessions live: one that lives is seen within 10 s, one that is dead after 30 s. What is
    /// not known by then is [`Life::Unknown`]. Default: 35 s, which is enough; it ends as soon as all is known.
    #[must_use]
    pub fn patience(mut self, duration: Duration) -> Self {
        self.patience = duration.min(crate::deadline::YEAR);
        self
    }
}

/// Whether a session lives. No clocks are compared: its Lease is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Life {
    /// It was not watched long enough to know.
    Unknown,
    /// It renewed its Lease while it was watched.
    Lives,
    /// It did not for as long as its Lease holds, or has none.
    Dead,
}

impl Life {
    /// The word for it: `unknown`, `lives` or `dead`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Lives => "lives",
            Self::Dead => "dead",
        }
    }
}

impl From<Verdict> for Life {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Unclear => Self::Unknown,
            Verdict::Lives => Self::Lives,
            Verdict::Dead => Self::Dead,
        }
    }
}

/// Where the traffic of a Service that is held goes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Condition {
    /// It is led to its holder. One that cannot be reached at the moment is passed by, which only the holder knows.
    Active,
    /// To the original pods; the reason says why.
    PassThrough(String),
    /// Perhaps to nobody; the reason says why.
    Broken(String),
    /// What it depends on may not be looked at.
    Unknown,
}

/// A session that is there, or that something in the cluster names.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionStatus {
    /// The namespace.
    pub namespace: String,
    /// The name of its Lease.
    pub lease: String,
    /// `user@host`, as it called itself; `None` when its Lease is gone.
    pub who: Option<String>,
    /// When it began, RFC 3339, by its own machine's clock.
    pub started: Option<String>,
    /// Whether it lives.
    pub life: Life,
}

/// A Service that is held.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServiceStatus {
    /// The namespace.
    pub namespace: String,
    /// The Service's name.
    pub service: String,
    /// How it is held: `exchange`. Later versions know more.
    pub mode: String,
    /// Which of its ports go to the holder.
    pub ports: Vec<u16>,
    /// The Lease of the session that holds it; empty when nobody knows.
    pub lease: String,
    /// Who that is, as it called itself; `None` when its Lease is gone.
    pub who: Option<String>,
    /// Since when, RFC 3339, by the holder's clock, where it said so.
    pub since: Option<String>,
    /// Whether the holder lives.
    pub life: Life,
    /// Where its traffic goes.
    pub condition: Condition,
}

/// What there is in a namespace, or in all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// By namespace and Lease.
    pub sessions: Vec<SessionStatus>,
    /// By namespace and name.
    pub services: Vec<ServiceStatus>,
    /// Objects of dead sessions, or of nobody, as `namespace plural/name`: [`clean`](crate::clean) takes them away.
    pub leftovers: Vec<String>,
    /// What may not be looked at, so that something may be missing here.
    pub unseen: Vec<Unseen>,
}

impl Status {
    /// Whether it is known of each session if it lives.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.sessions.iter().all(|session| session.life != Life::Unknown)
    }

    /// Whether nothing of kubetether's is there, as far as may be seen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.services.is_empty() && self.leftovers.is_empty()
    }
}

/// Who is there and what they hold. Changes nothing. Cancel-safe.
///
/// # Errors
/// [`Kubeconfig`](crate::ErrorCode::Kubeconfig), [`Unreachable`](crate::ErrorCode::Unreachable),
/// [`Unauthorized`](crate::ErrorCode::Unauthorized), [`Deadline`](crate::ErrorCode::Deadline) within the
/// [`start_deadline`](Config::start_deadline); [`NoSuchNamespace`](crate::ErrorCode::NoSuchNamespace) as far as this user
/// may look at namespaces. What may not be looked at is no error: see [`Status::unseen`].
pub async fn status(config: &Config, options: StatusOptions) -> Result<Status> {
    let patience = options.patience;
    let mut watch = watch_status(config, options).await?;
    watch.settled(Deadline::after(patience)).await
}

/// The same, as it changes. Cancel-safe.
///
/// # Errors
/// As [`status`].
pub async fn watch_status(config: &Config, options: StatusOptions) -> Result<StatusWatch> {
    let deadline = Deadline::after(config.start_deadline);
    let (cluster, _) = Cluster::connect(config, deadline).await?;
    Ok(StatusWatch {
        survey: Survey::new(cluster, options.all_namespaces),
        first: deadline,
        last: None,
        due: tokio::time::Instant::now(),
    })
}

/// A status that is watched.
#[derive(Debug)]
pub struct StatusWatch {
    survey: Survey,
    /// For the first look.
    first: Deadline,
    last: Option<Status>,
    /// When to look next.
    due: tokio::time::Instant,
}

impl StatusWatch {
    /// At first how it is, at once, when little is known of who lives; then, each time it has changed, how it is then.
    /// Cancel-safe.
    ///
    /// # Errors
    /// When the cluster does not answer; the next call tries again.
    pub async fn next(&mut self) -> Result<Status> {
        loop {
            let now = self.look().await?;
            if self.last.as_ref() != Some(&now) {
                self.last = Some(now.clone());
                return Ok(now);
            }
        }
    }

    /// Watches until it is known of each session whether it lives, or the time is over. Cancel-safe.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub async fn settled(&mut self, deadline: impl Into<Deadline>) -> Result<Status> {
        let deadline = deadline.into();
        loop {
            let now = self.look().await?;
            if now.is_settled() || deadline.left() <= LOOK {
                self.last = Some(now.clone());
                return Ok(now);
            }
        }
    }

    async fn look(&mut self) -> Result<Status> {
        tokio::time::sleep_until(self.due).await;
        let limit = if self.last.is_none() { self.first.at_least(LOOK) } else { Deadline::after(ONE_LOOK) };
        let seen = self.survey.look(&KINDS, limit).await;
        self.due = tokio::time::Instant::now() + LOOK;
        let status = tell(&self.survey, seen?);
        if self.last.is_none() && status.is_empty() {
            self.survey.namespace_is_there(limit).await?;
        }
        Ok(status)
    }
}

fn tell(survey: &Survey, seen: Seen) -> Status {
    let mut status = Status::default();
    for ((namespace, lease), known) in survey.jury.all() {
        status.sessions.push(SessionStatus {
            namespace: namespace.clone(),
            lease: lease.clone(),
            who: Some(known.note.who.clone()),
            started: Some(known.note.started.clone()),
            life: survey.jury.verdict(namespace, lease).into(),
        });
    }
    for taken in &seen.taken {
        if taken.holders.is_empty() {
            status.services.push(held(survey, &seen, taken, None));
        }
        for holder in &taken.holders {
            status.services.push(held(survey, &seen, taken, Some(holder)));
            name_session(&mut status, survey, &taken.namespace, &holder.lease);
        }
    }
    for ours in &seen.ours {
        if let Some(lease) = &ours.lease {
            name_session(&mut status, survey, &ours.namespace, lease);
        }
        let useless = match ours.kind {
            Kind::Deployment => {
                seen.verdict(&survey.jury, ours).is_none_or(|verdict| verdict == Verdict::Dead)
            }
            Kind::Job => !status.sessions.iter().any(|session| may_use(session, ours)),
            _ => false,
        };
        if useless {
            status.leftovers.push(format!("{} {}", ours.namespace, ours.object()));
        }
    }
    status.sessions.sort_by(|a, b| (&a.namespace, &a.lease).cmp(&(&b.namespace, &b.lease)));
    status.services.sort_by(|a, b| (&a.namespace, &a.service).cmp(&(&b.namespace, &b.service)));
    status.leftovers.sort();
    status.unseen = seen.unseen;
    status
}

fn may_use(session: &SessionStatus, gateway: &Ours) -> bool {
    session.namespace == gateway.namespace && session.life != Life::Dead
}

/// A session whose Lease is gone, but not all that was its.
fn name_session(status: &mut Status, survey: &Survey, namespace: &str, lease: &str) {
    let known = |session: &SessionStatus| session.namespace == namespace && session.lease == lease;
    if !lease.is_empty() && !status.sessions.iter().any(known) {
        status.sessions.push(SessionStatus {
            namespace: namespace.to_owned(),
            lease: lease.to_owned(),
            who: None,
            started: None,
            life: survey.jury.verdict(namespace, lease).into(),
        });
    }
}

fn held(survey: &Survey, seen: &Seen, taken: &Taken, holder: Option<&Holder>) -> ServiceStatus {
    let lease = holder.map(|holder| holder.lease.clone()).unwrap_or_default();
    let life: Life = match holder {
        Some(holder) => survey.jury.verdict(&taken.namespace, &holder.lease).into(),
        None => Life::Unknown,
    };
    ServiceStatus {
        namespace: taken.namespace.clone(),
        service: taken.name.clone(),
        mode: holder.map_or_else(|| "unknown".to_owned(), |holder| plain::line(&holder.mode)),
        ports: holder.map(|holder| holder.ports.clone()).unwrap_or_default(),
        who: survey.jury.known(&taken.namespace, &lease).map(|known| known.note.who.clone()),
        since: holder.and_then(|holder| holder.since.as_deref()).map(plain::line),
        condition: condition(seen, taken, holder, life),
        lease,
        life,
    }
}

fn condition(seen: &Seen, taken: &Taken, holder: Option<&Holder>, life: Life) -> Condition {
    if let Err(unknown) = &taken.original {
        return Condition::Broken(unknown.why.clone());
    }
    if !is_taken(&taken.live) {
        return Condition::PassThrough("the Service leads to its own pods".to_owned());
    }
    let hidden = seen.unseen.iter().any(|unseen| unseen.what == "deployments");
    let interceptor = holder.map(|holder| holder.interceptor.as_str()).unwrap_or_default();
    let of_it = |ours: &&Ours| {
        ours.kind == Kind::Deployment && ours.namespace == taken.namespace && belongs(ours, interceptor)
    };
    let ready: Vec<i32> = seen.ours.iter().filter(of_it).filter_map(|ours| ours.ready).collect();
    match (life, ready.as_slice()) {
        (_, []) if hidden => Condition::Unknown,
        (_, []) => Condition::Broken("its interceptor is gone".to_owned()),
        (_, ready) if ready.iter().all(|ready| *ready == 0) => {
            Condition::Broken("its interceptor is not ready".to_owned())
        }
        (Life::Dead, _) => Condition::PassThrough("the session that holds it is dead".to_owned()),
        (Life::Lives | Life::Unknown, _) => Condition::Active,
    }
}

/// An interceptor may have a second Deployment, whose name is its own and a suffix.
fn belongs(ours: &Ours, interceptor: &str) -> bool {
    [Some(&ours.name), ours.instance.as_ref()].into_iter().flatten().any(|name| {
        name.strip_prefix(interceptor).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    })
}
