//! What there is in the cluster of kubetether's, and what of it lives.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Namespace, Service};
use kube::api::Api;

use super::Unseen;
use super::objects::{self, Kind, Ours};
use crate::cluster::lease::judge::{Jury, Verdict, hear_all};
use crate::cluster::{Cluster, names};
use crate::exchange::note::{Holder, Note, Original};
use crate::exchange::put_back::{by_way_back, is_taken};
use crate::{Deadline, Error, ErrorCode, Result};

/// Interceptors of one session seldom begin anew more often.
const GENERATIONS: u32 = 16;

/// Looks at a namespace or at all of them, over and over; remembers which Leases it has seen renewed.
#[derive(Debug)]
pub(crate) struct Survey {
    pub(crate) cluster: Cluster,
    everywhere: bool,
    pub(crate) jury: Jury,
    /// Whether Leases may be listed; else only those are looked at that something names.
    lists_leases: bool,
}

/// What one look showed.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Services that an interception holds, or of which one is left.
    pub(crate) taken: Vec<Taken>,
    /// Objects of ours.
    pub(crate) ours: Vec<Ours>,
    /// Services that nobody holds now, though sessions have an interceptor for them.
    pub(crate) returned: Vec<Returned>,
    /// Whether Services may not be listed.
    pub(crate) services_unseen: bool,
    pub(crate) unseen: Vec<Unseen>,
}

impl Seen {
    /// What is known of the session that an object of ours serves; `None` when it says of none.
    pub(crate) fn verdict(&self, jury: &Jury, ours: &Ours) -> Option<Verdict> {
        let of = |lease: &str| jury.verdict(&ours.namespace, lease);
        if let Some(lease) = &ours.lease {
            return Some(of(lease));
        }
        let holders = self.taken.iter().filter(|taken| taken.namespace == ours.namespace);
        let mut holders = holders.flat_map(|taken| &taken.holders);
        let holder = holders.find(|holder| Some(&holder.interceptor) == ours.instance.as_ref());
        holder.map(|holder| of(&holder.lease))
    }
}

/// A Service that is not as its user wants it.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) live: Service,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) holders: Vec<Holder>,
    /// What it was, as far as that can be known; else why not.
    pub(crate) original: Result<Original, Unknown>,
}

/// Why it is not known what a Service was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unknown {
    pub(crate) why: String,
    /// A later version of kubetether knows.
    pub(crate) later: bool,
}

impl Unknown {
    /// The Service cannot be put back because of it.
    pub(crate) fn error(&self, service: &str) -> Error {
        let object = format!("services/{service}");
        let text = format!("{object} cannot be put back: {}", self.why);
        let hint = if self.later {
            "update this kubetether"
        } else {
            "apply its manifest again; then remove the annotation kubetether.dev/exchange, if it has one"
        };
        Error::new(ErrorCode::NotRestored, text).on(object).try_this(hint)
    }
}

/// A Service that nobody holds now, though sessions have an interceptor for it: they may have put it back for a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Returned {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    /// The Leases of those sessions.
    pub(crate) leases: Vec<String>,
}

impl Returned {
    /// `None` when no session has an interceptor for it.
    pub(crate) fn of(live: &Service, ours: &[Ours]) -> Option<Self> {
        let namespace = live.metadata.namespace.clone().unwrap_or_default();
        let uid = live.metadata.uid.clone().unwrap_or_default();
        let back = ours.iter().filter(|one| one.kind == Kind::Service && one.serves(live));
        let leases: BTreeSet<String> = back.filter_map(|back| back.lease.clone()).collect();
        let leases: Vec<String> = leases.into_iter().collect();
        let name = live.metadata.name.clone().unwrap_or_default();
        (!leases.is_empty()).then_some(Self { namespace, name, uid, leases })
    }
}

impl Taken {
    pub(crate) fn uid(&self) -> &str {
        self.live.metadata.uid.as_deref().unwrap_or_default()
    }

    /// Whether an object of ours serves it, by its note or by how it was made.
    pub(crate) fn is_served_by(&self, ours: &Ours) -> bool {
        let held_by = |holder: &Holder| Some(&holder.interceptor) == ours.instance.as_ref();
        self.namespace == ours.namespace && (self.holders.iter().any(held_by) || ours.serves(&self.live))
    }

    /// What there is to know of a Service, with what of ours is beside it. `None` for one that nobody holds.
    pub(crate) fn of(live: Service, ours: &[Ours]) -> Option<Self> {
        let namespace = live.metadata.namespace.clone().unwrap_or_default();
        let name = live.metadata.name.clone().unwrap_or_default();
        let (holders, original) = match Note::of(&live) {
            Ok(Some(note)) => (note.holders, Ok(note.original)),
            Ok(None) if !is_taken(&live) => return None,
            // Nothing of what a later version wrote is touched.
            Err(error) if Note::is_later(&live) => {
                (Vec::new(), Err(Unknown { why: error.to_string(), later: true }))
            }
            // Its note was taken off or spoilt; what leads back to its pods still knows.
            noteless => {
                let back = ours.iter().find(|one| one.kind == Kind::Service && one.serves(&live));
                let original = back.and_then(|back| back.service.as_deref()).map(by_way_back);
                let lost = || match noteless {
                    Err(error) => error.to_string(),
                    Ok(_) => format!("services/{name} says nowhere what it was"),
                };
                let lease = back.and_then(|back| back.lease.clone());
                let holders = lease.map(|lease| anonymous(lease, back)).into_iter().collect();
                (holders, original.ok_or_else(|| Unknown { why: lost(), later: false }))
            }
        };
        Some(Self { live, namespace, name, holders, original })
    }
}

fn anonymous(lease: String, back: Option<&Ours>) -> Holder {
    let interceptor = back.and_then(|back| back.instance.clone()).unwrap_or_default();
    let text =
        serde_json::json!({ "lease": lease, "mode": "exchange", "ports": [], "interceptor": interceptor });
    serde_json::from_value(text).unwrap_or_else(|_| unreachable!("all fields are there"))
}

impl Ours {
    /// Whether it was made for this Service.
    fn serves(&self, live: &Service) -> bool {
        let (uid, name) = (live.metadata.uid.as_deref(), live.metadata.name.as_deref());
        let (uid, name) = (uid.unwrap_or_default(), name.unwrap_or_default());
        if Some(&self.namespace) != live.metadata.namespace.as_ref() {
            return false;
        }
        // What its interceptor's Deployment owns bears a name made for this Service.
        let session = self.lease.as_deref().and_then(names::session_of_lease).unwrap_or_default();
        let instance = self.instance.as_deref().unwrap_or_default();
        let made_for =
            |generation| names::interceptor(name, uid, &names::session_key(session, generation)) == instance;
        self.is_owned_by(uid) || (0..GENERATIONS).any(made_for)
    }
}

impl Survey {
    pub(crate) fn new(cluster: Cluster, everywhere: bool) -> Self {
        Self { cluster, everywhere, jury: Jury::default(), lists_leases: true }
    }

    /// Looks at all Services and Leases, and at our objects of these kinds. Cancel-safe.
    pub(crate) async fn look(&mut self, kinds: &[Kind], deadline: Deadline) -> Result<Seen> {
        let services = self.cluster.list_in::<Service>(self.everywhere, "", deadline);
        let objects = objects::find(&self.cluster, self.everywhere, kinds, deadline);
        let (services, objects) = futures_util::future::join(services, objects).await;
        let (ours, mut unseen) = objects?;
        let services_unseen = matches!(&services, Err(error) if error.code() == ErrorCode::Forbidden);
        let services = match services {
            Err(error) if services_unseen => {
                unseen.retain(|other| other.what != error.object().unwrap_or_default());
                unseen.push(Unseen::new(&error));
                Vec::new()
            }
            services => services?,
        };
        let (mut taken, mut returned) = (Vec::new(), Vec::new());
        for service in services {
            let free = Returned::of(&service, &ours);
            match Taken::of(service, &ours) {
                Some(one) => taken.push(one),
                None => returned.extend(free),
            }
        }
        for taken in &taken {
            for holder in &taken.holders {
                self.jury.summon(&taken.namespace, &holder.lease);
            }
        }
        for ours in &ours {
            if let Some(lease) = &ours.lease {
                self.jury.summon(&ours.namespace, lease);
            }
        }
        if let Some(hidden) = self.look_at_leases(deadline).await? {
            unseen.push(hidden);
        }
        Ok(Seen { taken, ours, returned, services_unseen, unseen })
    }

    /// Lists of a namespace that does not exist are empty: makes sure that it does, as far as this user may look.
    pub(crate) async fn namespace_is_there(&self, deadline: Deadline) -> Result<()> {
        if self.everywhere {
            return Ok(());
        }
        let name = self.cluster.namespace();
        let namespaces: Api<Namespace> = Api::all(self.cluster.client().clone());
        let object = format!("namespaces/{name}");
        match self.cluster.request("get", &object, deadline, namespaces.get_opt(name)).await {
            Ok(None) => {
                let error = Error::new(ErrorCode::NoSuchNamespace, format!("there is no namespace {name}"));
                Err(error.on(object).try_this("`kubectl get namespaces` lists those there are"))
            }
            Err(error) if error.code() != ErrorCode::Forbidden => Err(error),
            _ => Ok(()),
        }
    }

    /// Watches until all sessions are judged, or the time is over. Cancel-safe.
    pub(crate) async fn judge(&mut self, deadline: Deadline) -> Result<()> {
        self.jury.judge(&self.cluster, deadline).await
    }

    async fn look_at_leases(&mut self, deadline: Deadline) -> Result<Option<Unseen>> {
        let mut hidden = None;
        if self.lists_leases {
            match hear_all(&mut self.jury, &self.cluster, self.everywhere, deadline).await {
                Err(error) if error.code() == ErrorCode::Forbidden => {
                    self.lists_leases = false;
                    hidden = Some(Unseen::new(&error));
                }
                heard => return heard.map(|()| None),
            }
        }
        match self.jury.look(&self.cluster, deadline, |_| true).await {
            // Nothing is known of any of them then.
            Err(error) if error.code() == ErrorCode::Forbidden => {
                hidden = hidden.or_else(|| Some(Unseen::new(&error)));
            }
            looked => looked?,
        }
        Ok(hidden.or_else(|| Some(Unseen::leases())))
    }
}
