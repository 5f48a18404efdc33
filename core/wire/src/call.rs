//! Calls: one request and one answer on a stream of kind [`Open::Call`](crate::Open::Call). Fields are coded by tag;
//! unknown ones are skipped unless they are critical, missing ones have the meaning of zero or empty unless said otherwise.

use std::{fmt, net::SocketAddr, time::Duration};

use crate::{
    DecodeError,
    code::{CallCode, Role},
    tlv::{Field, Reader, Writer},
};

/// The most bytes a request or an answer may have: 1 MiB.
pub const MAX_CALL: usize = 1 << 20;

/// What a client asks of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// How are you? Any role.
    Status,
    /// From now on, connections to these ports of the Service go to the link this call came on. Interceptor only; refused
    /// ([`CallCode::Held`]) while another live link is armed.
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

/// What an agent answers. [`Answer::Failed`] may answer any request; else the kind is that of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To [`Request::Status`].
    Status(Status),
    /// To [`Request::Arm`]: armed.
    Arm {
        /// The Service's port numbers that go to the client now, in order.
        exposed: Vec<u16>,
    },
    /// To [`Request::Disarm`].
    Disarm {
        /// Connections of callers that are still open towards the client.
        open_flows: u64,
    },
    /// To [`Request::Probe`].
    Probe {
        /// Connections that were accepted.
        connected: u8,
        /// Connections that were not.
        failed: u8,
        /// The last failure, for people.
        last_error: String,
    },
    /// To [`Request::Prove`].
    Prove {
        /// Connections that arrived at this agent.
        here: u8,
        /// Connections that arrived somewhere else.
        elsewhere: u8,
        /// Connections that were not accepted.
        failed: u8,
        /// The last failure, for people.
        last_error: String,
    },
    /// To [`Request::Drain`].
    Drain {
        /// Whether the agent drains now.
        accepted: bool,
        /// How many other clients are attached.
        other_clients: u32,
    },
    /// The call failed.
    Failed(CallFailure),
    /// An answer of a later version.
    Unknown(u32),
}

/// How an agent is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Its job.
    pub role: Role,
    /// Its software version.
    pub version: String,
    /// The random name of this process: another one after a restart.
    pub incarnation: [u8; 16],
    /// Time since it started.
    pub uptime: Duration,
    /// Links that are attached.
    pub clients: u32,
    /// Connections that are open.
    pub flows: u64,
    /// Resident memory in bytes, 0 if not known.
    pub rss_bytes: u64,
    /// Whether an interceptor is armed.
    pub armed: bool,
    /// The most resident memory so far in bytes (the kernel's `VmHWM`), 0 if not known.
    pub peak_bytes: u64,
    /// CPU time the process has used so far in microseconds, 0 if not known.
    pub cpu_us: u64,
    /// Connections that may be open at once, 0 if not known.
    pub most_flows: u64,
    /// Connections that were refused since there was no room for them.
    pub refused_flows: u64,
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub struct CallFailure {
    /// For programs.
    pub code: CallCode,
    /// For people; may be empty.
    pub text: String,
}

const CALL: u64 = 1;
// Requests.
const EXPOSED: u64 = 2;
const HOLDER: u64 = 3;
const PORT: u64 = 4;
const TIMES: u64 = 5;
const DEADLINE_MS: u64 = 6;
const ADDRESS: u64 = 7;
// Answers.
const ERROR_CODE: u64 = 2;
const ERROR_TEXT: u64 = 3;
const ROLE: u64 = 4;
const VERSION: u64 = 5;
const INCARNATION: u64 = 6;
const UPTIME_MS: u64 = 7;
const CLIENTS: u64 = 8;
const FLOWS: u64 = 9;
const RSS_BYTES: u64 = 10;
const ARMED: u64 = 11;
const CONNECTED: u64 = 12;
const ELSEWHERE: u64 = 13;
const FAILED: u64 = 14;
const ACCEPTED: u64 = 15;
const ARMED_PORT: u64 = 16;
const PEAK_BYTES: u64 = 17;
const CPU_US: u64 = 18;
const MOST_FLOWS: u64 = 19;
const REFUSED_FLOWS: u64 = 20;

const STATUS_CALL: u32 = 1;
const ARM_CALL: u32 = 2;
const DISARM_CALL: u32 = 3;
const PROBE_CALL: u32 = 4;
const PROVE_CALL: u32 = 5;
const DRAIN_CALL: u32 = 6;
/// Not a call: the number of an answer that says why there is none.
const FAILED_CALL: u32 = 0;

/// The most ports one request may name: a Service has far fewer.
const MAX_PORTS: usize = 4096;

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
    /// When a field is missing, cut or out of range; the agent answers [`CallCode::Malformed`]. When one is unknown and
    /// critical ([`DecodeError::Critical`]); the agent answers [`CallCode::Unsupported`].
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

impl Answer {
    /// A failure as an answer.
    pub fn failed(code: CallCode, text: impl Into<String>) -> Self {
        Self::Failed(CallFailure::new(code, text))
    }

    /// The bytes of the answer.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        match self {
            Self::Status(status) => {
                out.number(CALL, STATUS_CALL.into()).number(ROLE, status.role.number().into());
                out.text(VERSION, &status.version).bytes(INCARNATION, &status.incarnation);
                out.number(UPTIME_MS, millis(status.uptime)).number(CLIENTS, status.clients.into());
                out.number(FLOWS, status.flows).number(RSS_BYTES, status.rss_bytes);
                out.number(ARMED, status.armed.into());
                // Of later agents, and zero where it is not known: not sent then.
                for (tag, value) in [
                    (PEAK_BYTES, status.peak_bytes),
                    (CPU_US, status.cpu_us),
                    (MOST_FLOWS, status.most_flows),
                    (REFUSED_FLOWS, status.refused_flows),
                ] {
                    if value > 0 {
                        out.number(tag, value);
                    }
                }
            }
            Self::Arm { exposed } => {
                out.number(CALL, ARM_CALL.into());
                for port in exposed {
                    out.number(ARMED_PORT, (*port).into());
                }
            }
            Self::Disarm { open_flows } => {
                out.number(CALL, DISARM_CALL.into()).number(FLOWS, *open_flows);
            }
            Self::Probe { connected, failed, last_error } => {
                out.number(CALL, PROBE_CALL.into()).number(CONNECTED, (*connected).into());
                out.number(FAILED, (*failed).into()).text(ERROR_TEXT, last_error);
            }
            Self::Prove { here, elsewhere, failed, last_error } => {
                out.number(CALL, PROVE_CALL.into()).number(CONNECTED, (*here).into());
                out.number(ELSEWHERE, (*elsewhere).into()).number(FAILED, (*failed).into());
                out.text(ERROR_TEXT, last_error);
            }
            Self::Drain { accepted, other_clients } => {
                out.number(CALL, DRAIN_CALL.into()).number(ACCEPTED, (*accepted).into());
                out.number(CLIENTS, (*other_clients).into());
            }
            Self::Failed(CallFailure { code, text }) => {
                out.number(CALL, FAILED_CALL.into()).number(ERROR_CODE, code.number().into());
                out.text(ERROR_TEXT, text);
            }
            Self::Unknown(number) => {
                out.number(CALL, (*number).into());
            }
        }
        out.finish()
    }

    /// Reads an answer.
    ///
    /// # Errors
    /// When a field is missing, cut or out of range.
    pub fn decode(input: &[u8]) -> Result<Self, DecodeError> {
        let mut seen = Seen::default();
        for field in Reader::new(input) {
            seen.take(&field?)?;
        }
        let Seen { call, code, text, role, version, incarnation, .. } = seen;
        match call.ok_or(DecodeError::Missing("the call"))? {
            STATUS_CALL => Ok(Self::Status(Status {
                role: role.ok_or(DecodeError::Missing("the role"))?,
                version,
                incarnation: incarnation.ok_or(DecodeError::Missing("the incarnation"))?,
                uptime: seen.uptime,
                clients: seen.clients,
                flows: seen.flows,
                rss_bytes: seen.rss_bytes,
                armed: seen.armed,
                peak_bytes: seen.peak_bytes,
                cpu_us: seen.cpu_us,
                most_flows: seen.most_flows,
                refused_flows: seen.refused_flows,
            })),
            ARM_CALL => Ok(Self::Arm { exposed: seen.exposed }),
            DISARM_CALL => Ok(Self::Disarm { open_flows: seen.flows }),
            PROBE_CALL => {
                Ok(Self::Probe { connected: seen.connected, failed: seen.failed, last_error: text })
            }
            PROVE_CALL => Ok(Self::Prove {
                here: seen.connected,
                elsewhere: seen.elsewhere,
                failed: seen.failed,
                last_error: text,
            }),
            DRAIN_CALL => Ok(Self::Drain { accepted: seen.accepted, other_clients: seen.clients }),
            FAILED_CALL => {
                let code = code.ok_or(DecodeError::Missing("the error's code"))?;
                Ok(Self::Failed(CallFailure { code, text }))
            }
            number => Ok(Self::Unknown(number)),
        }
    }
}

impl CallFailure {
    /// A failure with a reason for programs and one for people.
    pub fn new(code: CallCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

impl fmt::Display for CallFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.text.is_empty() { self.code.fmt(f) } else { write!(f, "{}: {}", self.code, self.text) }
    }
}

/// The fields of any answer, as far as they were there.
#[derive(Default)]
struct Seen {
    call: Option<u32>,
    code: Option<CallCode>,
    text: String,
    role: Option<Role>,
    version: String,
    incarnation: Option<[u8; 16]>,
    uptime: Duration,
    clients: u32,
    flows: u64,
    rss_bytes: u64,
    armed: bool,
    peak_bytes: u64,
    cpu_us: u64,
    most_flows: u64,
    refused_flows: u64,
    connected: u8,
    elsewhere: u8,
    failed: u8,
    accepted: bool,
    exposed: Vec<u16>,
}

impl Seen {
    fn take(&mut self, field: &Field<'_>) -> Result<(), DecodeError> {
        match field.tag {
            CALL => self.call = Some(field.number("the call")?),
            ERROR_CODE => self.code = Some(CallCode::from_number(field.number("the error's code")?)),
            ERROR_TEXT => self.text = field.text(),
            ROLE => self.role = Some(Role::from_number(field.number("the role")?)),
            VERSION => self.version = field.text(),
            INCARNATION => self.incarnation = Some(field.array("the incarnation")?),
            UPTIME_MS => self.uptime = Duration::from_millis(field.number("the uptime")?),
            CLIENTS => self.clients = field.number("the number of clients")?,
            FLOWS => self.flows = field.number("the number of flows")?,
            RSS_BYTES => self.rss_bytes = field.number("the memory")?,
            ARMED => self.armed = field.number::<u64>("armed")? != 0,
            PEAK_BYTES => self.peak_bytes = field.number("the most memory")?,
            CPU_US => self.cpu_us = field.number("the CPU time")?,
            MOST_FLOWS => self.most_flows = field.number("the most flows")?,
            REFUSED_FLOWS => self.refused_flows = field.number("the number of refused flows")?,
            CONNECTED => self.connected = field.number("the number connected")?,
            ELSEWHERE => self.elsewhere = field.number("the number elsewhere")?,
            FAILED => self.failed = field.number("the number failed")?,
            ARMED_PORT if self.exposed.len() >= MAX_PORTS => {
                return Err(DecodeError::TooLong { what: "the list of ports", limit: MAX_PORTS });
            }
            ARMED_PORT => self.exposed.push(field.number("an armed port")?),
            ACCEPTED => self.accepted = field.number::<u64>("accepted")? != 0,
            _ => field.unknown()?,
        }
        Ok(())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_round_trip() {
        let deadline = Duration::from_secs(3);
        for request in [
            Request::Status,
            Request::Arm { exposed: vec![80, 443], holder: "ann@box".into() },
            Request::Disarm,
            Request::Probe { port: 80, times: 3, deadline },
            Request::Prove { port: 80, address: "10.96.0.7:80".parse().unwrap(), times: 3, deadline },
            Request::Drain,
            Request::Unknown(900),
        ] {
            assert_eq!(Request::decode(&request.encode()), Ok(request));
        }
    }

    #[test]
    fn answers_round_trip() {
        for answer in [
            Answer::Status(Status {
                role: Role::Interceptor,
                version: "0.1.0".into(),
                incarnation: [7; 16],
                uptime: Duration::from_millis(1234),
                clients: 1,
                flows: 17,
                rss_bytes: 5_000_000,
                armed: true,
                peak_bytes: 6_000_000,
                cpu_us: 1,
                most_flows: 16_384,
                refused_flows: 2,
            }),
            Answer::Arm { exposed: vec![80, 443] },
            Answer::Disarm { open_flows: 4 },
            Answer::Probe { connected: 2, failed: 1, last_error: "refused".into() },
            Answer::Prove { here: 3, elsewhere: 0, failed: 0, last_error: String::new() },
            Answer::Drain { accepted: false, other_clients: 2 },
            Answer::failed(CallCode::Held, "held by ann@box"),
            Answer::Unknown(900),
        ] {
            assert_eq!(Answer::decode(&answer.encode()), Ok(answer));
        }
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        assert_eq!(Request::decode(&[]), Err(DecodeError::Missing("the call")));
        assert_eq!(Request::decode(&[1, 1, 4]), Err(DecodeError::Missing("the port")));
        assert_eq!(Answer::decode(&[1, 1]), Err(DecodeError::Truncated));
        assert_eq!(Request::decode(&[1, 1, 3, 34, 1, 0]), Ok(Request::Disarm));
        assert_eq!(Request::decode(&[1, 1, 3, 33, 1, 0]), Err(DecodeError::Critical(33)));
        assert_eq!(Answer::decode(&[1, 1, 3, 33, 1, 0]), Err(DecodeError::Critical(33)));
        let many = Request::Arm { exposed: vec![1; MAX_PORTS + 1], holder: String::new() };
        assert!(Request::decode(&many.encode()).is_err());
    }
}
