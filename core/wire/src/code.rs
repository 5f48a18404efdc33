//! Every table of numbers that travels. Append-only: a number is never given a second meaning, and one that is no longer
//! used stays here as a comment. A number this version does not know is kept as `Other`, never an error.

use std::fmt;

macro_rules! codes {
    ($(#[$doc:meta])* $name:ident { $($(#[$item_doc:meta])* $item:ident = $number:literal, $text:literal;)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$item_doc])* $item,)+
            /// A number from a later version.
            Other(u32),
        }

        impl $name {
            /// Every member this version knows, in the order of the table.
            pub const KNOWN: &'static [Self] = &[$(Self::$item,)+];

            /// The number that travels.
            pub fn number(self) -> u32 {
                match self {
                    $(Self::$item => $number,)+
                    Self::Other(number) => number,
                }
            }

            /// The member with this number.
            pub fn from_number(number: u32) -> Self {
                match number {
                    $($number => Self::$item,)+
                    other => Self::Other(other),
                }
            }

            /// A short name for logs and messages.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$item => $text,)+
                    Self::Other(_) => "of a later version",
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    Self::Other(number) => write!(f, concat!(stringify!($name), " {}"), number),
                    known => f.write_str(known.as_str()),
                }
            }
        }
    };
}

codes! {
    /// Which job an end does.
    Role {
        /// The engine, on a developer's machine.
        Client = 1, "client";
        /// Dials out into the cluster.
        Gateway = 2, "gateway";
        /// Receives the traffic of one Service.
        Interceptor = 3, "interceptor";
        /// Stands in a workload's context.
        Twin = 4, "twin";
    }
}

codes! {
    /// Why a stream was not opened.
    RefusalCode {
        /// The destination refused the connection.
        Refused = 1, "connection refused";
        /// No route to the destination.
        Unreachable = 2, "unreachable";
        /// The destination did not answer in time.
        TimedOut = 3, "timed out";
        /// The name has no address.
        NameNotFound = 4, "name not found";
        /// The other end may not or will not do this.
        NotAllowed = 5, "not allowed";
        /// Too many streams or descriptors are open.
        Limit = 6, "limit reached";
        /// The other end is about to leave.
        Draining = 7, "draining";
        /// The other end's version cannot do this.
        Unsupported = 8, "not supported";
        /// Something broke on the other end.
        Internal = 9, "internal error";
    }
}

codes! {
    /// Why a stream was cut.
    ResetCode {
        /// The connection behind the stream was reset (RST).
        Reset = 1, "connection reset";
        /// The program at the other end dropped the stream.
        Dropped = 2, "dropped";
        /// No carrier came back within the grace period.
        LinkLost = 3, "link lost";
        /// The link was closed.
        LinkClosed = 4, "link closed";
        /// The agent is not the one that held the stream.
        AgentRestarted = 5, "agent restarted";
        /// The connection behind the stream timed out.
        TimedOut = 6, "timed out";
        /// Something broke on the other end.
        Internal = 7, "internal error";
        /// The one who opened the stream gave up before it was answered.
        Cancelled = 8, "cancelled";
        /// The destination of datagrams refused them: nobody listens there (ICMP port unreachable).
        Refused = 9, "refused";
        /// The destination of datagrams cannot be reached (ICMP unreachable).
        Unreachable = 10, "unreachable";
        /// No datagram went either way for a while.
        Idle = 11, "idle";
    }
}

impl GoodbyeCode {
    /// Whether it is only said, on a link that is up, which goes on whether it is known or not: [`Draining`](Self::Draining)
    /// and all codes from 64 on. Unknown ones below end the link.
    pub fn is_notice(self) -> bool {
        self == Self::Draining || self.number() >= 64
    }
}

codes! {
    /// Why a carrier is turned away or a link ends.
    GoodbyeCode {
        /// The other end closed the link.
        Closed = 1, "closed";
        /// A resumed link is not known here: the agent is another one, or its grace period has passed.
        UnknownLink = 2, "unknown link";
        /// The other end is about to leave. On a link that is up this is a notice: the link stays, no new one is taken.
        Draining = 3, "draining";
        /// No common protocol version.
        Version = 4, "no common version";
        /// The secret of the link is another one.
        Secret = 5, "wrong secret";
        /// Too many links or carriers.
        Busy = 6, "busy";
        /// The peer broke the protocol.
        Protocol = 7, "protocol error";
        /// Something broke on the other end.
        Internal = 8, "internal error";
        /// No carrier came back within the grace period.
        LinkLost = 9, "link lost";
        /// The agent is not the one the client resumes with.
        AgentRestarted = 10, "agent restarted";
        /// The peer is not of the role it must have.
        Role = 11, "wrong role";
        /// The sender is done with this carrier, and with nothing else: the link lives.
        Carrier = 12, "carrier given up";
        /// The sender puts nothing new on this carrier, and nothing at all once the receiver has said the same. A notice.
        Retiring = 64, "carrier retires";
    }
}

codes! {
    /// Why a call failed.
    CallCode {
        /// The agent does not know this call, or not with these values.
        Unsupported = 1, "not supported";
        /// The request cannot be read.
        Malformed = 2, "malformed";
        /// The agent's role has no such call.
        NotAllowed = 3, "not allowed";
        /// Another client holds it.
        Held = 4, "held by another client";
        /// The interceptor is not armed.
        NotArmed = 5, "not armed";
        /// It took too long.
        TimedOut = 6, "timed out";
        /// Too much at once.
        Busy = 7, "busy";
        /// Something broke in the agent.
        Internal = 8, "internal error";
        /// The Service has no such port here.
        NoSuchPort = 9, "no such port";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_trip_and_unknown_ones_are_kept() {
        for code in RefusalCode::KNOWN {
            assert_eq!(RefusalCode::from_number(code.number()), *code);
        }
        assert_eq!(ResetCode::from_number(4_000_000_000), ResetCode::Other(4_000_000_000));
        assert_eq!(ResetCode::Other(77).number(), 77);
        assert_eq!(GoodbyeCode::Other(77).to_string(), "GoodbyeCode 77");
    }
}
