use std::{net::SocketAddr, time::Duration};

use super::{
    ARM_CALL, CALL, DISARM_CALL, DRAIN_CALL, MAX_PORTS, PROBE_CALL, PROVE_CALL, STATUS_CALL, millis,
};
use crate::{
    DecodeError,
    tlv::{Reader, Writer},
};

/// What a client asks of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// How are you? Any role.
    Status,
    /// From now on, connections to these ports of the Service go to the link this call came on. Interceptor only; refused
    /// ([`CallCode::Held`](crate::CallCode::Held)) while another live link is armed.
    Arm {
        /// The Service's port numbers (TCP).
        exposed: Vec<u16>,
        /// Who holds it, for people.
        holder: String,
    },
    /// From now on, everything goes to the originals again. Interceptor only.
    Disarm,
    /// Connect to the originals of one port and close again, without a byte.
    Probe {
        /// The Service's port number.
        port: u16,
        /// How often.
        times: u8,
        /// For all of it.
        deadline: Duration,
    },
    /// Connect to the Service's own address and tell whether the connection arrives here.
    Prove {
        /// The Service's port number.
        port: u16,
        /// The Service's address and port.
        address: SocketAddr,
        /// How often.
        times: u8,
        /// For all of it.
        deadline: Duration,
    },
    /// You are about to be taken away: take no new client (gateway; only when nobody else is attached), end at once at
    /// SIGTERM when no flow is open (interceptor).
    Drain,
    /// A call of a later version.
    Unknown(u32),
}

const EXPOSED: u64 = 2;
const HOLDER: u64 = 3;
const PORT: u64 = 4;
const TIMES: u64 = 5;
const DEADLINE_MS: u64 = 6;
const ADDRESS: u64 = 7;

impl Request {
    /// The bytes of the request.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.number(CALL, self.number().into());
        match self {
            Self::Status | Self::Disarm | Self::Drain | Self::Unknown(_) => {}
            Self::Arm { exposed, holder } => {
                for port in exposed {
                    out.number(EXPOSED, (*port).into());
                }
                out.text(HOLDER, holder);
            }
            Self::Probe { port, times, deadline } => {
                out.number(PORT, (*port).into()).number(TIMES, (*times).into());
                out.number(DEADLINE_MS, millis(*deadline));
            }
            Self::Prove { port, address, times, deadline } => {
                out.number(PORT, (*port).into()).number(TIMES, (*times).into());
                out.number(DEADLINE_MS, millis(*deadline)).address(ADDRESS, *address);
            }
        }
        out.finish()
    }

    /// Reads a request.
    ///
    /// # Errors
    /// When a field is missing, cut or out of range; the agent answers [`CallCode::Malformed`](crate::CallCode::Malformed). When one is unknown and
    /// critical ([`DecodeError::Critical`]); the agent answers [`CallCode::Unsupported`](crate::CallCode::Unsupported).
    pub fn decode(input: &[u8]) -> Result<Self, DecodeError> {
        let (mut call, mut exposed, mut holder) = (None, Vec::new(), String::new());
        let (mut port, mut times, mut deadline, mut address) = (None, 1, Duration::ZERO, None);
        for field in Reader::new(input) {
            let field = field?;
            match field.tag {
                CALL => call = Some(field.number("the call")?),
                EXPOSED if exposed.len() >= MAX_PORTS => {
                    return Err(DecodeError::TooLong { what: "the list of ports", limit: MAX_PORTS });
                }
                EXPOSED => exposed.push(field.number("an exposed port")?),
                HOLDER => holder = field.text(),
                PORT => port = Some(field.number("the port")?),
                TIMES => times = field.number("the number of times")?,
                DEADLINE_MS => deadline = Duration::from_millis(field.number("the deadline")?),
                ADDRESS => address = Some(field.address("the address")?),
                _ => field.unknown()?,
            }
        }
        let port = port.ok_or(DecodeError::Missing("the port"));
        match call.ok_or(DecodeError::Missing("the call"))? {
            STATUS_CALL => Ok(Self::Status),
            ARM_CALL => Ok(Self::Arm { exposed, holder }),
            DISARM_CALL => Ok(Self::Disarm),
            PROBE_CALL => Ok(Self::Probe { port: port?, times, deadline }),
            PROVE_CALL => {
                let address = address.ok_or(DecodeError::Missing("the address"))?;
                Ok(Self::Prove { port: port?, address, times, deadline })
            }
            DRAIN_CALL => Ok(Self::Drain),
            call => Ok(Self::Unknown(call)),
        }
    }

    /// The name of the call, for logs and messages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Arm { .. } => "arm",
            Self::Disarm => "disarm",
            Self::Probe { .. } => "probe",
            Self::Prove { .. } => "prove",
            Self::Drain => "drain",
            Self::Unknown(_) => "unknown",
        }
    }

    fn number(&self) -> u32 {
        match self {
            Self::Status => STATUS_CALL,
            Self::Arm { .. } => ARM_CALL,
            Self::Disarm => DISARM_CALL,
            Self::Probe { .. } => PROBE_CALL,
            Self::Prove { .. } => PROVE_CALL,
            Self::Drain => DRAIN_CALL,
            Self::Unknown(number) => *number,
        }
    }
}
