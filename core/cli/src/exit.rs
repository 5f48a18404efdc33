//! What the command's exit code says.

use std::process::ExitCode;

use kubetether::{Error, ErrorClass};

use crate::screen::Screen;

/// How the command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// What was asked was done, and the cluster is as it was.
    Done = 0,
    /// The arguments or settings are wrong.
    Usage = 2,
    /// The cluster cannot be reached or does not allow it.
    Cluster = 3,
    /// The target does not allow it, or was lost.
    Target = 4,
    /// kubetether's own process in the cluster could not do its work.
    Agent = 5,
    /// It took too long, was cancelled while it started, or could not be put back.
    Ended = 6,
    /// A fault of kubetether itself.
    Internal = 70,
    /// Done, but standard output could not be written.
    Unwritten = 74,
    /// Ended at once by a second Ctrl-C, with things left in the cluster.
    Abandoned = 130,
}

/// The table of exit codes, for `--help`.
pub(crate) const HELP: &str = "\
Exit codes:
  0    done; after Ctrl-C, SIGTERM or SIGHUP: the cluster is as it was
  2    arguments or settings are wrong
  3    the cluster cannot be reached, or does not allow it
  4    the target does not allow it, or was lost
  5    kubetether's agent could not do its work
  6    took too long, was cancelled while it started, or could not be put back
  70   a fault of kubetether itself
  74   done, but its result could not be written to standard output
  130  ended at once by a second Ctrl-C, with things left in the cluster";

impl Exit {
    /// This, where what was done could be told as well.
    pub(crate) fn unless_unwritten(self, screen: &Screen) -> Self {
        if self == Self::Done && screen.is_unwritten() { Self::Unwritten } else { self }
    }
}

impl From<&Error> for Exit {
    fn from(error: &Error) -> Self {
        match error.code().class() {
            ErrorClass::Usage => Self::Usage,
            ErrorClass::Cluster => Self::Cluster,
            ErrorClass::Target => Self::Target,
            ErrorClass::Agent => Self::Agent,
            ErrorClass::Ended => Self::Ended,
            ErrorClass::Internal | _ => Self::Internal,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_has_its_code() {
        // The engine makes errors, not we: one it gives for a bad target stands for its class.
        let error = "frob/x".parse::<kubetether::Target>().unwrap_err();
        assert_eq!(Exit::from(&error), Exit::Usage);
    }

    #[test]
    fn the_help_names_every_code() {
        for exit in [
            Exit::Done,
            Exit::Usage,
            Exit::Cluster,
            Exit::Target,
            Exit::Agent,
            Exit::Ended,
            Exit::Internal,
            Exit::Unwritten,
            Exit::Abandoned,
        ] {
            let code = format!("\n  {:<5}", exit as u8);
            assert!(HELP.contains(&code), "{code}");
        }
    }
}
