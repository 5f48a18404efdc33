//! Which figures somebody wants.

/// Parts of figures' ids, as in `link`, `link.down` or `link.down.1`; none means all.
#[derive(Debug)]
pub(crate) struct Wanted(Vec<String>);

impl Wanted {
    pub(crate) fn new(ids: Vec<String>) -> Self {
        Self(ids)
    }

    /// Whether figures of this id, or of this beginning of ids, are wanted.
    pub(crate) fn has(&self, id: &str) -> bool {
        let within = |one: &str, other: &str| {
            one.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.0.is_empty() || self.0.iter().any(|one| within(one, id) || within(id, one))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_wanted_by_their_beginnings() {
        let wanted = Wanted::new(vec!["link.down".to_owned(), "agent".to_owned()]);
        let has = ["link", "link.down", "link.down.1", "agent.rss"].map(|id| wanted.has(id));
        assert_eq!(has, [true; 4]);
        assert_eq!(["link.up", "link.downs", "session"].map(|id| wanted.has(id)), [false; 3]);
        assert!(Wanted::new(Vec::new()).has("anything"));
    }
}
