//! An interceptor that is up, with the way to it.

use std::collections::HashMap;

use super::companion::Companion;
use super::inbound::InboundSlot;
use super::interceptor::Interceptor;
use super::plan::Plan;
use super::removal::{self, Leaving, Served, Useless};
use crate::cluster::agent_link::AgentLink;
use crate::cluster::pod_wait::AgentPod;
use crate::session::Shared;
use crate::{Deadline, Result};

/// An interceptor that is up, with the way to it: in force, or kept for the next exchange of its Service.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) interceptor: Interceptor,
    pub(crate) pod: AgentPod,
    pub(crate) link: AgentLink,
    pub(crate) inbound: InboundSlot,
    /// What it was made for: it serves only a Service that still looks like this.
    pub(super) made_for: Plan,
    /// The second interceptor, while and after the exchange.
    pub(super) companion: Option<Companion>,
    /// How the Service was taken by an exchange that is over; it is put back by this before the interceptor goes.
    pub(super) taken_as: Option<Plan>,
    /// The uid of the session's Lease at the time: whoever takes the session of another one for dead takes this away.
    pub(super) made_under: String,
}

impl Kept {
    pub(super) fn new(
        shared: &Shared,
        interceptor: Interceptor,
        pod: AgentPod,
        link: AgentLink,
        made_for: Plan,
    ) -> Self {
        let inbound = InboundSlot::default();
        let made_under = shared.tenure.now().uid;
        let kept =
            Self { interceptor, pod, link, inbound, made_for, companion: None, taken_as: None, made_under };
        kept.serve(shared);
        kept
    }

    /// The interceptor has another pod now.
    pub(crate) fn moved(&mut self, shared: &Shared, pod: AgentPod, link: AgentLink) {
        (self.pod, self.link) = (pod, link);
        self.serve(shared);
    }

    fn serve(&self, shared: &Shared) {
        let serving = self.inbound.clone().serve((*self.link).clone(), shared.tasks.clone());
        shared.tasks.spawn("inbound connections", serving);
    }

    /// Whether it can serve the Service as it is planned now.
    pub(super) fn fits(&self, plan: &Plan) -> bool {
        let ports = |plan: &Plan| -> Vec<_> {
            plan.ports.iter().map(|port| (port.number, port.protocol.as_str(), port.listen)).collect()
        };
        let living = self.link.is_usable() && *self.link.carriers().borrow() > 0;
        living && ports(&self.made_for) == ports(plan) && self.made_for.original == plan.original
    }

    /// Takes the interceptor away, unless the Service still leads to it and cannot be put back.
    pub(crate) async fn remove(&self, shared: &Shared, deadline: Deadline) -> Result<()> {
        let leaving = Leaving {
            interceptor: &self.interceptor,
            served: Served::by(&self.made_for),
            taken_as: self.taken_as.as_ref(),
            companion: self.companion.as_ref(),
            link: Some(&self.link),
        };
        Box::pin(removal::remove(shared, &leaving, deadline)).await
    }

    /// Another interceptor has taken its place: the Service is that one's to put back, or its exchange's originals by now.
    pub(super) fn succeeded(mut self) -> Useless {
        self.taken_as = None;
        self.inbound.set(None);
        Useless::Kept(Box::new(self))
    }

    /// The Service's name.
    pub(crate) fn service(&self) -> &str {
        &self.made_for.service
    }

    pub(crate) fn service_uid(&self) -> &str {
        &self.made_for.uid
    }

    pub(crate) fn name(&self) -> &str {
        &self.interceptor.name
    }
}

/// The locals of a plan by the Service's port.
pub(crate) fn locals(plan: &Plan) -> HashMap<u16, crate::to::Local> {
    plan.ports.iter().filter_map(|port| Some((port.number, port.local.clone()?))).collect()
}
