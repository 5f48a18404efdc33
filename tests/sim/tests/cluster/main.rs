//! What the embedded cluster promises, seen by a client of Kubernetes and by the engine.

mod ending;
mod engine;
mod misbehaviour;
mod objects;
mod pods;
mod services;
mod support;
