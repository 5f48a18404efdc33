//! Looking after a cluster without a session: who is there and what they hold, what a dead session left, and putting one
//! Service back.
//!
//! These calls need no agent, make no object, and no more rights than to read what they tell of, and to change what they
//! put back.

mod clean;
mod objects;
mod recover;
mod status;
mod survey;
mod sweep;

pub use self::clean::{CleanOptions, Cleaned, Left, Removal, clean};
pub use self::recover::{RecoverOptions, Recovered, recover};
pub use self::status::{
    Condition, Life, ServiceStatus, SessionStatus, Status, StatusOptions, StatusWatch, status, watch_status,
};
use crate::Error;

/// Something that this user may not look at, so that nothing is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unseen {
    /// What, as the API server names it: `leases`.
    pub what: String,
    /// The cluster's own words.
    pub why: String,
}

impl Unseen {
    fn new(error: &Error) -> Self {
        Self { what: error.object().unwrap_or_default().to_owned(), why: error.to_string() }
    }

    fn leases() -> Self {
        Self { what: "leases".to_owned(), why: "leases may not be listed".to_owned() }
    }
}
