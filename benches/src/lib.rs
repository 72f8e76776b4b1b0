//! What the benches share: racing contenders against each other, and showing what came of it.

pub mod counting;
pub mod distributions;
pub mod figures;
#[cfg(feature = "hyper")]
pub mod memory;
pub mod paired;
pub mod race;
pub mod server;
