//! What there is in the cluster of kubetether's, and what of it lives.

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
    pub(crate) unseen: Vec<Unseen>,
}

/// A Service that is not as its user wants it.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) live: Service,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) holders: Vec<Holder>,
    /// What it was, as far as that can be known; else why not.
    pub(crate) original: Result<Original, String>,
}

impl Taken {
    pub(crate) fn uid(&self) -> &str {
        self.live.metadata.uid.as_deref().unwrap_or_default()
    }

    /// What there is to know of a Service, with what of ours is beside it. `None` for one that nobody holds.
    pub(crate) fn of(live: Service, ours: &[Ours]) -> Option<Self> {
        let namespace = live.metadata.namespace.clone().unwrap_or_default();
        let name = live.metadata.name.clone().unwrap_or_default();
        let (holders, original) = match Note::of(&live) {
            Ok(Some(note)) => (note.holders, Ok(note.original)),
            Ok(None) if is_taken(&live) => {
                // Its note was taken off; what leads back to its pods still knows.
                let uid = live.metadata.uid.as_deref().unwrap_or_default();
                let back = ours.iter().find(|one| one.leads_back_from(&namespace, uid, &live));
                let original = back.and_then(|back| back.service.as_deref()).map(by_way_back);
                let lost = || format!("services/{name} says nowhere what it was");
                let lease = back.and_then(|back| back.lease.clone());
                (lease.map(|lease| anonymous(lease, back)).into_iter().collect(), original.ok_or_else(lost))
            }
            Ok(None) => return None,
            Err(error) => (Vec::new(), Err(error.to_string())),
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
    /// Whether this is the Service that leads back to the pods of `live`.
    fn leads_back_from(&self, namespace: &str, uid: &str, live: &Service) -> bool {
        if self.kind != Kind::Service || self.namespace != namespace {
            return false;
        }
        let owned = self.service.as_ref().is_some_and(|service| {
            service.metadata.owner_references.iter().flatten().any(|owner| owner.uid == uid)
        });
        // One that its interceptor's Deployment owns bears a name made for this Service.
        let name = live.metadata.name.as_deref().unwrap_or_default();
        let session = self.lease.as_deref().and_then(names::session_of_lease).unwrap_or_default();
        let instance = self.instance.as_deref().unwrap_or_default();
        let made_for =
            |generation| names::interceptor(name, uid, &names::session_key(session, generation)) == instance;
        owned || (0..GENERATIONS).any(made_for)
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
        let services = match services {
            Err(error) if error.code() == ErrorCode::Forbidden => {
                unseen.retain(|other| other.what != error.object().unwrap_or_default());
                unseen.push(Unseen::new(&error));
                Vec::new()
            }
            services => services?,
        };
        let taken: Vec<Taken> =
            services.into_iter().filter_map(|service| Taken::of(service, &ours)).collect();
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
        Ok(Seen { taken, ours, unseen })
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

    /// What is known of the session that an object of ours serves; `None` when it says of none.
    pub(crate) fn verdict(&self, seen: &Seen, ours: &Ours) -> Option<Verdict> {
        let of = |lease: &str| self.jury.verdict(&ours.namespace, lease);
        if let Some(lease) = &ours.lease {
            return Some(of(lease));
        }
        let holders = seen.taken.iter().filter(|taken| taken.namespace == ours.namespace);
        let mut holders = holders.flat_map(|taken| &taken.holders);
        let holder = holders.find(|holder| Some(&holder.interceptor) == ours.instance.as_ref());
        holder.map(|holder| of(&holder.lease))
    }
}
