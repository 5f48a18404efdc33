//! The log, for hosts that ask for it.

use std::ffi::c_void;

use kubetether::host::log::{self, Level, Record};

use crate::error::argument;
use crate::status::{KT_OK, kt_status};
use crate::text::{Text, kt_str};

/// `KT_LOG_ERROR` (1) to `KT_LOG_TRACE` (5). The header has it as an enum.
pub type kt_log_level = u32;

/// Receives one line of the log: the part of the library it comes from, and the text. Both are valid during the call alone. Any thread may call, several at
/// once.
pub type kt_log_fn =
    Option<unsafe extern "C" fn(userdata: *mut c_void, level: kt_log_level, target: kt_str, message: kt_str)>;

/// The levels, in their order.
pub const LEVELS: [(&str, Level); 5] = [
    ("KT_LOG_ERROR", Level::Error),
    ("KT_LOG_WARN", Level::Warn),
    ("KT_LOG_INFO", Level::Info),
    ("KT_LOG_DEBUG", Level::Debug),
    ("KT_LOG_TRACE", Level::Trace),
];

/// Whose it is the caller knows.
struct Userdata(*mut c_void);

// SAFETY: it is never followed here, only handed to the callback, of which the header says that any thread may call it.
unsafe impl Send for Userdata {}
// SAFETY: as above.
unsafe impl Sync for Userdata {}

impl Userdata {
    fn get(&self) -> *mut c_void {
        self.0
    }
}

fn number(level: Level) -> kt_log_level {
    LEVELS.iter().zip(1..).find(|((_, other), _)| *other == level).map_or(1, |(_, number)| number)
}

exports! {
    /// Has `callback` called with each line of the log up to `level`, from now on and instead of the one before. It must neither
    /// call the library nor wait for a thread that does.
    call fn kt_log_set(level: kt_log_level, callback: kt_log_fn, userdata: *mut c_void) {
        let callback = callback.ok_or_else(|| argument("`callback` is NULL".to_owned()))?;
        let index = usize::try_from(level).unwrap_or(0).wrapping_sub(1);
        let (_, level) = LEVELS.get(index).ok_or_else(|| argument(format!("{level} is no level of the log")))?;
        let userdata = Userdata(userdata);
        log::set_sink(*level, move |record: &Record<'_>| {
            let (target, message) = (Text::from(record.target), Text::from(record.message));
            callback(userdata.get(), number(record.level), target.view(), message.view());
        })
    }

    /// Ends that: when this returns, the callback is not running and will not be called again.
    plain fn kt_log_clear() -> kt_status {
        log::clear_sink();
        KT_OK
    }
}
