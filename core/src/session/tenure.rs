//! Under which Lease the session stands. One that is another one than before means: somebody took the session for dead.

use tokio::sync::watch;

/// The session's Lease, as it was seen last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The Lease's uid; empty before there is one.
    pub(crate) uid: String,
    /// How often the Lease was taken away.
    pub(crate) deaths: u32,
}

/// Tells whoever wants to know.
#[derive(Debug, Default)]
pub(crate) struct Tenure(watch::Sender<Standing>);

impl Tenure {
    /// The session's Lease is this one.
    pub(crate) fn stands(&self, uid: &str) {
        self.0.send_if_modified(|now| {
            let changes = now.uid != uid;
            if changes {
                now.deaths += u32::from(!now.uid.is_empty());
                uid.clone_into(&mut now.uid);
            }
            changes
        });
    }

    pub(crate) fn now(&self) -> Standing {
        self.0.borrow().clone()
    }

    /// How it stands, now and from now on.
    pub(crate) fn watch(&self) -> watch::Receiver<Standing> {
        self.0.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_lease_is_a_death() {
        let tenure = Tenure::default();
        tenure.stands("a");
        let mut watch = tenure.watch();
        tenure.stands("a");
        assert!(!watch.has_changed().unwrap());
        assert_eq!(tenure.now().deaths, 0);
        tenure.stands("b");
        assert!(watch.has_changed().unwrap());
        assert_eq!(*watch.borrow_and_update(), Standing { uid: "b".into(), deaths: 1 });
    }
}
