//! Looking after a cluster without a session.

use std::ffi::c_char;

use crate::arguments::{Out, text};
use crate::cancel::finish;
use crate::folder;
use crate::handle::kt_text;

exports! {
    /// Who is there and what they hold: `Status` of the schema. `session`: `SessionOptions`, `call`: `StatusCall`; NULL for the defaults.
    call fn kt_cluster_status(
        session: *const c_char,
        session_len: usize,
        call: *const c_char,
        call_len: usize,
        status: *mut *mut kt_text,
    ) {
        let (session, call) = (text(session, session_len, "session")?, text(call, call_len, "call")?);
        let out = Out::new(status, "status")?;
        out.put(finish(folder::host().status(session, call))?.into());
        Ok(())
    }

    /// Takes away what dead sessions left, after their Services were put back: `Cleaned` of the schema, in which stands what could not
    /// be done. `session`: `SessionOptions`, `call`: `CleanCall`; NULL for the defaults.
    call fn kt_cluster_clean(
        session: *const c_char,
        session_len: usize,
        call: *const c_char,
        call_len: usize,
        cleaned: *mut *mut kt_text,
    ) {
        let (session, call) = (text(session, session_len, "session")?, text(call, call_len, "call")?);
        let out = Out::new(cleaned, "cleaned")?;
        out.put(finish(folder::host().clean(session, call))?.into());
        Ok(())
    }

    /// Puts one Service back, whoever holds it: `Recovered` of the schema. `session`: `SessionOptions`; NULL for the defaults;
    /// `call`: `RecoverCall`.
    call fn kt_cluster_recover(
        session: *const c_char,
        session_len: usize,
        call: *const c_char,
        call_len: usize,
        recovered: *mut *mut kt_text,
    ) {
        let (session, call) = (text(session, session_len, "session")?, text(call, call_len, "call")?);
        let out = Out::new(recovered, "recovered")?;
        out.put(finish(folder::host().recover(session, call))?.into());
        Ok(())
    }
}
