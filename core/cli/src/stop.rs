//! The signals that ask the command to end.

use std::io;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::line::Because;

/// Signals this close together are one.
const ECHO: Duration = Duration::from_millis(200);

/// Waits for Ctrl-C, SIGTERM and SIGHUP, from its creation on.
pub(crate) struct Stops {
    interrupt: Signal,
    terminate: Signal,
    /// `None` under `nohup`: who ignores it wants us to outlive the terminal.
    hangup: Option<Signal>,
    /// When the last one came.
    last: Option<Instant>,
}

impl Stops {
    /// # Errors
    /// The system does not let us handle signals.
    pub(crate) fn new() -> io::Result<Self> {
        let hangup = if hangup_ignored() { None } else { Some(signal(SignalKind::hangup())?) };
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup,
            last: None,
        })
    }

    /// The next one. Cancel-safe.
    ///
    /// Wrappers such as `npm run` or `timeout` hand a signal on that the terminal has sent to everybody: what
    /// comes twice within a moment was meant once.
    pub(crate) async fn next(&mut self) -> Because {
        loop {
            let because = self.one().await;
            let echo = self.last.replace(Instant::now()).is_some_and(|last| last.elapsed() < ECHO);
            if !echo {
                return because;
            }
        }
    }

    async fn one(&mut self) -> Because {
        let hangup = async {
            match &mut self.hangup {
                Some(signal) => signal.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => Because::Interrupt,
            _ = self.terminate.recv() => Because::Terminate,
            _ = hangup => Because::Hangup,
        }
    }
}

/// Whether SIGHUP was set to be ignored by whoever started us. Unknown counts as no.
fn hangup_ignored() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores_hangup(&status))
}

fn ignores_hangup(status: &str) -> bool {
    // Bit 0 of the mask is signal 1.
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nohup_is_seen_in_the_mask() {
        assert!(ignores_hangup("Name:\tx\nSigIgn:\t0000000000001001\n"));
        assert!(!ignores_hangup("SigBlk:\t0000000000000001\nSigIgn:\t0000000000001000\n"));
        assert!(!ignores_hangup(""));
    }
}
