//! The engine's log, to whoever in Python wants it.

use std::sync::mpsc::{self, Receiver};

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
    // engine's threads -> the thread that tells: those must not wait for the GIL
    let (sender, lines) = mpsc::sync_channel::<Line>(LINES);
    std::thread::Builder::new().name("kubetether-log".into()).spawn(move || tell(&lines, &sink))?;
    let registered = py.detach(|| {
        set_sink(level_of(level), move |record| {
            let line = (number_of(record.level), record.target.to_owned(), record.message.to_owned());
            let _ = sender.try_send(line);
        })
    });
    registered.map_err(|error| errors::raise(py, &error))
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
