//! Tells what happens: for people, or one JSON object per line.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal};
use std::sync::Arc;

use clap::ValueEnum;

use crate::exit::Exit;
use crate::line::{Because, Line};
use crate::screen::Screen;

/// The two ways of telling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Tells lines on the screen.
pub(crate) struct Output {
    format: Format,
    screen: Arc<Screen>,
    colour: bool,
    /// Handles that have been usable: only those can be lost. A start that fails tells so itself.
    usable: BTreeSet<u64>,
    /// Whether a failed start is undone: the error has been told, and matters more than the steps of that.
    undoes: bool,
    /// Handles (0: the session) that were told to be disturbed, so that their coming back is told too.
    disturbed: BTreeSet<u64>,
}

impl Output {
    /// Colours only on a terminal, and not where `NO_COLOR` is set.
    pub(crate) fn new(format: Format, screen: Arc<Screen>) -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self::with_colour(format, screen, io::stderr().is_terminal() && !no_color)
    }

    fn with_colour(format: Format, screen: Arc<Screen>, colour: bool) -> Self {
        Self { format, screen, colour, usable: BTreeSet::new(), disturbed: BTreeSet::new(), undoes: false }
    }

    /// Whether standard error may be coloured.
    pub(crate) fn colour(&self) -> bool {
        self.colour
    }

    /// Whether people look on at a terminal.
    pub(crate) fn is_live(&self) -> bool {
        self.format == Format::Text && self.screen.is_live()
    }

    /// Tells it.
    ///
    /// # Errors
    /// Standard output cannot be written to any more: nobody reads it.
    pub(crate) fn say(&mut self, line: &Line) -> io::Result<()> {
        match self.format {
            Format::Json => self.screen.result(&serde_json::to_string(line)?),
            Format::Text => self.text(line),
        }
    }

    /// Everything that was asked for is usable: tells people at a terminal how to end it.
    pub(crate) fn up(&self) {
        if self.format == Format::Text && self.screen.is_live() {
            self.screen.tell("Ctrl-C puts everything back");
        }
    }

    fn text(&mut self, line: &Line) -> io::Result<()> {
        match line {
            Line::Session(state) => self.state(0, "session", state.state, state.reason.as_deref()),
            Line::Handle { handle, target, state, .. } => {
                self.state(*handle, target, state.state, state.reason.as_deref());
            }
            Line::Progress { .. } if self.undoes && !self.screen.is_live() => {}
            Line::Progress { step, of, what, .. } => self.screen.progress(&format!("[{step}/{of}] {what}")),
            Line::Notice { text, .. } => self.screen.tell(&format!("note: {text}")),
            // The state before it tells people enough; what holds in a death is in the log (-v).
            Line::Safety { .. } | Line::Dropped { .. } | Line::Resumed { .. } => {}
            Line::Exchange { target, namespace, ports, passed_through, .. } => {
                self.screen.progress_over();
                self.screen
                    .result(&format!("{target} in namespace {namespace} now comes to this machine:"))?;
                for port in ports {
                    self.screen.result(&format!("  port {} -> {}", port.service_port, port.local))?;
                }
                for port in passed_through {
                    self.screen.result(&format!("  port {port} -> the original pods"))?;
                }
            }
            Line::Forward { destination, address, .. } => {
                self.screen.progress_over();
                self.screen.result(&format!("{destination} is at {address}"))?;
            }
            Line::Status(told) => self.lines(told.lines())?,
            Line::Clean(told) => self.lines(told.lines())?,
            Line::Recover(told) => self.lines(told.lines())?,
            Line::Closing { because: Because::Failed } => {
                self.screen.progress_over();
                self.undoes = true;
            }
            Line::Closing { because } => {
                self.screen.progress_over();
                self.screen.tell(closing(*because));
            }
            Line::Restored => {
                self.screen.progress_over();
                self.screen.tell("the cluster is as it was");
            }
            Line::Abandoned { namespace, left } => {
                self.screen.progress_over();
                let warning = self.paint(YELLOW, "warning");
                self.screen.tell(&format!(
                    "{warning}: ended before everything was put back; in namespace {namespace} there may be left:"
                ));
                for item in left {
                    self.screen.tell(&format!("  {item}"));
                }
            }
            Line::Error { report, .. } => {
                self.screen.progress_over();
                self.screen.tell(&format!("{}: {report}", self.paint(RED, "error")));
            }
        }
        Ok(())
    }

    /// Tells an error; what it means for the exit code.
    pub(crate) fn fail(&mut self, error: &kubetether::Error) -> Exit {
        // That nobody reads it does not change what happened.
        let _ = self.say(&Line::of_error(error));
        Exit::from(error)
    }

    /// Results, and what people should know besides.
    fn lines(&self, (results, rest): (Vec<String>, Vec<String>)) -> io::Result<()> {
        self.screen.progress_over();
        results.iter().try_for_each(|line| self.screen.result(line))?;
        rest.iter().for_each(|line| self.screen.tell(&format!("note: {line}")));
        Ok(())
    }

    /// Only what is out of the ordinary, and its end: starting and closing are told by their progress.
    fn state(&mut self, handle: u64, what: &str, state: &str, reason: Option<&str>) {
        let reason = reason.unwrap_or("no reason given");
        match state {
            "pass_through" => {
                self.disturbed.insert(handle);
                let warning = self.paint(YELLOW, "warning");
                self.screen.tell(&format!("{warning}: {what} goes to the original pods for now: {reason}"));
            }
            "degraded" => {
                self.disturbed.insert(handle);
                self.screen.tell(&format!("{}: {what}: {reason}", self.paint(YELLOW, "warning")));
            }
            "lost" if self.usable.remove(&handle) => {
                self.screen.tell(&format!("{}: {what} is lost: {reason}", self.paint(RED, "error")));
            }
            "active" | "ready" => {
                self.usable.insert(handle);
                if self.disturbed.remove(&handle) {
                    self.screen.tell(&format!("{what} works again"));
                }
            }
            _ => {}
        }
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colour { format!("{colour}{text}\x1b[0m") } else { text.to_owned() }
    }
}

const RED: &str = "\x1b[1;31m";
const YELLOW: &str = "\x1b[1;33m";

fn closing(because: Because) -> &'static str {
    match because {
        Because::Interrupt => "putting everything back (Ctrl-C again ends at once)",
        Because::Terminate => "putting everything back: asked to end",
        Because::Hangup => "putting everything back: the terminal is gone",
        Because::ReaderGone => "putting everything back: nobody reads the output any more",
        Because::Lost => "putting everything back: nothing is left to serve",
        Because::Failed => "putting everything back",
    }
}

#[cfg(test)]
mod tests;
