//! Looking after a cluster without a session.

use super::runtime::Runtime;
use crate::{
    CleanOptions, Cleaned, Config, Error, RecoverOptions, Recovered, Result, Status, StatusOptions, Target,
};

/// See [`status`](crate::status).
///
/// # Errors
/// As there; [`Internal`](crate::ErrorCode::Internal) when no thread can be made, [`Forked`](crate::ErrorCode::Forked) in a
/// process that was forked from one with sessions.
pub fn status(config: &Config, options: StatusOptions) -> Result<Status> {
    Runtime::shared()?.block_on(crate::status(config, options))
}

/// See [`clean`](crate::clean).
///
/// # Errors
/// As there, and as [`status`].
pub fn clean(config: &Config, options: CleanOptions) -> Result<Cleaned> {
    Runtime::shared()?.block_on(crate::clean(config, options))
}

/// See [`recover`](crate::recover).
///
/// # Errors
/// As there, and as [`status`].
pub fn recover<T>(config: &Config, service: T, options: RecoverOptions) -> Result<Recovered>
where
    T: TryInto<Target>,
    Error: From<T::Error>,
{
    Runtime::shared()?.block_on(crate::recover(config, service, options))
}
