//! The engine's log for hosts that have no `tracing` of their own.
