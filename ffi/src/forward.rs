//! Forwards.

use std::ffi::c_char;

use crate::arguments::{Out, text};
use crate::cancel::finish;
use crate::handle::{self, kt_forward, kt_text};
use crate::session::end_within;
use crate::status::kt_status;

exports! {
    /// The local address, as `127.0.0.1:40123`.
    call fn kt_forward_address(forward: *const kt_forward, address: *mut *mut kt_text) {
        let (forward, out) = (handle::get(forward)?, Out::new(address, "address")?);
        out.put(forward.address().into());
        Ok(())
    }

    /// What it is: `ForwardInfo` of the schema.
    call fn kt_forward_info(forward: *const kt_forward, info: *mut *mut kt_text) {
        let (forward, out) = (handle::get(forward)?, Out::new(info, "info")?);
        out.put(forward.info().into());
        Ok(())
    }

    /// Where it stands: `State` of the schema.
    call fn kt_forward_state(forward: *const kt_forward, state: *mut *mut kt_text) {
        let (forward, out) = (handle::get(forward)?, Out::new(state, "state")?);
        out.put(forward.state().into());
        Ok(())
    }

    /// What has gone through it so far: `Stats` of the schema.
    call fn kt_forward_stats(forward: *const kt_forward, stats: *mut *mut kt_text) {
        let (forward, out) = (handle::get(forward)?, Out::new(stats, "stats")?);
        out.put(forward.stats().into());
        Ok(())
    }

    /// Ends it and waits for that. May be called again. `call`: `CloseCall` of the schema; NULL for the defaults.
    call fn kt_forward_close(forward: *const kt_forward, call: *const c_char, call_len: usize) {
        finish(handle::get(forward)?.close(text(call, call_len, "call")?))
    }

    /// Waits until it is over, as asked or not: `State` of the schema. `KT_DEADLINE`, without an error, when it is not over by then.
    call fn kt_forward_closed(forward: *const kt_forward, timeout_ms: u32, state: *mut *mut kt_text) {
        let (forward, out) = (handle::get(forward)?, Out::new(state, "state")?);
        end_within(forward.closed(), timeout_ms, out)
    }

    /// Frees a forward; one that is not closed ends.
    plain fn kt_forward_free(forward: *mut kt_forward) -> kt_status {
        handle::free(forward)
    }
}
