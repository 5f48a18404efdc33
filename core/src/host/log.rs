//! The engine's log, for hosts of other languages that ask for it.
//!
//! A Rust program installs a `tracing` subscriber of its own instead. Nothing is installed before [`set_sink`] is called.

use std::cell::Cell;
use std::fmt::{self, Write};
use std::sync::{PoisonError, RwLock};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber, callsite, span};

use crate::{Error, ErrorCode, Result};

/// How much is told; each level with those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Level {
    /// Faults of kubetether itself.
    Error,
    /// Somebody should look.
    Warn,
    /// Steps.
    Info,
    /// Names and addresses.
    Debug,
    /// Packets.
    Trace,
}

/// One line of the log; valid while the sink is called.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Record<'a> {
    /// How much it matters.
    pub level: Level,
    /// The part of the engine, as `kubetether::session`.
    pub target: &'a str,
    /// The text, with `name=value` of its fields behind it.
    pub message: &'a str,
}

type Sink = Box<dyn Fn(&Record<'_>) + Send + Sync>;

/// The process's log is one, as `tracing` has it.
static SINK: RwLock<Option<(LevelFilter, Sink)>> = RwLock::new(None);
static INSTALLED: RwLock<bool> = RwLock::new(false);

thread_local! {
    /// Whether this thread is in the sink: what that logs itself is not told.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Has `sink` called with each line up to `level`, by any thread; replaces the one before. It should be quick, and must neither
/// call the library nor wait for a thread that does: [`clear_sink`] waits for it, and so may whoever logs meanwhile.
///
/// # Errors
/// [`Unsupported`](ErrorCode::Unsupported) when the program has installed a subscriber of its own.
pub fn set_sink(level: Level, sink: impl Fn(&Record<'_>) + Send + Sync + 'static) -> Result<()> {
    install()?;
    *SINK.write().unwrap_or_else(PoisonError::into_inner) = Some((level.into(), Box::new(sink)));
    callsite::rebuild_interest_cache();
    Ok(())
}

/// Ends that. The sink is not called any more when this returns; so it must not be called from within the sink.
pub fn clear_sink() {
    SINK.write().unwrap_or_else(PoisonError::into_inner).take();
    callsite::rebuild_interest_cache();
}

#[expect(clippy::disallowed_methods, reason = "the host asks for it, and cannot do it itself")]
fn install() -> Result<()> {
    let mut installed = INSTALLED.write().unwrap_or_else(PoisonError::into_inner);
    if !*installed {
        tracing::subscriber::set_global_default(ToSink).map_err(|error| {
            Error::new(ErrorCode::Unsupported, "this program has another receiver of kubetether's log")
                .because(error)
                .try_this("read the log there")
        })?;
        *installed = true;
    }
    Ok(())
}

/// Hands the engine's events to the sink, if there is one.
struct ToSink;

impl Subscriber for ToSink {
    /// Asked each time: a line that was met first inside the sink is told outside of it.
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if is_ours(metadata) { Interest::sometimes() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // First: this thread has the lock already, and who takes it twice waits for ever once somebody wants to change it.
        if INSIDE.get() || !is_ours(metadata) {
            return false;
        }
        let level = self.max_level_hint().unwrap_or(LevelFilter::OFF);
        *metadata.level() <= level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let sink = SINK.read().unwrap_or_else(PoisonError::into_inner);
        Some(sink.as_ref().map_or(LevelFilter::OFF, |(level, _)| *level))
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        if INSIDE.replace(true) {
            return;
        }
        let _outside = Outside;
        let mut text = Text::default();
        event.record(&mut text);
        let metadata = event.metadata();
        let record = Record {
            level: (*metadata.level()).into(),
            target: metadata.target(),
            message: text.0.trim_end(),
        };
        // Held meanwhile, so that nobody is called after it was taken away.
        if let Some((_, sink)) = &*SINK.read().unwrap_or_else(PoisonError::into_inner) {
            sink(&record);
        }
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("kubetether")
}

/// Whether somebody waits to replace the sink, or to end it.
#[cfg(test)]
pub(super) fn is_to_change() -> bool {
    SINK.try_read().is_err()
}

/// Leaves the sink, also when it panics.
struct Outside;

impl Drop for Outside {
    fn drop(&mut self) {
        INSIDE.set(false);
    }
}

/// The message first, then the fields.
#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String does not fail.
        let _ = match field.name() {
            "message" => {
                let rest = std::mem::take(&mut self.0);
                write!(self.0, "{value:?} {rest}")
            }
            name => write!(self.0, "{name}={value:?} "),
        };
    }
}

impl From<Level> for LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => Self::ERROR,
            Level::Warn => Self::WARN,
            Level::Info => Self::INFO,
            Level::Debug => Self::DEBUG,
            Level::Trace => Self::TRACE,
        }
    }
}

impl From<tracing::Level> for Level {
    fn from(level: tracing::Level) -> Self {
        match level {
            tracing::Level::ERROR => Self::Error,
            tracing::Level::WARN => Self::Warn,
            tracing::Level::INFO => Self::Info,
            tracing::Level::DEBUG => Self::Debug,
            tracing::Level::TRACE => Self::Trace,
        }
    }
}
