//! What went through a handle.

/// Counters of an exchange or a forward since its start: the sums of its [flows](crate::Session::flows), those included that
/// are open or forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections that were taken, refused ones included. An association of UDP counts as one.
    pub connections: u64,
    /// Those that are open now.
    pub open: u64,
    /// Those that the target refused.
    pub refused: u64,
    /// Bytes that went to the cluster.
    pub sent: u64,
    /// Bytes that came from the cluster.
    pub received: u64,
}
