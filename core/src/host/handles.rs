//! The handles of a session, called from another language.

use std::sync::Arc;

use super::session::Held;
use super::{Call, json};
use crate::blocking::runtime::Runtime;
use crate::json::{ExchangeInfo, ForwardInfo};
use crate::options::{self, CloseCall};
use crate::{Deadline, Result};

/// A handle of the engine's as other languages have it.
macro_rules! handle {
    ($(#[$doc:meta])* $name:ident, $info:ident) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name(Held<Arc<crate::$name>>);

        impl $name {
            pub(super) fn new(handle: crate::$name, runtime: Runtime) -> Self {
                Self(Held::new(Arc::new(handle), runtime))
            }

            /// Whether it may be asked what is known of it: calls look for themselves.
            ///
            /// # Errors
            /// [`Forked`](crate::ErrorCode::Forked) in a process that was forked from its own.
            pub fn check(&self) -> Result<()> {
                self.0.check()
            }

            #[doc = concat!("What it is: `", stringify!($info), "`.")]
            #[must_use]
            pub fn info(&self) -> String {
                json(&$info::of(self.0.get()))
            }

            /// Where it stands: `State`.
            #[must_use]
            pub fn state(&self) -> String {
                json(&self.0.get().state())
            }

            /// What went through it: `Stats`.
            #[must_use]
            pub fn stats(&self) -> String {
                json(&self.0.get().stats())
            }

            /// Ends it and waits for that; takes `CloseCall`. Cancelling the call ends only the wait.
            pub fn close(&self, call: &str) -> Call<()> {
                let deadline = options::read::<CloseCall>(call).map(Deadline::from);
                self.0.ask(&deadline, |handle, deadline| handle.ask_to_close(deadline));
                self.0.call(|handle, _| async move { handle.close(deadline?).await })
            }

            /// Waits until it is over, as asked or not: `State`.
            pub fn closed(&self) -> Call<String> {
                self.0.call(|handle, _| async move { Ok(json(&handle.closed().await)) })
            }
        }
    };
}

handle! {
    /// An [`Exchange`](crate::Exchange). Dropping it ends it in the background.
    Exchange, ExchangeInfo
}

handle! {
    /// A [`Forward`](crate::Forward). Dropping it ends it.
    Forward, ForwardInfo
}

impl Exchange {
    /// What holds callers should somebody die: `Safety`.
    #[must_use]
    pub fn safety(&self) -> String {
        json(&self.0.get().safety())
    }
}

impl Forward {
    /// The local address, as `127.0.0.1:40123`.
    #[must_use]
    pub fn address(&self) -> String {
        self.0.get().address().to_string()
    }
}
