//! What a user of the core would lose if a promise were broken. The names `S1` to `C5` are those of
//! `docs/promises.md`.
#![cfg(not(any(loom, shuttle)))]

mod alloc;
mod auto_traits;
mod cancel;
mod core;
mod ext;
mod hostile;
mod moves;
mod progress;
mod readiness;
mod report;
mod shutdown;
mod sizes;
mod statemachine;
mod steps;
mod stragglers;
mod tree;
mod unwind;
