//! The engine's log, to whoever in Python wants it.

use std::process;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, OnceLock};

use kubetether::host::log::{Level, clear_sink, set_sink};
use pyo3::prelude::*;

use crate::errors;

/// Lines that wait to be told; while it is full, further ones are lost.
const LINES: usize = 1024;

type Line = (u8, String, String);

/// Replaces the sink that was there before; with `None` it is nobody.
pub(crate) fn register(py: Python<'_>, sink: Option<Py<PyAny>>, level: u8) -> PyResult<()> {
    let Some(sink) = sink else {
        // Not with the GIL: this waits for a line that is being handed over.
        py.detach(clear_sink);
        return Ok(());
    };
    let sink = Arc::new(sink);
    let teller = Teller::start(&sink)?;
    let registered = py.detach(|| {
        set_sink(level_of(level), move |record| {
            teller
                .tell((number_of(record.level), record.target.to_owned(), record.message.to_owned()), &sink);
        })
    });
    registered.map_err(|error| errors::raise(py, &error))
}

/// A thread that tells, as the process has it that started it: of its parent's, a forked one has the channel and no thread.
struct Teller {
    process: u32,
    /// engine's threads -> the thread that tells: those must not wait for the GIL. `None`: no thread could be made, or it is
    /// dropped.
    lines: Option<SyncSender<Line>>,
    /// That of a process that was forked from this one. No lock: who had it may be missing after a fork.
    child: OnceLock<Box<Self>>,
}

impl Teller {
    fn start(sink: &Arc<Py<PyAny>>) -> std::io::Result<Self> {
        let (sender, lines) = mpsc::sync_channel::<Line>(LINES);
        let sink = sink.clone();
        std::thread::Builder::new().name("kubetether-log".into()).spawn(move || tell(&lines, &sink))?;
        Ok(Self { process: process::id(), lines: Some(sender), child: OnceLock::new() })
    }

    fn tell(&self, line: Line, sink: &Arc<Py<PyAny>>) {
        let mut teller = self;
        while teller.process != process::id() {
            teller = teller.child.get_or_init(|| {
                let none = Self { process: process::id(), lines: None, child: OnceLock::new() };
                Box::new(Self::start(sink).unwrap_or(none))
            });
        }
        if let Some(lines) = &teller.lines {
            let _ = lines.try_send(line);
        }
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        if self.process != process::id() {
            // The parent's thread may have been at work in it.
            std::mem::forget(self.lines.take());
        }
    }
}

/// Until the sink is replaced.
fn tell(lines: &Receiver<Line>, sink: &Py<PyAny>) {
    for line in lines {
        let told = Python::try_attach(|py| {
            if let Err(error) = sink.call1(py, line) {
                error.write_unraisable(py, None);
            }
        });
        if told.is_none() {
            // The interpreter ends.
            return;
        }
    }
}

/// The numbers are those of Python's `logging`.
fn number_of(level: Level) -> u8 {
    match level {
        Level::Error => 40,
        Level::Warn => 30,
        Level::Info => 20,
        Level::Debug => 10,
        Level::Trace | _ => 5,
    }
}

fn level_of(number: u8) -> Level {
    match number {
        0..10 => Level::Trace,
        10..20 => Level::Debug,
        20..30 => Level::Info,
        30..40 => Level::Warn,
        40.. => Level::Error,
    }
}
