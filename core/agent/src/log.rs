//! Log lines on standard error, one per event: `+12.345s WARN message key=value`.
//!
//! The engine quotes a pod's last lines in its errors, so they are short and say what happened in words.
//! Own code instead of tracing-subscriber, which is larger than all else in this crate together.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::str::FromStr;
use std::time::Instant;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// How much is logged: `off`, `error`, `warn`, `info`, `debug` or `trace`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level(LevelFilter);

impl Default for Level {
    fn default() -> Self {
        Self(LevelFilter::INFO)
    }
}

impl FromStr for Level {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "off" => Ok(Self(LevelFilter::OFF)),
            "error" => Ok(Self(LevelFilter::ERROR)),
            "warn" => Ok(Self(LevelFilter::WARN)),
            "info" => Ok(Self(LevelFilter::INFO)),
            "debug" => Ok(Self(LevelFilter::DEBUG)),
            "trace" => Ok(Self(LevelFilter::TRACE)),
            _ => Err("is not one of off, error, warn, info, debug, trace"),
        }
    }
}

/// The subscriber. Spans are not followed: every event carries its own fields.
#[derive(Debug)]
pub struct Log {
    level: LevelFilter,
    start: Instant,
}

/// Longer lines are cut: a log line is for reading.
const LINE_MAX: usize = 2048;

impl Log {
    /// Logs what is at `level` or more severe. Other crates' events are logged only where they are errors, or
    /// at `trace`: they put names and addresses at levels where this crate must not.
    pub fn new(level: Level) -> Self {
        Self { level: level.0, start: Instant::now() }
    }

    /// Makes this the process's logger. The first call wins.
    #[allow(clippy::disallowed_methods, reason = "the agent is the host of its process")]
    pub fn install(self) {
        // Only fails when there is a logger, which then stays.
        let _ = tracing::subscriber::set_global_default(self);
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        if metadata.is_span() {
            return false;
        }
        let ours = metadata.target().starts_with("kubetether");
        let limit = if ours || self.level == LevelFilter::TRACE {
            self.level
        } else {
            self.level.min(LevelFilter::ERROR)
        };
        *metadata.level() <= limit
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line { text: String::with_capacity(160), fields: String::new() };
        let since = self.start.elapsed();
        // Writing to a String does not fail.
        let _ = write!(
            line.text,
            "+{}.{:03}s {}",
            since.as_secs(),
            since.subsec_millis(),
            event.metadata().level()
        );
        event.record(&mut line);
        line.text.push_str(&line.fields);
        let mut text = line.text.replace(['\n', '\r'], " ");
        if text.len() > LINE_MAX {
            text.truncate(text.floor_char_boundary(LINE_MAX));
        }
        text.push('\n');
        // A closed stderr must not stop the agent.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Line {
    text: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.text, " {value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let _ = match field.name() {
            "message" => write!(self.text, " {value}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let _ = write!(self.fields, " {}={value}", field.name());
        let mut cause = value.source();
        while let Some(error) = cause {
            let _ = write!(self.fields, ": {error}");
            cause = error.source();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read() {
        assert_eq!("warn".parse(), Ok(Level(LevelFilter::WARN)));
        assert!("loud".parse::<Level>().is_err());
    }
}
