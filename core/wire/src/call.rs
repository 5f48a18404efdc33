//! Calls: one request and one answer on a stream of kind [`Open::Call`](crate::Open::Call). Fields are coded by tag;
//! unknown ones are skipped unless they are critical, missing ones have the meaning of zero or empty unless said otherwise.

mod answer;
mod request;

use std::{fmt, time::Duration};

pub use self::{
    answer::{Answer, Status},
    request::Request,
};
use crate::code::CallCode;

/// The most bytes a request or an answer may have: 1 MiB.
pub const MAX_CALL: usize = 1 << 20;

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub struct CallFailure {
    /// For programs.
    pub code: CallCode,
    /// For people; may be empty.
    pub text: String,
}

/// The field that tells which call it is, of requests and answers alike.
const CALL: u64 = 1;

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

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DecodeError, code::Role};

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
