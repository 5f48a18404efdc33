//! The table of error codes. Append only: a number once given keeps its meaning for ever.

/// Coarse classes, for exit codes and for decisions of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorClass {
    /// The caller's settings or arguments are wrong.
    Usage,
    /// The cluster cannot be reached, or does not let this user do it.
    Cluster,
    /// The target in the cluster does not allow what was asked.
    Target,
    /// kubetether's own process in the cluster could not do its work.
    Agent,
    /// It took too long, was cancelled, or was already closed.
    Ended,
    /// A fault of kubetether itself.
    Internal,
}

impl ErrorClass {
    /// A word for programs, which never changes.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Cluster => "cluster",
            Self::Target => "target",
            Self::Agent => "agent",
            Self::Ended => "ended",
            Self::Internal => "internal",
        }
    }
}

/// The one table: the number is C's `kt_status`, the text is Node's `error.code`, the name with `Error` behind it is Python's
/// class, and the name in capitals with `KT_` before it is C's constant.
macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident = $number:literal, $text:literal, $class:ident;)*) => {
        /// What kind of failure an [`Error`](super::Error) is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        #[repr(u32)]
        pub enum ErrorCode {
            $($(#[doc = $doc])* $name = $number,)*
        }

        impl ErrorCode {
            /// Every code, in the order of its number.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The name that all languages use, in `snake_case`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The number that all languages use.
            #[must_use]
            pub fn number(self) -> u32 {
                self as u32
            }

            /// The name of its class of exceptions in languages that have such: `NoSuchTargetError`.
            #[must_use]
            pub fn class_name(self) -> &'static str {
                match self { $(Self::$name => concat!(stringify!($name), "Error"),)* }
            }

            /// What it means, in a sentence.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),*).trim_ascii_start(),)* }
            }

            /// The class it belongs to.
            #[must_use]
            pub fn class(self) -> ErrorClass {
                match self { $(Self::$name => ErrorClass::$class,)* }
            }
        }
    };
}

codes! {
    /// An argument or setting makes no sense.
    Config = 100, "config", Usage;
    /// A call of another language gave what is no argument: NULL, text that is not UTF-8, a handle of another kind.
    Argument = 101, "argument", Usage;
    /// No kubeconfig was found, or it cannot be read or used.
    Kubeconfig = 110, "kubeconfig", Usage;
    /// The kubeconfig has no such context.
    NoSuchContext = 111, "no_such_context", Usage;
    /// The agent's file is missing on this machine.
    AgentMissing = 120, "agent_missing", Usage;
    /// A local port or path is taken or cannot be used.
    LocalAddress = 130, "local_address", Usage;
    /// The process was forked from one with sessions.
    Forked = 140, "forked", Usage;

    /// The API server cannot be reached.
    Unreachable = 200, "unreachable", Cluster;
    /// The API server does not know who this is.
    Unauthorized = 201, "unauthorized", Cluster;
    /// RBAC or an admission policy does not allow it.
    Forbidden = 202, "forbidden", Cluster;
    /// The cluster answered with another error.
    Cluster = 203, "cluster", Cluster;

    /// The namespace does not exist.
    NoSuchNamespace = 300, "no_such_namespace", Target;
    /// The Service, workload or pod does not exist.
    NoSuchTarget = 301, "no_such_target", Target;
    /// The target is of a kind or shape that this cannot be done to.
    Unsupported = 302, "unsupported", Target;
    /// Somebody else holds the Service.
    Held = 303, "held", Target;
    /// The Service has no such port, or the choice is ambiguous.
    NoSuchPort = 304, "no_such_port", Target;
    /// The destination refused the connection, or does not answer.
    Refused = 305, "refused", Target;
    /// The destination's name is not known in the cluster.
    NameNotFound = 306, "name_not_found", Target;
    /// The Service or namespace went away, or somebody else took it.
    Lost = 307, "lost", Target;

    /// The agent could not be started: quota, policy, image, scheduling.
    AgentStart = 400, "agent_start", Agent;
    /// The agent runs but cannot be connected to.
    AgentUnreachable = 401, "agent_unreachable", Agent;
    /// The originals could not be reached from the agent.
    PassThrough = 402, "pass_through", Agent;
    /// Traffic of the Service did not arrive here.
    NotProven = 403, "not_proven", Agent;
    /// The agent speaks another version.
    AgentVersion = 404, "agent_version", Agent;

    /// The deadline passed.
    Deadline = 500, "deadline", Ended;
    /// The session or handle is closed.
    Closed = 501, "closed", Ended;
    /// The cluster could not be put back as it was.
    NotRestored = 502, "not_restored", Ended;
    /// Whoever asked for it does not want it any more.
    Cancelled = 503, "cancelled", Ended;

    /// A fault of kubetether itself.
    Internal = 900, "internal", Internal;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_ascend_and_names_are_unique() {
        for pair in ErrorCode::ALL.windows(2) {
            assert!(pair[0].number() < pair[1].number());
        }
        let mut names: Vec<_> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ErrorCode::ALL.len());
    }
}
