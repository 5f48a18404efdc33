use std::time::Duration;

use super::{
    ARM_CALL, CALL, CallFailure, DISARM_CALL, DRAIN_CALL, FAILED_CALL, MAX_PORTS, PROBE_CALL, PROVE_CALL,
    STATUS_CALL, millis,
};
use crate::{
    DecodeError,
    code::{CallCode, Role},
    tlv::{Field, Reader, Writer},
};

/// What an agent answers. [`Answer::Failed`] may answer any request; else the kind is that of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To [`Request::Status`](super::Request::Status).
    Status(Status),
    /// To [`Request::Arm`](super::Request::Arm): armed.
    Arm {
        /// The Service's port numbers that go to the client now, in order.
        exposed: Vec<u16>,
    },
    /// To [`Request::Disarm`](super::Request::Disarm).
    Disarm {
        /// Connections of callers that are still open towards the client.
        open_flows: u64,
    },
    /// To [`Request::Probe`](super::Request::Probe).
    Probe {
        /// Connections that were accepted.
        connected: u8,
        /// Connections that were not.
        failed: u8,
        /// The last failure, for people.
        last_error: String,
    },
    /// To [`Request::Prove`](super::Request::Prove).
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
    /// To [`Request::Drain`](super::Request::Drain).
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
