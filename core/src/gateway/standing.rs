//! How the gateway stands, as told by the keeper of the one that is in use.

use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use crate::cluster::agent_link::Health;

/// How the gateway stands; up before there is one.
#[derive(Debug)]
pub(super) struct Standing {
    /// Who may tell. A keeper that still awaits another gateway must not be believed when somebody else found one.
    newest: Mutex<Teller>,
    // the task that keeps the gateway -> whoever needs it
    health: watch::Sender<Health>,
}

/// The keeper of one gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Teller(u64);

impl Default for Standing {
    fn default() -> Self {
        Self { newest: Mutex::default(), health: watch::Sender::new(Health::Up) }
    }
}

impl Standing {
    pub(super) fn subscribe(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// There is another gateway: from now on only its keeper is believed.
    pub(super) fn next(&self) -> Teller {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.0 += 1;
        *newest
    }

    /// Tells how it stands, also to `also`; does nothing when there is a newer gateway.
    pub(super) fn tell(&self, teller: Teller, health: Health, also: impl FnOnce(Health)) {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if *newest != teller {
            return;
        }
        also(health.clone());
        self.health.send_if_modified(|now| {
            let changes = *now != health;
            *now = health;
            changes
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keeper_of_a_former_gateway_is_not_believed() {
        let standing = Standing::default();
        let health = standing.subscribe();
        let mut told = Vec::new();
        let former = standing.next();
        standing.tell(former, Health::Down("gone".to_owned()), |health| told.push(health));
        assert_eq!(*health.borrow(), Health::Down("gone".to_owned()));
        // Somebody else finds another one while the former keeper pauses.
        let newest = standing.next();
        standing.tell(newest, Health::Up, |health| told.push(health));
        standing.tell(former, Health::Down("no gateway".to_owned()), |health| told.push(health));
        assert_eq!(*health.borrow(), Health::Up);
        assert_eq!(told, [Health::Down("gone".to_owned()), Health::Up]);
    }
}
