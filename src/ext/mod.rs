//! Futures and streams that a guard goes with, or that end with a phase.

mod guarded;
mod run_until;

pub use guarded::Guarded;
pub use run_until::{RunUntilAborting, RunUntilDraining};
