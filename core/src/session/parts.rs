//! What a session rests on, and what of it does not work at the moment.

use std::collections::BTreeMap;

use crate::cluster::agent_link::Health;
use crate::{HandleId, SessionState};

/// One thing a session rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// The API server's answers.
    Api,
    /// The link to the gateway.
    Gateway,
    /// The link to the interceptor of this exchange.
    Interceptor(HandleId),
}

/// How each part stands that there is.
#[derive(Debug, Default)]
pub(crate) struct Parts(BTreeMap<Part, Health>);

impl Parts {
    /// Takes down how a part stands.
    pub(crate) fn set(&mut self, part: Part, health: Health) {
        self.0.insert(part, health);
    }

    /// Nothing rests on it any more.
    pub(crate) fn remove(&mut self, part: Part) {
        self.0.remove(&part);
    }

    /// Whether bytes flow on some link, so that the way to the cluster is there.
    pub(crate) fn any_link_up(&self) -> bool {
        self.0.iter().any(|(part, health)| *part != Part::Api && *health == Health::Up)
    }

    /// What this makes of a session that is neither starting nor ending.
    pub(crate) fn state(&self) -> SessionState {
        let mut reasons: Vec<&str> = Vec::new();
        for health in self.0.values() {
            if let Health::Down(reason) = health
                && !reasons.contains(&reason.as_str())
            {
                reasons.push(reason);
            }
        }
        match reasons.as_slice() {
            [] => SessionState::Ready,
            [one] => SessionState::Degraded((*one).to_owned()),
            [first, others @ ..] => {
                SessionState::Degraded(format!("{first} (and {} more: {})", others.len(), others[0]))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn down(reason: &str) -> Health {
        Health::Down(reason.into())
    }

    #[test]
    fn a_session_is_ready_while_nothing_is_down() {
        let mut parts = Parts::default();
        assert_eq!(parts.state(), SessionState::Ready);
        parts.set(Part::Gateway, Health::Up);
        parts.set(Part::Interceptor(HandleId(1)), down("pod gone"));
        assert_eq!(parts.state(), SessionState::Degraded("pod gone".into()));
        assert!(parts.any_link_up());
        parts.set(Part::Gateway, down("refused"));
        assert!(!parts.any_link_up());
        // The API server comes first: it is why the others are down.
        parts.set(Part::Api, down("no answer"));
        assert_eq!(parts.state(), SessionState::Degraded("no answer (and 2 more: refused)".into()));
        parts.set(Part::Api, Health::Up);
        assert!(!parts.any_link_up());
        parts.remove(Part::Gateway);
        parts.remove(Part::Interceptor(HandleId(1)));
        assert_eq!(parts.state(), SessionState::Ready);
    }

    #[test]
    fn one_reason_is_told_once() {
        let mut parts = Parts::default();
        parts.set(Part::Interceptor(HandleId(1)), down("no answer"));
        parts.set(Part::Interceptor(HandleId(2)), down("no answer"));
        assert_eq!(parts.state(), SessionState::Degraded("no answer".into()));
    }
}
