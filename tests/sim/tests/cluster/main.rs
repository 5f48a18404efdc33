//! What the embedded cluster promises, seen by a client of Kubernetes and by the engine.

#![allow(clippy::unwrap_used, reason = "the helpers of tests are tests")]

mod ending;
mod engine;
mod misbehaviour;
mod objects;
mod pods;
mod services;
mod support;
