//! How the cluster comes through the deaths that nobody plans.

use std::fmt;

/// What an exchange got: it depends on the rights of the user who started it.
///
/// Both nets are tried in the order of their strength, and a right that is missing is no error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Safety {
    /// What becomes of the Service when this process dies without a word.
    pub client: ClientDeath,
    /// What callers meet when the interceptor's pod is gone.
    pub interceptor: InterceptorDeath,
}

/// What becomes of an exchanged Service whose client is dead. In either case its callers are with the original pods
/// within seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientDeath {
    /// The interceptor passes connections through to the original pods until somebody sweeps.
    PassesThrough,
    /// After the [`grace`](crate::Config::grace) period the interceptor puts the Service back and takes itself away.
    /// Needs the right to create Roles and RoleBindings (as in the cluster role `admin`).
    Restored,
}

/// What callers of an exchanged Service meet whose interceptor is gone. In any case Kubernetes starts another one, and
/// one that is asked to go passes through until it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InterceptorDeath {
    /// When it is killed without a warning, nobody answers until the next one is ready.
    Replaced,
    /// There is a second interceptor, on another node where there is one, and evictions take one at a time. Needs the
    /// right to create PodDisruptionBudgets (as in the cluster role `edit`).
    TwoInterceptors,
    /// The nodes lead callers to the original pods as soon as no interceptor is ready: an EndpointSlice lists those
    /// as terminating. Needs the right to create EndpointSlices (as in `cluster-admin`).
    FallbackSlice,
}

impl Default for Safety {
    /// The least.
    fn default() -> Self {
        Self { client: ClientDeath::PassesThrough, interceptor: InterceptorDeath::Replaced }
    }
}

impl ClientDeath {
    /// A word for programs, which never changes.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PassesThrough => "passes_through",
            Self::Restored => "restored",
        }
    }
}

impl InterceptorDeath {
    /// A word for programs, which never changes.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Replaced => "replaced",
            Self::TwoInterceptors => "two_interceptors",
            Self::FallbackSlice => "fallback_slice",
        }
    }
}

impl fmt::Display for Safety {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let client = match self.client {
            ClientDeath::PassesThrough => "its traffic is passed through until somebody sweeps",
            ClientDeath::Restored => "the Service is put back from inside the cluster",
        };
        let interceptor = match self.interceptor {
            InterceptorDeath::Replaced => "another one takes its place",
            InterceptorDeath::TwoInterceptors => "a second one goes on",
            InterceptorDeath::FallbackSlice => "the original pods answer at once",
        };
        write!(f, "should this process die, {client}; should the interceptor die, {interceptor}")
    }
}
