//! Sessions.

use std::ffi::c_char;
use std::time::Duration;

use kubetether::Result;
use kubetether::host::Call;

use crate::arguments::{Out, text};
use crate::cancel::{finish, finish_within};
use crate::folder;
use crate::handle::{self, kt_events, kt_exchange, kt_forward, kt_session, kt_text};
use crate::status::{KT_DEADLINE, KT_OK, kt_status};

/// Waits for the end of something, as long as the caller wants to.
pub(crate) fn end_within(call: Call<String>, timeout_ms: u32, why: Out<*mut kt_text>) -> Result<kt_status> {
    let Some(told) = finish_within(call, Duration::from_millis(timeout_ms.into())) else {
        return Ok(KT_DEADLINE);
    };
    why.put(told?.into());
    Ok(KT_OK)
}

exports! {
    /// Reaches a cluster and announces the session there. `options`: `SessionOptions` of the schema; NULL for the defaults.
    /// Returns within its `start_deadline`.
    call fn kt_session_start(options: *const c_char, options_len: usize, session: *mut *mut kt_session) {
        let (options, out) = (text(options, options_len, "options")?, Out::new(session, "session")?);
        out.put(finish(folder::host().start(options))?);
        Ok(())
    }

    /// What it is: `SessionInfo` of the schema.
    call fn kt_session_info(session: *const kt_session, info: *mut *mut kt_text) {
        let (session, out) = (handle::get(session)?, Out::new(info, "info")?);
        out.put(session.info().into());
        Ok(())
    }

    /// Where it stands: `State` of the schema.
    call fn kt_session_state(session: *const kt_session, state: *mut *mut kt_text) {
        let (session, out) = (handle::get(session)?, Out::new(state, "state")?);
        out.put(session.state().into());
        Ok(())
    }

    /// The connections and UDP associations that go through its handles, one by one: `Flows` of the schema. Told are those that
    /// are open, and those that ended since an earlier answer, of which `after` is `next`; 0 for all that is remembered, which
    /// are the last 1024 that ended. Never waits.
    call fn kt_session_flows(session: *const kt_session, after: u64, flows: *mut *mut kt_text) {
        let (session, out) = (handle::get(session)?, Out::new(flows, "flows")?);
        out.put(session.flows(after).into());
        Ok(())
    }

    /// What the cluster says of its agents, for the report of a failed test: a JSON list of texts. What cannot be had within five
    /// seconds is left out.
    call fn kt_session_evidence(session: *const kt_session, evidence: *mut *mut kt_text) {
        let (session, out) = (handle::get(session)?, Out::new(evidence, "evidence")?);
        out.put(finish(session.evidence())?.into());
        Ok(())
    }

    /// A subscription of its own to what happens from now on.
    call fn kt_session_events(session: *const kt_session, events: *mut *mut kt_events) {
        let (session, out) = (handle::get(session)?, Out::new(events, "events")?);
        out.put(session.events());
        Ok(())
    }

    /// Exchanges a Service: when this returns, its traffic comes here. `call`: `ExchangeCall` of the schema.
    call fn kt_session_exchange(
        session: *const kt_session,
        call: *const c_char,
        call_len: usize,
        exchange: *mut *mut kt_exchange,
    ) {
        let (session, out) = (handle::get(session)?, Out::new(exchange, "exchange")?);
        out.put(finish(session.exchange(text(call, call_len, "call")?))?);
        Ok(())
    }

    /// Opens a local port that leads into the cluster; it has been dialled once when this returns. `call`: `ForwardCall` of the
    /// schema.
    call fn kt_session_forward(
        session: *const kt_session,
        call: *const c_char,
        call_len: usize,
        forward: *mut *mut kt_forward,
    ) {
        let (session, out) = (handle::get(session)?, Out::new(forward, "forward")?);
        out.put(finish(session.forward(text(call, call_len, "call")?))?);
        Ok(())
    }

    /// Closes all of its handles and returns when nothing of it is left in the cluster. May be called again. `call`: `CloseCall` of
    /// the schema; NULL for the defaults.
    call fn kt_session_close(session: *const kt_session, call: *const c_char, call_len: usize) {
        finish(handle::get(session)?.close(text(call, call_len, "call")?))
    }

    /// Waits until it is over, as asked or not: why, as text. `KT_DEADLINE`, without an error, when it is not over by then.
    call fn kt_session_closed(session: *const kt_session, timeout_ms: u32, why: *mut *mut kt_text) {
        let (session, out) = (handle::get(session)?, Out::new(why, "why")?);
        end_within(session.closed(), timeout_ms, out)
    }

    /// Frees a session. One that is not closed is closed in the background, as long as the process lives.
    plain fn kt_session_free(session: *mut kt_session) -> kt_status {
        handle::free(session)
    }
}
