//! Exchanges.

use std::ffi::c_char;

use crate::arguments::{Out, text};
use crate::cancel::finish;
use crate::handle::{self, kt_exchange, kt_text};
use crate::session::end_within;
use crate::status::kt_status;

exports! {
    /// What it is: `ExchangeInfo` of the schema.
    call fn kt_exchange_info(exchange: *const kt_exchange, info: *mut *mut kt_text) {
        let (exchange, out) = (handle::get(exchange)?, Out::new(info, "info")?);
        out.put(exchange.info().into());
        Ok(())
    }

    /// Where it stands: `State` of the schema.
    call fn kt_exchange_state(exchange: *const kt_exchange, state: *mut *mut kt_text) {
        let (exchange, out) = (handle::get(exchange)?, Out::new(state, "state")?);
        out.put(exchange.state().into());
        Ok(())
    }

    /// What has come here so far: `Stats` of the schema.
    call fn kt_exchange_stats(exchange: *const kt_exchange, stats: *mut *mut kt_text) {
        let (exchange, out) = (handle::get(exchange)?, Out::new(stats, "stats")?);
        out.put(exchange.stats().into());
        Ok(())
    }

    /// What holds callers should this process or the interceptor die: `Safety` of the schema.
    call fn kt_exchange_safety(exchange: *const kt_exchange, safety: *mut *mut kt_text) {
        let (exchange, out) = (handle::get(exchange)?, Out::new(safety, "safety")?);
        out.put(exchange.safety().into());
        Ok(())
    }

    /// Puts the Service back and returns when an original has answered. May be called again. `call`: `CloseCall` of the schema; NULL for
    /// the defaults.
    call fn kt_exchange_close(exchange: *const kt_exchange, call: *const c_char, call_len: usize) {
        finish(handle::get(exchange)?.close(text(call, call_len, "call")?))
    }

    /// Waits until it is over, as asked or not: `State` of the schema. `KT_DEADLINE`, without an error, when it is not over by then.
    call fn kt_exchange_closed(exchange: *const kt_exchange, timeout_ms: u32, state: *mut *mut kt_text) {
        let (exchange, out) = (handle::get(exchange)?, Out::new(state, "state")?);
        end_within(exchange.closed(), timeout_ms, out)
    }

    /// Frees an exchange. One that is not closed is closed in the background, as long as the process lives.
    plain fn kt_exchange_free(exchange: *mut kt_exchange) -> kt_status {
        handle::free(exchange)
    }
}
