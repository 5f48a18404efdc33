//! The proxy before a small API server of this process.

mod bytes;
mod cuts;
mod raw;
mod requests;
mod server;
mod stops;
mod through;
mod throughput;
