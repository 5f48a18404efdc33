//! What a stream is opened for, and why one was not.

use std::{fmt, net::SocketAddr, time::Duration};

use crate::{
    DecodeError,
    code::RefusalCode,
    tlv::{Reader, Writer},
};

/// The longest host name or address text, in bytes (a DNS name has 253; an IPv6 address with a zone is shorter).
pub const MAX_HOST: usize = 255;

/// What a stream is opened for. Fields are coded by tag, so that later versions can add some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Open {
    /// Client to gateway: TCP to a host as seen from the cluster.
    Dial {
        /// A name or an address, at most [`MAX_HOST`] bytes.
        host: String,
        /// The TCP port.
        port: u16,
        /// How long the far end may try; zero means its own default.
        deadline: Duration,
    },
    /// Interceptor to client: a connection that came for the Service.
    Inbound {
        /// The Service's port number.
        port: u16,
        /// Who connected, as the interceptor sees it.
        from: SocketAddr,
        /// The interceptor's own address of that connection.
        to: SocketAddr,
    },
    /// Client to gateway: UDP to a host as seen from the cluster. An association: it carries datagrams, and no bytes.
    DialDatagrams {
        /// A name or an address, at most [`MAX_HOST`] bytes.
        host: String,
        /// The UDP port.
        port: u16,
        /// How long the far end may look the name up; zero means its own default.
        deadline: Duration,
    },
    /// Interceptor to client: datagrams of one caller for the Service. An association.
    InboundDatagrams {
        /// The Service's port number.
        port: u16,
        /// Who sends, as the interceptor sees it.
        from: SocketAddr,
        /// The interceptor's own address that they came to.
        to: SocketAddr,
    },
    /// Client to agent: one request, one answer (see [`Request`](crate::Request)).
    Call,
    /// A kind of a later version; it is refused as [`RefusalCode::Unsupported`] by the link itself.
    Unknown(u32),
}

/// Why a stream was not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub struct Refusal {
    /// For programs.
    pub code: RefusalCode,
    /// For people; may be empty.
    pub text: String,
}

const KIND: u64 = 1;
const HOST: u64 = 2;
const PORT: u64 = 3;
const DEADLINE_MS: u64 = 4;
const FROM: u64 = 5;
const TO: u64 = 6;

const DIAL: u32 = 1;
const INBOUND: u32 = 2;
const CALL: u32 = 3;
const DIAL_DATAGRAMS: u32 = 4;
const INBOUND_DATAGRAMS: u32 = 5;

impl Open {
    /// The fields of the OPEN frame.
    ///
    /// # Errors
    /// [`DecodeError::TooLong`] when the host has more than [`MAX_HOST`] bytes.
    pub fn encode(&self) -> Result<Vec<u8>, DecodeError> {
        let mut out = Writer::default();
        let kind = self.kind();
        match self {
            Self::Dial { host, port, deadline } | Self::DialDatagrams { host, port, deadline } => {
                if host.len() > MAX_HOST {
                    return Err(DecodeError::TooLong { what: "the host", limit: MAX_HOST });
                }
                out.number(KIND, kind.into()).bytes(HOST, host.as_bytes()).number(PORT, (*port).into());
                out.number(DEADLINE_MS, u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX));
            }
            Self::Inbound { port, from, to } | Self::InboundDatagrams { port, from, to } => {
                out.number(KIND, kind.into()).number(PORT, (*port).into());
                out.address(FROM, *from).address(TO, *to);
            }
            Self::Call | Self::Unknown(_) => {
                out.number(KIND, kind.into());
            }
        }
        Ok(out.finish())
    }

    /// Whether this is an association: it carries datagrams, and no bytes.
    pub fn is_datagrams(&self) -> bool {
        matches!(self, Self::DialDatagrams { .. } | Self::InboundDatagrams { .. })
    }

    fn kind(&self) -> u32 {
        match self {
            Self::Dial { .. } => DIAL,
            Self::Inbound { .. } => INBOUND,
            Self::Call => CALL,
            Self::DialDatagrams { .. } => DIAL_DATAGRAMS,
            Self::InboundDatagrams { .. } => INBOUND_DATAGRAMS,
            Self::Unknown(kind) => *kind,
        }
    }

    /// Reads the fields of an OPEN frame; unknown ones are skipped unless they are critical.
    ///
    /// # Errors
    /// When a field is missing, cut, out of range, or unknown and critical.
    pub fn decode(input: &[u8]) -> Result<Self, DecodeError> {
        let (mut kind, mut host, mut port) = (None, None, None);
        let (mut deadline, mut from, mut to) = (Duration::ZERO, None, None);
        for field in Reader::new(input) {
            let field = field?;
            match field.tag {
                KIND => kind = Some(field.number("the kind")?),
                HOST => host = Some(field.name("the host", MAX_HOST)?),
                PORT => port = Some(field.number("the port")?),
                DEADLINE_MS => deadline = Duration::from_millis(field.number("the deadline")?),
                FROM => from = Some(field.address("the caller's address")?),
                TO => to = Some(field.address("the address called")?),
                _ => field.unknown()?,
            }
        }
        let port = port.ok_or(DecodeError::Missing("the port"));
        Ok(match kind.ok_or(DecodeError::Missing("the kind"))? {
            kind @ (DIAL | DIAL_DATAGRAMS) => {
                let host = host.filter(|host| !host.is_empty()).ok_or(DecodeError::Missing("the host"))?;
                let port = port?;
                match kind {
                    DIAL => Self::Dial { host, port, deadline },
                    _ => Self::DialDatagrams { host, port, deadline },
                }
            }
            kind @ (INBOUND | INBOUND_DATAGRAMS) => {
                let port = port?;
                let from = from.ok_or(DecodeError::Missing("the caller's address"))?;
                let to = to.ok_or(DecodeError::Missing("the address called"))?;
                match kind {
                    INBOUND => Self::Inbound { port, from, to },
                    _ => Self::InboundDatagrams { port, from, to },
                }
            }
            CALL => Self::Call,
            kind => Self::Unknown(kind),
        })
    }
}

impl Refusal {
    /// A refusal with a reason for programs and one for people.
    pub fn new(code: RefusalCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.text.is_empty() { self.code.fmt(f) } else { write!(f, "{}: {}", self.code, self.text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_round_trips() {
        for open in [
            Open::Dial { host: "db.shop".into(), port: 5432, deadline: Duration::from_millis(1500) },
            Open::Inbound {
                port: 80,
                from: "10.0.0.9:4711".parse().unwrap(),
                to: "[fd00::2]:47200".parse().unwrap(),
            },
            Open::DialDatagrams { host: "kube-dns.kube-system".into(), port: 53, deadline: Duration::ZERO },
            Open::InboundDatagrams {
                port: 53,
                from: "10.0.0.9:4711".parse().unwrap(),
                to: "[fd00::2]:47200".parse().unwrap(),
            },
            Open::Call,
            Open::Unknown(77),
        ] {
            assert_eq!(Open::decode(&open.encode().unwrap()), Ok(open));
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(Open::decode(&[]), Err(DecodeError::Missing("the kind")));
        let no_host = Writer::default().number(KIND, 1).number(PORT, 80).finish();
        assert_eq!(Open::decode(&no_host), Err(DecodeError::Missing("the host")));
        let later = Writer::default().number(KIND, 3).number(34, 1).finish();
        assert_eq!(Open::decode(&later), Ok(Open::Call));
        let critical = Writer::default().number(KIND, 3).number(35, 1).finish();
        assert_eq!(Open::decode(&critical), Err(DecodeError::Critical(35)));
        let long = Open::Dial { host: "x".repeat(256), port: 1, deadline: Duration::ZERO };
        assert!(matches!(long.encode(), Err(DecodeError::TooLong { .. })));
    }
}
