//! The engine's log, to the JavaScript thread that asked for it.

use kubetether::ErrorCode;
use kubetether::host::{self, log};
use napi::bindgen_prelude::{FnArgs, Function};
use napi::threadsafe_function::{ThreadsafeFunctionCallMode, UnknownReturnValue};

/// Lines that wait for the thread; while it is busy with so many, further ones are lost.
const LINES: usize = 1024;

/// Level, part of the engine, text.
pub(crate) type Line = FnArgs<(String, String, String)>;

const LEVELS: [(&str, log::Level); 5] = [
    ("error", log::Level::Error),
    ("warn", log::Level::Warn),
    ("info", log::Level::Info),
    ("debug", log::Level::Debug),
    ("trace", log::Level::Trace),
];

pub(crate) fn to(
    level: &str,
    tell: Function<'_, Line, UnknownReturnValue>,
) -> napi::Result<kubetether::Result<()>> {
    let Some((_, level)) = LEVELS.iter().find(|(name, _)| *name == level) else {
        let names = LEVELS.map(|(name, _)| name).join(", ");
        let message = format!("{level:?} is no level of the log: those are {names}");
        return Ok(Err(host::error(ErrorCode::Argument, message)));
    };
    let teller = tell
        .build_threadsafe_function::<(String, String, String)>()
        // Who listens to the log does not live for it.
        .weak::<true>()
        .max_queue_size::<LINES>()
        .build_callback(|line| Ok(FnArgs::from(line.value)))?;
    Ok(log::set_sink(*level, move |record| {
        let name = LEVELS.iter().find(|(_, level)| *level == record.level).map_or("info", |(name, _)| name);
        let line = (name.to_owned(), record.target.to_owned(), record.message.to_owned());
        // Refused when too many wait, or when the thread has ended.
        teller.call(line, ThreadsafeFunctionCallMode::NonBlocking);
    }))
}
